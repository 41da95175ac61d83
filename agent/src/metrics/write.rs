//! How a scrape is written: family by family, in the order of the documentation.

use std::fmt;

use portmeter_metrics::{Build, Family, Figures, Page, Value};

use super::families::*;
use super::scrape::{KeyFigures, PortFigures, Scrape};
use crate::xray::core::CoreState;

impl Figures for Scrape {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.write_ports(page)?;
        self.write_keys(page)?;
        self.write_strays(page)?;
        self.write_kernel(page)?;
        self.write_agent(page)?;
        self.write_core(page)?;
        self.calls.write(page)?;
        if let Some(requests) = &self.requests {
            requests.write(page)?;
        }
        self.process.write(page)?;
        let build = Build {
            version: crate::VERSION,
        };
        build.write(page)
    }
}

/// A metric, and which of the figures of a `T` it tells.
type Figure<T> = (&'static Family, fn(&T) -> u64);

impl Scrape {
    fn write_ports(&self, page: &mut Page<'_>) -> fmt::Result {
        let figures: [Figure<PortFigures>; 6] = [
            (&PORT_RECEIVE_BYTES, |port| port.counter.rx_bytes),
            (&PORT_TRANSMIT_BYTES, |port| port.counter.tx_bytes),
            (&PORT_RECEIVE_PACKETS, |port| port.counter.rx_packets),
            (&PORT_TRANSMIT_PACKETS, |port| port.counter.tx_packets),
            (&PORT_CONNECTIONS, |port| port.active_connections),
            (&PORT_CONNECTIONS_OPENED, |port| port.counter.connections_opened),
        ];
        for (family, figure) in figures {
            let mut rows = page.family(family)?;
            for port in &self.ports {
                rows.row([Value::Port(port.port)], figure(port))?;
            }
        }
        Ok(())
    }

    fn write_keys(&self, page: &mut Page<'_>) -> fmt::Result {
        let keys = self.keys();
        let figures: [Figure<KeyFigures<'_>>; 6] = [
            (&KEY_RECEIVE_BYTES, |key| key.total.rx_bytes),
            (&KEY_TRANSMIT_BYTES, |key| key.total.tx_bytes),
            (&KEY_RECEIVE_PACKETS, |key| key.total.rx_packets),
            (&KEY_TRANSMIT_PACKETS, |key| key.total.tx_packets),
            (&KEY_CONNECTIONS, |key| key.active_connections),
            (&KEY_CONNECTIONS_OPENED, |key| key.total.connections_opened),
        ];
        for (family, figure) in figures {
            let mut rows = page.family(family)?;
            for key in &keys {
                rows.row([Value::Text(&key.id)], figure(key))?;
            }
        }
        let mut rows = page.family(&KEY)?;
        for key in &keys {
            let port = key.entry.key.port.map_or(Value::Text(""), Value::Port);
            if self.with_key_names {
                rows.info([Value::Text(&key.id), port, Value::Text(&key.entry.key.name)])?;
            } else {
                rows.info([Value::Text(&key.id), port])?;
            }
        }
        let enabled = keys.iter().filter(|key| key.entry.key.is_active).count();
        let mut rows = page.family(&KEY_COUNT)?;
        rows.row([Value::Text("enabled")], enabled)?;
        rows.row([Value::Text("disabled")], keys.len() - enabled)
    }

    fn write_strays(&self, page: &mut Page<'_>) -> fmt::Result {
        let unattributed = || self.kernel.unattributed.iter();
        let dropped = || self.kernel.dropped.iter();
        write_by(
            page,
            &UNATTRIBUTED_PACKETS,
            unattributed().map(|row| (row.reason, row.packets)),
        )?;
        write_by(
            page,
            &UNATTRIBUTED_BYTES,
            unattributed().map(|row| (row.reason, row.bytes)),
        )?;
        write_by(page, &DROPPED_PACKETS, dropped().map(|row| (row.reason, row.packets)))?;
        write_by(page, &DROPPED_BYTES, dropped().map(|row| (row.reason, row.bytes)))?;
        page.figure(&CONNECTION_CORRECTIONS, self.agent.connection_corrections)
    }

    fn write_kernel(&self, page: &mut Page<'_>) -> fmt::Result {
        let interfaces = [
            ("counted", self.agent.counted_interfaces as u64),
            ("failed", self.agent.failed_interfaces as u64),
        ];
        write_by(page, &INTERFACES, interfaces.into_iter())?;
        let mut rows = page.family(&PROGRAM_RUNS)?;
        for runs in &self.kernel.programs {
            rows.row([Value::Text(runs.program)], runs.count)?;
        }
        let mut rows = page.family(&PROGRAM_RUN_TIME)?;
        for runs in &self.kernel.programs {
            rows.row([Value::Text(runs.program)], runs.time.as_secs_f64())?;
        }
        let maps = || self.kernel.maps.iter();
        write_by(page, &MAP_ENTRIES, maps().map(|one| (one.map, one.entries)))?;
        write_by(page, &MAP_ENTRIES_MAX, maps().map(|one| (one.map, one.entries_max)))
    }

    fn write_agent(&self, page: &mut Page<'_>) -> fmt::Result {
        let agent = &self.agent;
        page.figure(&READY, agent.is_ready)?;
        page.family(&SAMPLE_DURATION)?.durations([], &agent.samples)?;
        page.family(&COMMIT_DURATION)?.durations([], &agent.commits)?;
        page.figure(&COMMIT_FAILURES, agent.commit_failures)?;
        let mut lag = page.family(&LEDGER_LAG)?;
        if let Some(seconds) = agent.ledger_lag_seconds {
            lag.row([], seconds)?;
        }
        page.figure(&COLLECTOR_RUNNING, agent.is_collecting)
    }

    fn write_core(&self, page: &mut Page<'_>) -> fmt::Result {
        page.figure(&XRAY_DRIFT, self.core.drift_count)?;
        let is_managed = self.core.state.is_some();
        let mut running = page.family(&XRAY_RUNNING)?;
        if is_managed {
            running.row([], self.core.state == Some(CoreState::Running))?;
        }
        let mut states = page.family(&XRAY_STATE)?;
        for (name, state) in STATES.into_iter().filter(|_| is_managed) {
            states.row([Value::Text(name)], self.core.state == Some(state))?;
        }
        let mut restarts = page.family(&XRAY_RESTARTS)?;
        if is_managed {
            restarts.row([], self.core.restart_count)?;
        }
        Ok(())
    }
}

/// Every state of the core, as `state` names it.
const STATES: [(&str, CoreState); 4] = [
    ("running", CoreState::Running),
    ("starting", CoreState::Starting),
    ("down", CoreState::Down),
    ("unknown", CoreState::Unknown),
];

/// A family with one label.
fn write_by(page: &mut Page<'_>, family: &Family, rows: impl Iterator<Item = (&'static str, u64)>) -> fmt::Result {
    let mut written = page.family(family)?;
    for (label, figure) in rows {
        written.row([Value::Text(label)], figure)?;
    }
    Ok(())
}
