use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::super::super::reality::{PrivateKey, ShortId};
use super::super::super::wanted::{CoreSettings, Reality, Wanted, WantedInbound, tag_of};
use super::super::Mismatch;
use super::super::live::{LiveInbound, Protocol};
use super::super::test_support::{inbound, settings, told};
use super::{Step, difference};

fn wanted(inbounds: &[WantedInbound]) -> Wanted {
    Wanted {
        settings: settings(),
        inbounds: inbounds.to_vec(),
    }
}

fn foreign(tag: &str, port: u16) -> LiveInbound {
    LiveInbound {
        tag: tag.to_owned(),
        protocol: Protocol::Other("xray.proxy.socks.ServerConfig".to_owned()),
        ..told(&settings(), &inbound(port))
    }
}

#[test]
fn a_core_without_inbounds_gets_all_and_one_that_has_them_gets_nothing() {
    let wanted = wanted(&[inbound(10_001), inbound(10_002)]);
    assert_eq!(difference(&[], &wanted), [Step::Add(0), Step::Add(1)]);
    let live: Vec<_> = wanted
        .inbounds
        .iter()
        .map(|inbound| told(&settings(), inbound))
        .collect();
    assert_eq!(difference(&live, &wanted), []);
}

#[test]
fn other_peoples_inbounds_are_never_touched() {
    let live = [
        foreign("", 10_001),
        foreign("", 10_002),
        foreign("api", 10_003),
        foreign("inbound-1", 10_004),
        foreign(
            &format!("inbound-{}", Uuid::from_u128(0xabc).to_string().to_uppercase()),
            10_005,
        ),
    ];
    assert_eq!(difference(&live, &wanted(&[])), []);
}

#[test]
fn what_differs_is_replaced_and_what_is_not_wanted_goes_first() {
    let (kept, changed, gone) = (inbound(10_001), inbound(10_002), inbound(10_003));
    let new = inbound(10_003);
    let without_vision = CoreSettings {
        flow: String::new(),
        ..settings()
    };
    let live = [
        told(&settings(), &kept),
        told(&without_vision, &changed),
        told(&settings(), &gone),
    ];
    let steps = difference(&live, &wanted(&[new, changed, kept]));
    let flow = Mismatch::Differs {
        what: "flow",
        live: "nothing".to_owned(),
        wanted: "xtls-rprx-vision".to_owned(),
    };
    assert_eq!(steps, [Step::Remove(gone.tag()), Step::Add(0), Step::Replace(1, flow)]);
}

#[test]
fn keys_that_change_ports_both_leave_before_either_comes() {
    let (one, other) = (inbound(10_001), inbound(10_002));
    let live = [told(&settings(), &one), told(&settings(), &other)];
    let moved = [
        WantedInbound {
            port: 10_002,
            ..one.clone()
        },
        WantedInbound {
            port: 10_001,
            ..other.clone()
        },
    ];
    assert_eq!(
        difference(&live, &wanted(&moved)),
        [
            Step::Remove(one.tag()),
            Step::Remove(other.tag()),
            Step::Add(0),
            Step::Add(1)
        ]
    );
}

/// A few keys with few values, so that states often meet.
fn state() -> impl Strategy<Value = Wanted> {
    let key = (any::<bool>(), 0..2_u8);
    let ports = Just((10_001..=10_006).collect::<Vec<u16>>()).prop_shuffle();
    (prop::collection::vec(key, 6), ports, any::<bool>()).prop_map(|(keys, ports, has_flow)| {
        let inbounds = keys.into_iter().zip(ports).enumerate();
        let inbounds = inbounds.filter(|(_, ((is_there, _), _))| *is_there);
        Wanted {
            settings: CoreSettings {
                flow: if has_flow { "xtls-rprx-vision" } else { "" }.to_owned(),
                ..settings()
            },
            inbounds: inbounds
                .map(|(number, ((_, identity), port))| key_inbound(number, port, identity))
                .collect(),
        }
    })
}

fn key_inbound(number: usize, port: u16, identity: u8) -> WantedInbound {
    WantedInbound {
        uuid: Uuid::from_u128(number as u128 + 1),
        port,
        reality: Arc::new(Reality {
            private_key: PrivateKey::from([identity; 32]),
            short_ids: vec!["00ff".parse::<ShortId>().unwrap()],
            dest: "www.example.com:443".to_owned(),
            server_names: vec!["www.example.com".to_owned()],
        }),
    }
}

/// A core: at most one inbound of a tag, and as many as you like on a port.
#[derive(Debug)]
struct Model(BTreeMap<String, LiveInbound>);

impl Model {
    fn of(wanted: &Wanted) -> Self {
        let live = wanted.inbounds.iter().map(|inbound| told(&wanted.settings, inbound));
        Self(live.map(|live| (live.tag.clone(), live)).collect())
    }

    fn list(&self) -> Vec<LiveInbound> {
        self.0.values().cloned().collect()
    }

    fn remove(&mut self, tag: &str) {
        self.0.remove(tag).expect("what is removed is there");
    }

    fn add(&mut self, wanted: &Wanted, index: usize) {
        let live = told(&wanted.settings, &wanted.inbounds[index]);
        let is_taken = self.0.values().any(|other| other.ports == live.ports);
        assert!(!is_taken, "two inbounds on port {:?}", live.ports);
        assert!(
            self.0.insert(live.tag.clone(), live).is_none(),
            "a tag is free when it is added"
        );
    }

    fn apply(&mut self, step: Step, wanted: &Wanted) {
        match step {
            Step::Remove(tag) => self.remove(&tag),
            Step::Add(index) => self.add(wanted, index),
            Step::Replace(index, _) => {
                self.remove(&wanted.inbounds[index].tag());
                self.add(wanted, index);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_steps_lead_to_what_is_wanted(before in state(), after in state()) {
        let mut core = Model::of(&before);
        let others = foreign("api", 9);
        core.0.insert("api".to_owned(), others.clone());
        let untouched: Vec<String> = after
            .inbounds
            .iter()
            .filter(|inbound| before.settings == after.settings && before.inbounds.contains(inbound))
            .map(|inbound| tag_of(inbound.uuid))
            .collect();
        for step in difference(&core.list(), &after) {
            if let Step::Remove(tag) = &step {
                prop_assert!(!untouched.contains(tag));
            }
            if let Step::Add(index) | Step::Replace(index, _) = &step {
                prop_assert!(!untouched.contains(&after.inbounds[*index].tag()));
            }
            core.apply(step, &after);
        }
        prop_assert_eq!(core.0.remove("api"), Some(others));
        prop_assert_eq!(core.list(), Model::of(&after).list());
        prop_assert_eq!(difference(&core.list(), &after), vec![]);
    }
}
