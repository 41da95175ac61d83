//! What the tests ask of a core, in the product's terms and in those of a configuration file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use portmeter::xray::reality::{PrivateKey, ShortId};
use portmeter::xray::wanted::{CoreSettings, Reality, WantedInbound};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::real_core::free_ports;

pub(crate) fn settings(listen: Option<&str>, flow: &str) -> CoreSettings {
    CoreSettings {
        listen: listen.map(|text| text.parse::<IpAddr>().unwrap()),
        flow: flow.to_owned(),
        max_time_diff_ms: 600_000,
        api_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        access_log: None,
    }
}

pub(crate) fn on_loopback() -> CoreSettings {
    settings(Some("127.0.0.1"), "xtls-rprx-vision")
}

pub(crate) fn inbounds(count: usize) -> Vec<WantedInbound> {
    let reality = Arc::new(Reality {
        private_key: PrivateKey::generate(),
        short_ids: vec![ShortId::generate(), "".parse().unwrap()],
        dest: "www.example.com:443".to_owned(),
        server_names: vec!["www.example.com".to_owned(), "Example.com".to_owned()],
    });
    let ports = free_ports(count).into_iter();
    let inbound = |port| WantedInbound {
        uuid: Uuid::new_v4(),
        port,
        reality: Arc::clone(&reality),
    };
    ports.map(inbound).collect()
}

/// An inbound as Portmeter's part of the configuration file has it.
pub(crate) fn in_file(settings: &CoreSettings, inbound: &WantedInbound) -> Value {
    let reality = &inbound.reality;
    let short_ids: Vec<&str> = reality.short_ids.iter().map(ShortId::as_str).collect();
    json!({
        "tag": inbound.tag(),
        "listen": settings.listen,
        "port": inbound.port,
        "protocol": "vless",
        "settings": {
            "clients": [{"id": inbound.uuid, "flow": settings.flow, "email": inbound.uuid}],
            "decryption": "none",
        },
        "streamSettings": {
            "network": "tcp",
            "security": "reality",
            "realitySettings": {
                "show": false,
                "dest": reality.dest,
                "xver": 0,
                "serverNames": reality.server_names,
                "privateKey": reality.private_key.to_secret_text(),
                "shortIds": short_ids,
                "maxTimeDiff": settings.max_time_diff_ms,
            },
        },
    })
}
