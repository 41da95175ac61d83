//! The client of the core's API against a real core: what it adds is what the core makes of the same inbound in its
//! configuration file, and what becomes of a call says what to do next.
//!
//! Needs `PORTMETER_XRAY`, the path of an Xray core; without it all but one are left out, never in CI.

mod asked;
mod real_core;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

use portmeter::xray::api::plan::{Step, difference};
use portmeter::xray::api::{ApiError, CoreApi, CoreVersion, LiveInbound, Mismatch, Protocol};
use portmeter::xray::wanted::{CoreSettings, Wanted, WantedInbound};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use uuid::Uuid;

use asked::{in_file, inbounds, on_loopback, settings};
use real_core::{Core, binary, free_ports};

async fn live(api: &CoreApi, inbound: &WantedInbound) -> LiveInbound {
    api.live(&inbound.tag()).await.unwrap().expect("the core has it")
}

async fn is_open(address: &str, port: u16) -> bool {
    TcpStream::connect((address, port)).await.is_ok()
}

#[tokio::test]
async fn inbounds_come_and_go_while_the_core_runs() {
    let Some(binary) = binary() else { return };
    let core = Core::start(binary, &[]).await;
    let (api, settings, inbounds) = (core.api(), on_loopback(), inbounds(201));
    let (first, others) = inbounds.split_first().unwrap();

    api.add(&settings, first).await.unwrap();
    assert_eq!(live(&api, first).await.matches(&settings, first), Ok(()));
    assert!(is_open("127.0.0.1", first.port).await);
    let taken = api
        .add(
            &settings,
            &WantedInbound {
                port: others[0].port,
                ..first.clone()
            },
        )
        .await;
    assert_eq!(taken, Err(ApiError::TagExists(first.tag())));
    assert_eq!(
        live(&api, first).await.matches(&settings, first),
        Ok(()),
        "it stays as it was"
    );

    let start = Instant::now();
    for inbound in others {
        api.add(&settings, inbound).await.unwrap();
    }
    println!("{} inbounds added in {:?}", others.len(), start.elapsed());
    let start = Instant::now();
    let all = api.list().await.unwrap();
    println!("{} inbounds listed in {:?}", all.len(), start.elapsed());
    let wanted = Wanted {
        settings,
        inbounds: inbounds.clone(),
    };
    assert_eq!(all.len(), inbounds.len());
    assert_eq!(difference(&all, &wanted), []);

    let start = Instant::now();
    for inbound in others {
        api.remove(&inbound.tag()).await.unwrap();
    }
    println!("{} inbounds removed in {:?}", others.len(), start.elapsed());
    assert_eq!(api.remove(&others[0].tag()).await, Ok(()), "it is gone already");
    assert_eq!(api.remove("").await, Ok(()), "nothing has no tag");
    assert_eq!(api.live(&others[0].tag()).await, Ok(None));
    assert!(!is_open("127.0.0.1", others[0].port).await);
    assert_eq!(api.list().await.unwrap(), [live(&api, first).await]);
}

#[tokio::test]
async fn an_inbound_from_the_file_and_an_added_one_are_the_same() {
    let Some(binary) = binary() else { return };
    let listens = [
        None,
        Some("0.0.0.0"),
        Some("::"),
        Some("127.0.0.1"),
        Some("::1"),
        Some("::ffff:127.0.0.1"),
    ];
    let kinds = listens
        .into_iter()
        .flat_map(|listen| ["xtls-rprx-vision", ""].map(|flow| settings(listen, flow)));
    let wanted: Vec<(CoreSettings, WantedInbound)> = kinds.zip(inbounds(12)).collect();
    let file: Vec<Value> = wanted
        .iter()
        .map(|(settings, inbound)| in_file(settings, inbound))
        .collect();
    let core = Core::start(binary, &file).await;
    let api = core.api();
    for (settings, inbound) in &wanted {
        let (from_file, bytes_from_file) = (live(&api, inbound).await, core.raw(&inbound.tag()).await);
        assert_eq!(from_file.matches(settings, inbound), Ok(()), "{settings:?}");
        let open_from_file = open_at(inbound.port).await;
        api.remove(&inbound.tag()).await.unwrap();
        assert_eq!(open_at(inbound.port).await, (false, false), "{settings:?}");

        api.add(settings, inbound).await.unwrap();
        assert_eq!(live(&api, inbound).await, from_file, "{settings:?}");
        assert!(
            core.raw(&inbound.tag()).await == bytes_from_file,
            "other bytes: {settings:?}"
        );
        assert_eq!(open_at(inbound.port).await, open_from_file, "{settings:?}");
        let has_both = settings.listen.is_none_or(|address| address.is_unspecified());
        assert_eq!(open_from_file == (true, true), has_both, "{settings:?}");
    }
}

/// Over IPv4, over IPv6.
async fn open_at(port: u16) -> (bool, bool) {
    (is_open("127.0.0.1", port).await, is_open("::1", port).await)
}

#[tokio::test]
async fn other_peoples_inbounds_are_listed_and_left_alone() {
    let Some(binary) = binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let ports = free_ports(6);
    let client = json!([{"id": Uuid::new_v4(), "email": "somebody"}]);
    let core = Core::start(
        binary,
        &[
            json!({"tag": "socks", "listen": "127.0.0.1", "port": ports[0], "protocol": "socks"}),
            json!({"listen": "127.0.0.1", "port": ports[1], "protocol": "http"}),
            json!({"tag": "door", "listen": "127.0.0.1", "port": format!("{},{}", ports[2], ports[3]),
                "protocol": "dokodemo-door", "settings": {"address": "127.0.0.1", "port": 9, "network": "tcp,udp"}}),
            json!({"listen": folder.path().join("socket"), "protocol": "vless",
                "settings": {"clients": client, "decryption": "none"}}),
            json!({"tag": "vmess", "listen": "127.0.0.1", "port": ports[4], "protocol": "vmess",
                "settings": {"clients": client}, "streamSettings": {"network": "ws"}, "sniffing": {"enabled": true}}),
            json!({"tag": "trojan", "listen": "127.0.0.1", "port": ports[5], "protocol": "trojan",
                "settings": {"clients": [{"password": "x"}], "fallbacks": [{"dest": 80}]}}),
        ],
    )
    .await;
    let list = core.api().list().await.unwrap();
    assert_eq!(list.len(), 6);
    assert!(list.iter().all(|inbound| !inbound.has_unreadable_part), "{list:?}");
    let named = |tag: &str| list.iter().find(|inbound| inbound.tag == tag).unwrap();
    assert_eq!(named("door").ports, [ports[2]..=ports[2], ports[3]..=ports[3]]);
    assert_eq!(
        named("socks").protocol,
        Protocol::Other("xray.proxy.socks.ServerConfig".to_owned())
    );
    assert!(named("vmess").is_sniffing);
    let wanted = Wanted {
        settings: on_loopback(),
        inbounds: inbounds(1),
    };
    assert_eq!(difference(&list, &wanted), [Step::Add(0)]);
    let old = CoreApi::new(core.api_listen, CoreVersion::new(1, 8, 24))
        .list()
        .await
        .unwrap();
    assert_eq!(difference(&old, &wanted), [Step::Add(0)], "whatever the numbering");
}

#[tokio::test]
async fn a_client_outlives_the_core() {
    let Some(binary) = binary() else { return };
    let (settings, inbounds) = (on_loopback(), inbounds(2));
    let mut core = Core::start(binary, &[in_file(&settings, &inbounds[0])]).await;
    let api = core.api();
    let unreachable = Err(ApiError::Unreachable(core.api_listen));
    api.add(&settings, &inbounds[1]).await.unwrap();
    let wanted = Wanted {
        settings: settings.clone(),
        inbounds: inbounds.clone(),
    };
    assert_eq!(difference(&api.list().await.unwrap(), &wanted), []);

    core.kill();
    assert_eq!(api.add(&settings, &inbounds[1]).await, unreachable);
    assert_eq!(api.remove(&inbounds[1].tag()).await, unreachable);
    assert_eq!(api.list().await.map(drop), unreachable);
    assert_eq!(api.uptime_seconds().await.map(drop), unreachable);

    core.start_again().await;
    let list = api.list().await.expect("the first call after the start goes through");
    assert_eq!(
        difference(&list, &wanted),
        [Step::Add(1)],
        "the core forgot what only its memory had"
    );
    api.add(&settings, &inbounds[1]).await.unwrap();
    assert_eq!(difference(&api.list().await.unwrap(), &wanted), []);
    assert!(api.uptime_seconds().await.unwrap() < 30);
}

#[tokio::test]
async fn a_connection_lost_in_between_is_noticed_without_a_call_that_fails() {
    let Some(binary) = binary() else { return };
    let mut core = Core::start(binary, &[]).await;
    let api = core.api();
    api.list().await.unwrap();
    core.kill();
    core.start_again().await;
    assert_eq!(api.list().await, Ok(vec![]));
}

#[tokio::test]
async fn an_inbound_that_cannot_listen_is_refused_and_nothing_of_it_stays() {
    let Some(binary) = binary() else { return };
    let core = Core::start(binary, &[]).await;
    let (api, inbound) = (core.api(), &inbounds(1)[0]);
    // An address for documentation (RFC 5737), nobody's.
    let refused = api.add(&settings(Some("203.0.113.1"), ""), inbound).await;
    let Err(ApiError::Refused(text)) = refused else {
        panic!("it is refused, not {refused:?}");
    };
    assert!(text.contains("203.0.113.1") && text.lines().count() == 1, "{text}");
    assert_eq!(api.list().await, Ok(vec![]));
    api.add(&on_loopback(), inbound).await.unwrap();
}

#[tokio::test]
async fn the_wrong_numbering_is_found_when_the_inbound_is_read_back() {
    let Some(binary) = binary() else { return };
    let core = Core::start(binary, &[]).await;
    let (api, settings, inbounds) = (core.api(), on_loopback(), inbounds(2));
    let old = CoreApi::new(core.api_listen, CoreVersion::new(25, 9, 11));
    old.add(&settings, &inbounds[0])
        .await
        .expect("the core takes it without a word");
    let found = async |api| live(api, &inbounds[0]).await.matches(&settings, &inbounds[0]);
    assert_eq!(
        found(&old).await,
        Err(Mismatch::NoReality),
        "though the core lists all that it was told"
    );
    assert_eq!(found(&api).await, Err(Mismatch::Unreadable));
    let older = CoreApi::new(core.api_listen, CoreVersion::new(25, 8, 3));
    let refused = older.add(&settings, &inbounds[1]).await;
    assert!(matches!(refused, Err(ApiError::Refused(_))), "{refused:?}");
    assert_eq!(api.live(&inbounds[1].tag()).await, Ok(None));
    api.add(&settings, &inbounds[1]).await.unwrap();
    let before = live(&api, &inbounds[1]).await;
    let refused = older.add(&settings, &inbounds[1]).await;
    assert!(matches!(refused, Err(ApiError::Refused(_))), "{refused:?}");
    assert_eq!(live(&api, &inbounds[1]).await, before, "a refusal takes nothing away");
}

#[tokio::test]
async fn a_core_without_the_service_is_told_from_one_that_is_not_there() {
    let Some(binary) = binary() else { return };
    let core = Core::start_with(binary, &[], &["StatsService"]).await;
    let (api, inbound) = (core.api(), &inbounds(1)[0]);
    let missing = Err(ApiError::NotHandler("HandlerService"));
    assert_eq!(api.add(&on_loopback(), inbound).await, missing);
    assert_eq!(api.remove(&inbound.tag()).await, missing);
    assert_eq!(api.list().await.map(drop), missing);
    assert!(api.uptime_seconds().await.is_ok());
}

#[tokio::test]
async fn a_core_that_does_not_answer_is_given_up_on() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let api_listen = silent.local_addr().unwrap();
    let api = CoreApi::new(api_listen, CoreVersion::new(26, 10, 10));
    assert_eq!(api.list().await, Err(ApiError::Unreachable(api_listen)));
}
