//! What the start says: to a user on a terminal, and to the log.

use std::time::Duration;

use super::Agent;
use crate::config::HookChoice;
use crate::first_session::{self, Facts};
use crate::instance::socket_path;
use crate::kernel::Hook;
use crate::network::listeners::SocketProbe;
use crate::store::{PortProbe as _, lowest_free_port};

impl Agent {
    /// The same as the greeting, for the log, and what the start took.
    pub(super) fn tell_that_it_runs(&self, start: Duration) {
        let http = self.http_address.map(|address| address.to_string());
        tracing::info!(
            version = crate::VERSION,
            instance = self.config.agent.instance,
            ports = %self.config.capture.ports,
            http,
            grpc = %self.grpc_address,
            metrics = %self.metrics_address,
            data_dir = %self.config.agent.data_dir.display(),
            start_seconds = start.as_secs_f64(),
            "the agent runs"
        );
    }

    /// What a user reads on a terminal.
    pub(super) fn greeting(&self) -> String {
        let attached = self.state.attached();
        let hook = match attached.first().map(|one| one.hook) {
            Some(Hook::Clsact) => "clsact",
            _ if self.config.capture.hook == HookChoice::Xdp => "XDP and TCX",
            _ => "TCX",
        };
        first_session::text(&Facts {
            interfaces: attached.into_iter().map(|one| one.target.name).collect(),
            hook,
            ports: self.config.capture.ports.to_string(),
            http: self.http_address,
            http_tls: self.certificates.http_facts(&self.config),
            grpc: self.grpc_address,
            grpc_tls: self.certificates.grpc_facts(&self.config),
            metrics: self.metrics_address,
            xray: first_session::xray_line(&self.reconciler.facts().core),
            socket: &socket_path(&self.config.agent.instance),
            api_key: &self.api_key_origin,
            next_port: self.next_port(),
            program: &std::env::current_exe().unwrap_or_else(|_| "portmeter".into()),
            data_folder: &self.config.agent.data_dir,
            instance: &self.config.agent.instance,
        })
    }

    /// The port that a key made now would get.
    fn next_port(&self) -> Option<u16> {
        let held = SocketProbe.held_ports().unwrap_or_default();
        lowest_free_port(
            self.config.capture.ports.iter(),
            &self.store.snapshot().assigned_ports(),
            &held,
        )
    }
}
