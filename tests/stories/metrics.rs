//! The Prometheus endpoint: the same figures as everywhere else, in formats that a scraper reads.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::metrics::{self, Scrape};
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::traffic::held::HeldConnections;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::{count, exactness};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_scrape_equals_every_other_face", a_scrape_equals_every_other_face),
    (
        "counters_rise_through_resets_and_restarts",
        counters_rise_through_resets_and_restarts,
    ),
    ("each_scraper_gets_its_format", each_scraper_gets_its_format),
];

/// What Prometheus 3 asks for.
const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

fn a_scrape_equals_every_other_face() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(3)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let transfers = [
        Transfer::new(SERVER_V4, keys[0].port, 30_000, 40_000),
        Transfer::new(SERVER_V6, keys[1].port, 50_000, 20_000),
    ];
    tcp::bulk(&pair.server, &pair.client, &transfers)?;
    let held = SocketAddr::new(SERVER_V4.into(), keys[2].port);
    let _held = HeldConnections::open(&pair.server, &pair.client, held, 4)?;

    let scrape = Scrape::of(&pair.server, "*/*")?;
    let ports: Vec<u16> = (10_001..=10_100).collect();
    for metric in [
        "portmeter_port_receive_bytes_total",
        "portmeter_port_connections",
        "portmeter_port_connections_opened_total",
    ] {
        let rows = scrape.ports(metric);
        ensure!(rows == ports, "rows of {metric}: {rows:?}");
    }
    let passed = capture.finish(SERVER_V4.into())?;
    exactness::equal("a scrape", &scrape.counts(&ports)?, &count::only(&passed, ports))?;
    for key in &keys {
        let shown = (scrape.connections(key.port)?, agent.rest().connections_of(&key.id)?);
        ensure!(shown.0 == shown.1, "connections of {}: {shown:?}", key.port);
    }
    let active = scrape.connections(keys[2].port)?.active;
    ensure!(active == 4, "{active} of 4 connections are shown");

    let state = agent.grpc()?.state()?;
    ensure!(!state.unattributed.is_empty(), "{state:?}");
    for row in &state.unattributed {
        let labels = format!("{{reason=\"{}\"}}", row.reason);
        let packets = scrape.value(&format!("portmeter_unattributed_packets_total{labels}"))?;
        let bytes = scrape.value(&format!("portmeter_unattributed_bytes_total{labels}"))?;
        ensure!(
            (packets, bytes) == (row.packets, row.bytes),
            "{packets} and {bytes}, {row:?}"
        );
    }
    let corrections = scrape.value("portmeter_connection_corrections_total")?;
    ensure!(
        corrections == 0 && state.connection_corrections == 0,
        "{corrections} corrections"
    );
    Ok(())
}

/// A reset is a matter of what is shown for a key; the kernel's counter, which is what is scraped, knows of none.
fn counters_rise_through_resets_and_restarts() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let transfer = [Transfer::new(SERVER_V4, key.port, 10_000, 20_000)];
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    agent.rest().reset(&key.id)?;
    let scraped = Scrape::of(&pair.server, PROMETHEUS)?.counts(&[key.port])?;
    exactness::equal(
        "after a reset",
        &scraped,
        &count::only(&capture.counts(SERVER_V4.into())?, [key.port]),
    )?;

    agent.kill()?;
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    agent.start()?;
    let scraped = Scrape::of(&pair.server, PROMETHEUS)?.counts(&[key.port])?;
    exactness::equal(
        "after a kill",
        &scraped,
        &count::only(&capture.finish(SERVER_V4.into())?, [key.port]),
    )
}

fn each_scraper_gets_its_format() -> Result<()> {
    let pair = Pair::new()?;
    let _agent = Agent::started(&pair.server)?;
    let (open_metrics, classic) = (Scrape::of(&pair.server, PROMETHEUS)?, Scrape::of(&pair.server, "*/*")?);
    ensure!(
        open_metrics.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "{}",
        open_metrics.content_type
    );
    ensure!(
        classic.content_type == "text/plain; version=0.0.4; charset=utf-8",
        "{}",
        classic.content_type
    );
    ensure!(
        open_metrics.samples == classic.samples,
        "the formats differ in what they say"
    );
    ensure!(open_metrics.text.ends_with("# EOF\n"), "{}", open_metrics.text);
    ensure!(!classic.text.contains("# EOF"), "{}", classic.text);

    // Nothing else is served there, least of all anything that needs the API key elsewhere.
    for path in ["/", "/api/keys", "/metrics/"] {
        let (status, _, body) = metrics::get(&pair.server, path, "*/*")?;
        ensure!(status == 404 && body.is_empty(), "{path}: {status} {body}");
    }
    Ok(())
}
