//! The stand-in's host and the services on it.

use portmeter_proto::reason::Reason;
use portmeter_proto::v1::*;
use tonic::Status;

use super::State;

/// What there is beside the agent and the core.
#[derive(Default)]
pub(super) struct Services {
    /// Whether no front end is configured.
    pub(super) has_no_front_end: bool,
    /// What was restarted, in the agent's words.
    pub(super) restarted: Vec<String>,
}

/// A host with 2 processors, 4 GiB of memory and a disk of 100 GB.
pub(super) fn resources() -> GetHostResourcesResponse {
    GetHostResourcesResponse {
        cpu_percent: 12.5,
        cpu_count: 2,
        memory_total_bytes: 4 << 30,
        memory_available_bytes: 3 << 30,
        memory_used_bytes: 1 << 30,
        disk_total_bytes: 100_000_000_000,
        disk_used_bytes: 30_000_000_000,
        disk_free_bytes: 60_000_000_000,
    }
}

impl State {
    pub(super) fn managed_services(&self) -> Vec<ManagedService> {
        let service = |name: &str, state: ServiceState, unit: &str| ManagedService {
            name: name.to_owned(),
            state: state.into(),
            unit: unit.to_owned(),
            url: None,
            http_status: None,
        };
        let core = if self.engine.is_unmanaged {
            ServiceState::Unspecified
        } else {
            ServiceState::Active
        };
        let mut services = vec![
            service("agent", ServiceState::Active, "portmeter.service"),
            service("xray", core, ""),
        ];
        if !self.services.has_no_front_end {
            services.push(ManagedService {
                url: Some("http://127.0.0.1:3000".to_owned()),
                http_status: Some(200),
                ..service("frontend", ServiceState::Active, "panel.service")
            });
        }
        services
    }

    pub(super) fn restart(&mut self, name: &str) -> Result<(), Status> {
        match name {
            "xray" if self.engine.is_unmanaged => return Err(Reason::CoreNotManaged.status("xray.mode is none")),
            "frontend" if self.services.has_no_front_end => {
                return Err(Reason::ServiceNotManaged.status("no unit is configured"));
            }
            "agent" | "xray" | "frontend" => {}
            _ => return Err(Reason::ServiceNotFound.status("there is no such service")),
        }
        self.services.restarted.push(name.to_owned());
        Ok(())
    }
}
