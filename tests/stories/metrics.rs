//! The Prometheus endpoint: the same figures as everywhere else, in formats that a scraper reads.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use portmeter_tests::agent::{Agent, REST_ADDRESS};
use portmeter_tests::capture::Capture;
use portmeter_tests::count::Count;
use portmeter_tests::metrics::{self, PROMETHEUS_ACCEPTS, Scrape};
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::rest::Rest;
use portmeter_tests::traffic::held::HeldConnections;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::{count, exactness, wait};
use tonic::Code;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_scrape_equals_every_other_face", a_scrape_equals_every_other_face),
    (
        "counters_rise_through_resets_and_restarts",
        counters_rise_through_resets_and_restarts,
    ),
    ("each_scraper_gets_its_format", each_scraper_gets_its_format),
    ("what_is_told_is_what_is_documented", what_is_told_is_what_is_documented),
    ("a_key_s_figures_are_its_own", a_key_s_figures_are_its_own),
    ("names_are_told_on_request", names_are_told_on_request),
    ("requests_and_calls_are_counted", requests_and_calls_are_counted),
    ("callers_make_no_rows", callers_make_no_rows),
];

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
    let scraped = Scrape::of(&pair.server, PROMETHEUS_ACCEPTS)?.counts(&[key.port])?;
    exactness::equal(
        "after a reset",
        &scraped,
        &count::only(&capture.counts(SERVER_V4.into())?, [key.port]),
    )?;

    agent.kill()?;
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    agent.start()?;
    let scraped = Scrape::of(&pair.server, PROMETHEUS_ACCEPTS)?.counts(&[key.port])?;
    exactness::equal(
        "after a kill",
        &scraped,
        &count::only(&capture.finish(SERVER_V4.into())?, [key.port]),
    )
}

fn each_scraper_gets_its_format() -> Result<()> {
    let pair = Pair::new()?;
    let _agent = Agent::started(&pair.server)?;
    let (open_metrics, classic) = (
        Scrape::of(&pair.server, PROMETHEUS_ACCEPTS)?,
        Scrape::of(&pair.server, "*/*")?,
    );
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
    let of_ports = |scrape: &Scrape| {
        let mut samples = scrape.samples.clone();
        samples.retain(|line, _| line.starts_with("portmeter_port_"));
        samples
    };
    ensure!(
        of_ports(&open_metrics) == of_ports(&classic) && !of_ports(&classic).is_empty(),
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

/// A reader of docs/metrics.md finds every name on the page, with its type, and no other name is there.
fn what_is_told_is_what_is_documented() -> Result<()> {
    let documentation = include_str!("../../docs/metrics.md");
    let rows = documentation.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeMap<&str, &str> = rows
        .filter_map(|row| {
            let (name, rest) = row.split_once("` | ")?;
            Some((name, rest.split_once(" | ")?.0))
        })
        .collect();
    ensure!(documented.len() > 40, "{documented:?}");

    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    agent.rest().create_key("customer")?;
    agent.grpc()?.keys()?;
    let classic = Scrape::of(&pair.server, "*/*")?;
    let as_classic =
        |(&name, &kind): (&&'static str, &&'static str)| (name, if kind == "info" { "gauge" } else { kind });
    let expected: BTreeMap<&str, &str> = documented.iter().map(as_classic).collect();
    ensure!(
        classic.types() == expected,
        "{:?}\nand documented are\n{expected:?}",
        classic.types()
    );

    let open_metrics = Scrape::of(&pair.server, PROMETHEUS_ACCEPTS)?;
    let as_open_metrics = |(&name, &kind): (&&'static str, &&'static str)| {
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        (name.strip_suffix(suffix).unwrap_or(name), kind)
    };
    let expected: BTreeMap<&str, &str> = documented.iter().map(as_open_metrics).collect();
    ensure!(
        open_metrics.types() == expected,
        "{:?}\nand documented are\n{expected:?}",
        open_metrics.types()
    );
    Ok(())
}

/// They rise through resets, kills and starts, and the key that gets the port next has none of them.
fn a_key_s_figures_are_its_own() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let transfer = [Transfer::new(SERVER_V4, key.port, 10_000, 20_000)];
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    agent.rest().reset(&key.id)?;
    agent
        .rest()
        .post(&format!("/api/keys/{}/traffic/history/reset", key.id), None)?
        .expect_success()?;
    let told = |key_id: &str| Scrape::of(&pair.server, "*/*")?.count_of_key(key_id);
    let passed = count::of(&capture.counts(SERVER_V4.into())?, key.port);
    ensure!(
        told(&key.id)? == passed,
        "after resets {:?}, passed {passed:?}",
        told(&key.id)?
    );

    agent.kill()?;
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    agent.start()?;
    let passed = count::of(&capture.counts(SERVER_V4.into())?, key.port);
    ensure!(
        told(&key.id)? == passed,
        "after a kill {:?}, passed {passed:?}",
        told(&key.id)?
    );
    let connections = Scrape::of(&pair.server, "*/*")?.connections_of_key(&key.id)?;
    ensure!(connections.opened == 2 && connections.active == 0, "{connections:?}");

    agent.rest().delete_key(&key.id)?;
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    let next = agent.rest().create_key("next")?;
    ensure!(next.port == key.port, "the port is not handed on: {next:?}");
    let scrape = Scrape::of(&pair.server, "*/*")?;
    ensure!(scrape.count_of_key(&key.id).is_err(), "a deleted key is told");
    ensure!(
        scrape.count_of_key(&next.id)? == Count::default(),
        "{:?}",
        scrape.count_of_key(&next.id)?
    );
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    let all = count::of(&capture.finish(SERVER_V4.into())?, key.port);
    let scrape = Scrape::of(&pair.server, "*/*")?;
    let port = count::of(&scrape.counts(&[key.port])?, key.port);
    ensure!(port == all, "of the port {port:?}, passed {all:?}");
    let own = scrape.count_of_key(&next.id)?;
    ensure!(own.rx_bytes > 10_000 && own.rx_bytes < passed.rx_bytes, "{own:?}");
    let row = format!("portmeter_key_info{{key=\"{}\",port=\"{}\"}}", next.id, next.port);
    ensure!(
        scrape.rows("portmeter_key_info") == [row.as_str()],
        "{:?}",
        scrape.rows("portmeter_key_info")
    );
    Ok(())
}

fn names_are_told_on_request() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("a \"customer\" of ours")?;
    let row = |scrape: &Scrape| scrape.rows("portmeter_key_info").join(" ");
    let (id, port) = (&key.id, key.port);
    let shown = row(&Scrape::of(&pair.server, "*/*")?);
    ensure!(
        shown == format!("portmeter_key_info{{key=\"{id}\",port=\"{port}\"}}"),
        "{shown}"
    );
    agent.stop()?;
    agent.change_variable("PORTMETER_METRICS__KEY_NAMES", "true");
    agent.start()?;
    let shown = row(&Scrape::of(&pair.server, "*/*")?);
    let name = r#"a \"customer\" of ours"#;
    let expected = format!("portmeter_key_info{{key=\"{id}\",port=\"{port}\",name=\"{name}\"}}");
    ensure!(shown == expected, "{shown}");
    Ok(())
}

fn requests_and_calls_are_counted() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let before = Scrape::of(&pair.server, "*/*")?;
    for _ in 0..3 {
        agent.rest().get(&format!("/api/keys/{}", key.id))?;
    }
    agent.rest().get("/api/keys/00000000-0000-4000-8000-000000000000")?;
    Rest::new(&pair.server, REST_ADDRESS, "another-key-for-the-stories").get(&format!("/api/keys/{}", key.id))?;
    agent.grpc()?.keys()?;
    let refused = agent.grpc_over_tcp(None)?.keys_refused_with();
    ensure!(refused == Some(Code::Unauthenticated), "{refused:?}");

    let after = Scrape::of(&pair.server, "*/*")?;
    let more = |line: &str| -> Result<u64> { Ok(after.value(line)? - before.value(line).unwrap_or_default()) };
    let route = r#"method="GET",route="/api/keys/{key_id}""#;
    let method = r#"method="portmeter.v1.KeyService/ListKeys""#;
    for (line, expected) in [
        (format!("portmeter_rest_requests_total{{{route},status=\"2xx\"}}"), 3),
        (format!("portmeter_rest_requests_total{{{route},status=\"4xx\"}}"), 2),
        (format!("portmeter_rest_requests_total{{{route},status=\"5xx\"}}"), 0),
        (format!("portmeter_rest_request_duration_seconds_count{{{route}}}"), 5),
        (
            format!("portmeter_rest_request_duration_seconds_bucket{{{route},le=\"+Inf\"}}"),
            5,
        ),
        (format!("portmeter_grpc_requests_total{{{method},code=\"OK\"}}"), 1),
        (
            format!("portmeter_grpc_requests_total{{{method},code=\"UNAUTHENTICATED\"}}"),
            1,
        ),
        (format!("portmeter_grpc_request_duration_seconds_count{{{method}}}"), 2),
    ] {
        ensure!(
            more(&line)? == expected,
            "{line} rose by {}, not by {expected}",
            more(&line)?
        );
    }
    let took = after.real(&format!("portmeter_rest_request_duration_seconds_sum{{{route}}}"))?;
    ensure!(took > 0.0 && took < 60.0, "five requests took {took} s");
    // Samples and commits are measured too, by themselves.
    wait::until("samples and commits are told", || {
        let scrape = Scrape::of(&pair.server, "*/*")?;
        let count = |what: &str| scrape.value(&format!("portmeter_{what}_duration_seconds_count"));
        Ok(count("sample")? > 0 && count("commit")? > 0)
    })
}

/// Whatever is asked for, by whatever method: the rows are those of the routes, and one for all that is none.
fn callers_make_no_rows() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    agent.rest().get("/api/nothing")?;
    agent.rest().get("/api/keys/nobody")?;
    let before = Scrape::of(&pair.server, "*/*")?;
    for number in 0..100 {
        agent.rest().get(&format!("/api/nothing/{number}"))?;
        agent.rest().get(&format!("/{number}"))?;
        agent.rest().get(&format!("/api/keys/{number}?a={number}"))?;
        agent.rest().delete(&format!("/api/traffic/simple?{number}"))?;
    }
    let after = Scrape::of(&pair.server, "*/*")?;
    ensure!(
        after.series() == before.series(),
        "{:?}",
        after.series().difference(&before.series()).collect::<Vec<_>>()
    );
    let unmatched = r#"portmeter_rest_requests_total{method="ANY",route="unmatched",status="4xx"}"#;
    let more = after.value(unmatched)? - before.value(unmatched)?;
    ensure!(more == 300, "{more} of 300 requests without a route are told");
    Ok(())
}
