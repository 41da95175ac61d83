//! `GET /api/ports/status` of the panel: on which of the ports that matter somebody listens.
//!
//! The agent looks into the socket tables: a connection to each port would be counted as its key's. It is not the port
//! table, which says whose a port is.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::GetConfigurationResponse;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::answer;
use crate::failure::PanelFailure;
use crate::gateway::Gateway;
use crate::moment::{Moment, Zulu};
use crate::xray::status::configuration;

/// What a row takes; see [`answer::json_of_size`].
const ROW_BYTES: usize = 192;

/// Shows on which of the ports that matter somebody listens: this listener first, then each inbound of the core,
/// ascending.
#[utoipa::path(get, path = "/api/ports/status", responses((status = 200, body = WatchedPorts)))]
pub(crate) async fn show(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let configuration = configuration(&gateway).await?.unwrap_or_default();
    let own = reachable(gateway.listen());
    let ports = rows(watched(own, &configuration), own.port(), &configuration.listening_ports);
    let expected_bytes = (ports.len() + 1) * ROW_BYTES;
    let url = gateway.public_url();
    let answer = WatchedPorts {
        ok: true,
        ports,
        current: OwnAddress {
            port: own.port(),
            host: own.ip(),
            url: url.unwrap_or_else(|| format!("http://{own}")),
        },
        timestamp: Moment::now().zulu(),
    };
    Ok(answer::json_of_size(&answer, expected_bytes))
}

#[derive(Serialize, ToSchema)]
struct WatchedPorts {
    ok: bool,
    ports: Vec<Row>,
    current: OwnAddress,
    timestamp: Zulu,
}

#[derive(Serialize, ToSchema)]
struct OwnAddress {
    #[schema(maximum = 65_535)]
    port: u16,
    #[schema(value_type = String)]
    host: IpAddr,
    url: String,
}

/// A port that is watched, without what comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WatchedPort)]
struct Watched {
    #[schema(maximum = 65_535)]
    port: u16,
    name: String,
    service: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[schema(value_type = String)]
    host: IpAddr,
    #[schema(required)]
    protocol: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WatchedPortState)]
struct Row {
    #[serde(flatten)]
    watched: Watched,
    status: &'static str,
}

/// What a configuration says of an inbound that is of interest here. A field of an unexpected type is as good as none.
#[derive(Default, Deserialize)]
struct Inbound {
    #[serde(default)]
    port: Value,
    #[serde(default)]
    listen: Value,
    #[serde(default)]
    protocol: Value,
    #[serde(default)]
    tag: Value,
}

/// Every port to try. The agent says which ports the core has; the text of the configuration says more about them where
/// it can.
fn watched(own: SocketAddr, configuration: &GetConfigurationResponse) -> Vec<Watched> {
    #[derive(Default, Deserialize)]
    struct Inbounds {
        #[serde(default)]
        inbounds: Vec<Inbound>,
    }
    let described: Inbounds = serde_json::from_str(&configuration.json).unwrap_or_default();
    let by_port: HashMap<u64, &Inbound> = described
        .inbounds
        .iter()
        .filter_map(|inbound| Some((inbound.port.as_u64()?, inbound)))
        .collect();
    let nothing = Inbound::default();
    let inbounds = configuration.ports.iter().filter_map(|&port| {
        let inbound = by_port.get(&u64::from(port)).copied().unwrap_or(&nothing);
        let tag = inbound.tag.as_str().filter(|tag| !tag.is_empty());
        let listen = inbound.listen.as_str().and_then(|listen| listen.parse().ok());
        let address = SocketAddr::new(
            listen.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            u16::try_from(port).ok()?,
        );
        Some(Watched {
            port: address.port(),
            name: tag.unwrap_or("inbound").to_owned(),
            service: "xray",
            kind: "inbound",
            host: reachable(address).ip(),
            protocol: inbound.protocol.as_str().map(ToOwned::to_owned),
        })
    });
    let own = Watched {
        port: own.port(),
        name: "REST API".to_owned(),
        service: "portmeter",
        kind: "api",
        host: own.ip(),
        protocol: Some("http".to_owned()),
    };
    std::iter::once(own).chain(inbounds).collect()
}

/// An address that a listener on `listen` can be reached at from this host.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

/// Whether each port runs. This listener does: it is answering.
fn rows(watched: Vec<Watched>, own: u16, listening: &[u32]) -> Vec<Row> {
    let listening: HashSet<u32> = listening.iter().copied().chain([own.into()]).collect();
    let row = |watched: Watched| Row {
        status: match listening.contains(&watched.port.into()) {
            true => "running",
            false => "stopped",
        },
        watched,
    };
    watched.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

    fn configuration(json: &str, ports: &[u32]) -> GetConfigurationResponse {
        GetConfigurationResponse {
            json: json.to_owned(),
            ports: ports.to_vec(),
            ..GetConfigurationResponse::default()
        }
    }

    #[test]
    fn the_agents_ports_are_watched_whatever_the_text_says() {
        let json = r#"{"inbounds": [
            {"port": 10001, "protocol": "vless", "tag": "inbound-a", "listen": "0.0.0.0"},
            {"port": 10002, "protocol": "socks", "listen": "192.0.2.1", "tag": ""},
            {"port": "10003", "protocol": 5, "tag": null, "listen": []},
            {"port": 7}
        ]}"#;
        let watched = watched(OWN, &configuration(json, &[10_001, 10_002, 10_003, 70_000]));
        let rows: Vec<(u16, &str, String, Option<&str>)> = watched
            .iter()
            .map(|row| {
                (
                    row.port,
                    row.name.as_str(),
                    row.host.to_string(),
                    row.protocol.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                (8000, "REST API", "127.0.0.1".to_owned(), Some("http")),
                (10_001, "inbound-a", "127.0.0.1".to_owned(), Some("vless")),
                (10_002, "inbound", "192.0.2.1".to_owned(), Some("socks")),
                (10_003, "inbound", "127.0.0.1".to_owned(), None),
            ]
        );
    }

    #[test]
    fn a_text_that_cannot_be_read_takes_no_port_away() {
        for json in ["", "{", "[]", r#"{"inbounds": 5}"#] {
            assert_eq!(watched(OWN, &configuration(json, &[10_001])).len(), 2, "{json}");
        }
    }

    #[test]
    fn every_address_is_reached_at_one_of_its_own() {
        for (listen, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("192.0.2.1:1", "192.0.2.1:1"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), expected.parse().unwrap());
        }
    }

    #[test]
    fn a_port_runs_when_somebody_listens() {
        let watched = watched(OWN, &configuration("", &[10_001, 10_002]));
        let rows = rows(watched, OWN.port(), &[10_002]);
        let status: Vec<&str> = rows.iter().map(|row| row.status).collect();
        assert_eq!(status, ["running", "stopped", "running"]);
    }
}
