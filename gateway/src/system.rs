//! The panel's header: the services of the installation, the host's resources, and a restart of one of the services.
//!
//! The panel calls the agent `ui`, because it is what serves the panel, and the front end `nextjs`.

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use portmeter_proto::v1::{
    GetHostResourcesRequest, GetHostResourcesResponse, ListManagedServicesRequest, ManagedService,
    RestartManagedServiceRequest, ServiceState,
};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::openapi::bodies::RestartOrder;
use crate::panel_request::OptionalPanelFields;
use crate::query::Query;

/// What the panel calls each service, what the agent calls it, and what it is called where nobody has named its unit.
const TARGETS: [(&str, &str, &str); 3] = [
    ("ui", "agent", "portmeter"),
    ("xray", "xray", "xray"),
    ("nextjs", "frontend", "nextjs"),
];

/// Most characters of an unknown target that are told back.
const TARGET_CHARACTERS_MAX: usize = 64;

/// The port of an address that names none.
const HTTP_PORT: u16 = 80;

/// Shows how the agent, the core and the front end are; `state` is `active`, `inactive`, `failed` or `unknown`.
#[utoipa::path(
    get,
    path = "/api/system/status",
    responses((status = 200, body = SystemStatus))
)]
pub(crate) async fn status(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let listed = gateway
        .system()
        .list_managed_services(ListManagedServicesRequest {})
        .await;
    let services = listed?.into_inner().services;
    let find = |name: &str| services.iter().find(|service| service.name == name);
    let service = |(_, name, usual): (&str, &str, &'static str)| {
        let found = find(name);
        let unit = found
            .map(|service| service.unit.as_str())
            .filter(|unit| !unit.is_empty());
        SystemService {
            how: How::of(found),
            service: unit.unwrap_or(usual),
        }
    };
    let front_end = find(TARGETS[2].1);
    let url = front_end.and_then(|service| service.url.as_deref()).unwrap_or_default();
    Ok(answer::json(&SystemStatus {
        ok: true,
        ui: service(TARGETS[0]),
        xray: service(TARGETS[1]),
        nextjs: SystemFrontEnd {
            how: How::of(front_end),
            port: port_of(url),
            url,
            status_code: front_end.and_then(|service| service.http_status).unwrap_or_default(),
        },
    }))
}

#[derive(Serialize, ToSchema)]
struct SystemStatus<'a> {
    ok: bool,
    ui: SystemService<'a>,
    xray: SystemService<'a>,
    nextjs: SystemFrontEnd<'a>,
}

#[derive(Serialize, ToSchema)]
struct SystemService<'a> {
    #[serde(flatten)]
    how: How,
    service: &'a str,
}

#[derive(Serialize, ToSchema)]
struct SystemFrontEnd<'a> {
    #[serde(flatten)]
    how: How,
    port: u16,
    url: &'a str,
    status_code: u32,
}

/// How a service is.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ServiceState)]
struct How {
    active: bool,
    state: &'static str,
}

impl How {
    /// One that is not there does not run.
    fn of(service: Option<&ManagedService>) -> Self {
        let state = match service.map(ManagedService::state) {
            Some(ServiceState::Active) => "active",
            Some(ServiceState::Failed) => "failed",
            Some(ServiceState::Inactive) | None => "inactive",
            Some(ServiceState::Unspecified) => "unknown",
        };
        Self {
            active: state == "active",
            state,
        }
    }
}

/// The port of an address; 0 where there is none.
fn port_of(url: &str) -> u16 {
    let uri: Option<Uri> = url.parse().ok();
    let authority = uri.as_ref().and_then(Uri::authority);
    authority.map_or(0, |authority| authority.port_u16().unwrap_or(HTTP_PORT))
}

/// Shows the host's processors, memory and root file system.
#[utoipa::path(
    get,
    path = "/api/system/resources",
    responses((status = 200, body = Resources))
)]
pub(crate) async fn resources(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let resources = gateway.system().get_host_resources(GetHostResourcesRequest {}).await?;
    Ok(answer::json(&Resources::of(&resources.into_inner())))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SystemResources)]
struct Resources {
    ok: bool,
    cpu: Processors,
    memory: Memory,
    disk: Disk,
    #[schema(value_type = f64)]
    ram: Tenths,
    #[schema(value_type = f64)]
    ram_total_gb: Hundredths,
    #[schema(value_type = f64)]
    ram_used_gb: Hundredths,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SystemProcessors)]
struct Processors {
    #[schema(value_type = f64)]
    percent: Tenths,
    count: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SystemMemory)]
struct Memory {
    total: u64,
    available: u64,
    used: u64,
    #[schema(value_type = f64)]
    percent: Tenths,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SystemDisk)]
struct Disk {
    total: u64,
    used: u64,
    free: u64,
    #[schema(value_type = f64)]
    percent: Tenths,
}

impl Resources {
    fn of(resources: &GetHostResourcesResponse) -> Self {
        let memory = Memory {
            total: resources.memory_total_bytes,
            available: resources.memory_available_bytes,
            used: resources.memory_used_bytes,
            percent: share(resources.memory_used_bytes, resources.memory_total_bytes),
        };
        let (used, free) = (resources.disk_used_bytes, resources.disk_free_bytes);
        Self {
            ok: true,
            cpu: Processors {
                percent: Tenths(resources.cpu_percent),
                count: resources.cpu_count,
            },
            ram: memory.percent,
            ram_total_gb: Hundredths(gigabytes(memory.total)),
            ram_used_gb: Hundredths(gigabytes(memory.used)),
            memory,
            disk: Disk {
                total: resources.disk_total_bytes,
                used,
                free,
                // As `df` has it: what is set aside for root cannot be filled.
                percent: share(used, used.saturating_add(free)),
            },
        }
    }
}

/// A part in percent of the whole; of nothing, none.
fn share(part: u64, whole: u64) -> Tenths {
    Tenths(match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64 * 100.0,
    })
}

/// Base 1024, like every size here.
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// A number that is written with one decimal, or less.
#[derive(Debug, Clone, Copy)]
struct Tenths(f64);

impl Serialize for Tenths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0 * 10.0).round() / 10.0)
    }
}

/// A number that is written with two decimals, or less.
#[derive(Debug, Clone, Copy)]
struct Hundredths(f64);

impl Serialize for Hundredths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0 * 100.0).round() / 100.0)
    }
}

/// Restarts `ui`, `xray` or `nextjs`. The target is in the body, or else in the query; an answer about `ui` comes before
/// its restart.
#[utoipa::path(
    post,
    path = "/api/system/restart",
    params(("target" = Option<String>, Query, description = "What to restart, where the body does not say.")),
    request_body = Option<RestartOrder>,
    responses((status = 200, body = ServiceRestarted))
)]
pub(crate) async fn restart(
    State(gateway): State<Gateway>,
    query: Query,
    OptionalPanelFields(fields): OptionalPanelFields,
) -> Result<Response, PanelFailure> {
    // What is no text is no target either.
    let in_body = fields.text("target").unwrap_or(Some(""));
    let target = in_body.or_else(|| query.text("target")).unwrap_or_default();
    let (service, name) = target_of(target)?;
    let name = name.to_owned();
    let request = RestartManagedServiceRequest { name };
    let restarted = gateway.system().restart_managed_service(request).await;
    restarted.map_err(PanelFailure::of_restart)?;
    Ok(answer::json(&ServiceRestarted {
        ok: true,
        message: "restarted",
        service,
    }))
}

#[derive(Serialize, ToSchema)]
struct ServiceRestarted {
    ok: bool,
    message: &'static str,
    service: &'static str,
}

/// The panel's and the agent's name of a target.
fn target_of(target: &str) -> Result<(&'static str, &'static str), Failure> {
    let found = TARGETS.into_iter().find(|(word, ..)| *word == target);
    found.map(|(word, name, _)| (word, name)).ok_or_else(|| {
        let shown: String = target.chars().take(TARGET_CHARACTERS_MAX).collect();
        Failure::bad_request(format!("invalid_target: {shown}. Valid: ui, xray, nextjs"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_not_there_does_not_run() {
        let how = |state: ServiceState| {
            let service = ManagedService {
                state: state.into(),
                ..ManagedService::default()
            };
            How::of(Some(&service)).state
        };
        assert_eq!(How::of(None).state, "inactive");
        assert_eq!(how(ServiceState::Active), "active");
        assert_eq!(how(ServiceState::Failed), "failed");
        assert_eq!(how(ServiceState::Unspecified), "unknown");
        assert!(!How::of(None).active);
    }

    #[test]
    fn an_address_has_a_port() {
        for (url, port) in [
            ("http://127.0.0.1:3000/x", 3000),
            ("http://[::1]:3001", 3001),
            ("http://panel.example", 80),
            ("", 0),
            ("?", 0),
        ] {
            assert_eq!(port_of(url), port, "{url}");
        }
    }

    #[test]
    fn shares_are_of_what_can_be_had() {
        let resources = Resources::of(&GetHostResourcesResponse {
            cpu_percent: 12.345,
            cpu_count: 2,
            memory_total_bytes: 3 << 30,
            memory_available_bytes: 2 << 30,
            memory_used_bytes: 1 << 30,
            disk_total_bytes: 1000,
            disk_used_bytes: 300,
            disk_free_bytes: 600,
        });
        let json = serde_json::to_value(&resources).unwrap();
        assert_eq!(json["cpu"]["percent"], 12.3);
        assert_eq!((&json["memory"]["percent"], &json["ram"]), (&33.3.into(), &33.3.into()));
        assert_eq!(
            (&json["ram_total_gb"], &json["ram_used_gb"]),
            (&3.0.into(), &1.0.into())
        );
        assert_eq!(json["disk"]["percent"], 33.3);
        assert_eq!(serde_json::to_value(share(0, 0)).unwrap(), 0.0);
    }

    #[test]
    fn a_target_is_one_of_three() {
        assert_eq!(target_of("ui").unwrap(), ("ui", "agent"));
        assert_eq!(target_of("nextjs").unwrap(), ("nextjs", "frontend"));
        for target in ["", "agent", "UI", "sshd.service", "xray "] {
            let refused = target_of(target).unwrap_err().into_text();
            assert_eq!(refused, format!("invalid_target: {target}. Valid: ui, xray, nextjs"));
        }
        assert!(target_of(&"x".repeat(1000)).unwrap_err().into_text().len() < 120);
    }
}
