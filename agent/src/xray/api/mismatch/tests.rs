use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use super::super::super::reality::PrivateKey;
use super::super::super::wanted::{CoreSettings, WantedInbound};
use super::super::Numbering;
use super::super::live::{LiveInbound, LiveReality, LiveVless, Protocol, Security};
use super::super::test_support::{inbound, settings, told, told_as, told_in_vain};
use super::Mismatch;

const NUMBERINGS: [Numbering; 3] = [Numbering::Before25_8_29, Numbering::Before25_10_15, Numbering::Current];

fn reality(live: &mut LiveInbound) -> &mut LiveReality {
    match &mut live.security {
        Security::Reality(reality) => reality,
        other => panic!("it has REALITY, not {other:?}"),
    }
}

fn vless(live: &mut LiveInbound) -> &mut LiveVless {
    match &mut live.protocol {
        Protocol::Vless(vless) => vless,
        other => panic!("it is VLESS, not {other:?}"),
    }
}

#[test]
fn what_was_told_matches_in_every_numbering() {
    for numbering in NUMBERINGS {
        let (settings, inbound) = (settings(), inbound(10_001));
        let live = told_as(&settings, &inbound, numbering, numbering);
        assert_eq!(live.matches(&settings, &inbound), Ok(()), "{numbering:?}");
        assert_eq!(live, told(&settings, &inbound), "{numbering:?}");
    }
}

#[test]
fn another_numbering_is_a_mismatch() {
    let (settings, inbound) = (settings(), inbound(10_001));
    for written in NUMBERINGS {
        for read in NUMBERINGS.into_iter().filter(|read| *read != written) {
            let live = told_as(&settings, &inbound, written, read);
            assert!(live.matches(&settings, &inbound).is_err(), "{written:?} as {read:?}");
        }
    }
}

#[test]
fn what_the_core_did_not_understand_is_not_taken_for_what_it_has() {
    let (settings, inbound) = (settings(), inbound(10_001));
    for numbering in NUMBERINGS {
        let live = told_in_vain(&settings, &inbound, numbering);
        assert_eq!(
            live.matches(&settings, &inbound),
            Err(Mismatch::NoReality),
            "{numbering:?}"
        );
    }
}

/// Something that can be wrong with a live inbound.
type Change = fn(&mut LiveInbound);

#[test]
fn each_difference_is_told_in_a_sentence_without_secrets() {
    let changes: [(&str, Change); 21] = [
        ("tag", |live| live.tag = "api".to_owned()),
        ("read", |live| live.has_unreadable_part = true),
        ("REALITY", |live| live.security = Security::None),
        ("security", |live| live.security = Security::Other("tls".to_owned())),
        ("protocol", |live| live.protocol = Protocol::Other("socks".to_owned())),
        ("port: 10001-10002 ", |live| live.ports = vec![10_001..=10_002]),
        ("port: none ", |live| live.ports.clear()),
        ("listen", |live| live.listen = super::Listen::Name("/x".to_owned())),
        ("network", |live| live.network = "grpc".to_owned()),
        ("sniffing", |live| live.is_sniffing = true),
        ("clients: 0", |live| vless(live).clients.clear()),
        ("client", |live| vless(live).clients[0].uuid = Some(Uuid::new_v4())),
        ("statistics", |live| vless(live).clients[0].email.clear()),
        ("flow: nothing", |live| vless(live).clients[0].flow.clear()),
        ("decryption", |live| {
            vless(live).decryption = "mlkem768x25519plus".to_owned();
        }),
        ("fallbacks", |live| vless(live).n_fallbacks = 1),
        ("private key", |live| {
            reality(live).private_key = Some(PrivateKey::generate());
        }),
        ("short ids", |live| drop(reality(live).short_ids.pop())),
        ("server names", |live| {
            reality(live).server_names.push("a.example".to_owned());
        }),
        ("dest", |live| reality(live).dest = "a.example:443".to_owned()),
        ("milliseconds: 600 ", |live| reality(live).max_time_diff_ms = 600),
    ];
    let (settings, inbound) = (settings(), inbound(10_001));
    for (word, change) in changes {
        let mut live = told(&settings, &inbound);
        change(&mut live);
        let sentence = live.matches(&settings, &inbound).expect_err(word).to_string();
        assert!(sentence.contains(word), "{word}: {sentence}");
        assert!(!sentence.contains(&inbound.reality.private_key.to_secret_text()));
        assert!(!sentence.contains("mlkem"), "{sentence}");
    }
}

#[test]
fn order_and_repetition_make_no_difference() {
    let (settings, inbound) = (settings(), inbound(10_001));
    let mut live = told(&settings, &inbound);
    reality(&mut live).server_names.reverse();
    let first = reality(&mut live).short_ids[0].clone();
    reality(&mut live).short_ids.push(first);
    assert_eq!(live.matches(&settings, &inbound), Ok(()));
}

#[test]
fn all_addresses_are_the_same_however_they_are_written() {
    let inbound = inbound(10_001);
    let with = |listen: Option<&str>| CoreSettings {
        listen: listen.map(|text| text.parse::<IpAddr>().unwrap()),
        ..settings()
    };
    let all = [None, Some("0.0.0.0"), Some("::")];
    for told_listen in all {
        for wanted in all {
            let live = told(&with(told_listen), &inbound);
            assert_eq!(
                live.matches(&with(wanted), &inbound),
                Ok(()),
                "{told_listen:?} {wanted:?}"
            );
        }
        let live = told(&with(Some("127.0.0.1")), &inbound);
        assert!(live.matches(&with(told_listen), &inbound).is_err());
        assert!(
            told(&with(told_listen), &inbound)
                .matches(&with(Some("::1")), &inbound)
                .is_err()
        );
    }
    let mapped = told(&with(Some("::ffff:127.0.0.1")), &inbound);
    assert_eq!(mapped.matches(&with(Some("127.0.0.1")), &inbound), Ok(()));
}

#[test]
fn a_short_id_is_another_than_one_it_begins_with() {
    let settings = settings();
    let with = |text: &str| {
        let mut reality = super::super::test_support::reality();
        reality.private_key = PrivateKey::from([7; 32]);
        reality.short_ids = vec![text.parse().unwrap()];
        WantedInbound {
            uuid: Uuid::nil(),
            port: 1,
            reality: Arc::new(reality),
        }
    };
    let live = told(&settings, &with("0123"));
    assert_eq!(
        live.matches(&settings, &with("012300")),
        Ok(()),
        "the core pads with zeros"
    );
    assert!(live.matches(&settings, &with("012301")).is_err());
}
