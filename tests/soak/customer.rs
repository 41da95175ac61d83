//! A customer: gets a key, uses it, looks at the figures, and gives it back, or keeps it for the whole soak.
//!
//! Nobody else uses the customer's port, so what has passed with it while it was quiet is known to the byte: when the key
//! was made, at each reset, and when it went.

use std::sync::PoisonError;

use anyhow::{Context, Result, ensure};
use portmeter_proto::v1::CreateKeyRequest;
use portmeter_tests::count::Count;
use portmeter_tests::ledger_view::moved;
use portmeter_tests::rest::{Key, Rest};
use portmeter_tests::traffic::background::Background;
use portmeter_tests::xray::Client;
use serde_json::json;

use crate::choices::Choices;
use crate::curtain::Curtain;
use crate::traffic;
use crate::world::World;

/// How much passes at least before a key goes in the middle of its traffic.
const IN_THE_MIDDLE_BYTES: u64 = 200_000;

/// How fast a download is that a key goes in the middle of, and how long it would last.
const DOWNLOAD_BYTES_PER_SECOND: u64 = 2_000_000;
const DOWNLOAD_SECONDS: u64 = 120;

/// How long a customer stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Keeps one key to the end.
    Stays,
    /// Has a key for a short while, then another.
    ComesAndGoes,
}

/// A customer.
#[derive(Debug)]
pub(crate) struct Customer<'lab> {
    name: String,
    habit: Habit,
    rest: Rest<'lab>,
    choices: Choices,
    keys_made: u32,
    held: Option<Held<'lab>>,
    /// The keys that went.
    pub(crate) gone: Vec<Gone>,
}

/// A key and what had passed with its port at its edges.
#[derive(Debug)]
struct Held<'lab> {
    key: Key,
    app: Option<Client<'lab>>,
    made_at: Count,
    reset_at: Count,
    history_reset_at: Count,
}

/// A key that is no more, and what was its: exactly known where its port was quiet when it went, otherwise between two
/// bounds.
#[derive(Debug, Clone)]
pub(crate) struct Gone {
    pub(crate) id: String,
    pub(crate) least: Count,
    pub(crate) most: Count,
}

impl<'lab> Customer<'lab> {
    pub(crate) fn new(world: &World<'lab>, number: usize, habit: Habit) -> Self {
        let name = format!("customer {number}");
        Self {
            choices: Choices::of(world.seed, &name),
            rest: world.rest(),
            name,
            habit,
            keys_made: 0,
            held: None,
            gone: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The key that it holds, and what is its.
    pub(crate) fn holding(&self, world: &World<'_>) -> Result<Option<(&Key, Count)>> {
        let Some(held) = &self.held else {
            return Ok(None);
        };
        Ok(Some((&held.key, world.passed(held.key.port)?.since(&held.made_at))))
    }

    /// Lives to the end of the act.
    pub(crate) fn live(&mut self, world: &World<'lab>, curtain: &Curtain) -> Result<()> {
        while !curtain.has_fallen() {
            let mut held = match self.held.take() {
                Some(held) => held,
                None => self.sign_up(world)?,
            };
            let core = world.core.mark();
            for _ in 0..self.choices.between(1..=4) {
                self.use_key(world, &mut held)?;
            }
            // An app whose core was killed may keep its end of a connection open for minutes.
            if world.core.since(core) {
                held.app = None;
            }
            self.compare(world, &held)?;
            self.ask_for_something(world, &mut held)?;
            self.held = Some(held);
            if self.habit == Habit::ComesAndGoes && self.choices.once_in(3) {
                self.leave(world)?;
            }
        }
        match self.habit {
            Habit::Stays => Ok(()),
            Habit::ComesAndGoes => self.leave(world),
        }
    }

    /// What is shown of the key that it holds is what has passed.
    pub(crate) fn look(&self, world: &World<'_>) -> Result<()> {
        self.held.as_ref().map_or(Ok(()), |held| self.compare(world, held))
    }

    fn sign_up(&mut self, world: &World<'lab>) -> Result<Held<'lab>> {
        self.keys_made += 1;
        let name = format!("{}, key {}", self.name, self.keys_made);
        let core = (world.agent.mark(), world.core.mark());
        let edges = world.edges.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match self.choices.once_in(2) {
            true => self.make_over_rest(world, &name)?,
            false => make_over_grpc(world, &name)?,
        };
        let made_at = world.passed(key.port)?;
        drop(edges);
        world.tally.add("keys made");
        let was_disturbed = world.agent.since(core.0) || world.core.since(core.1);
        if world.has_core && was_disturbed {
            world.core.wait_until_calm()?;
            traffic::wait_until_open(world, key.port)?;
        }
        Ok(Held {
            key,
            app: None,
            made_at,
            reset_at: made_at,
            history_reset_at: made_at,
        })
    }

    /// A call that was cut off may have made the key all the same.
    fn make_over_rest(&self, world: &World<'_>, name: &str) -> Result<Key> {
        let mut was_asked = false;
        world.agent.answered("making a key over REST", || {
            let is_again = std::mem::replace(&mut was_asked, true);
            let made = match is_again {
                true => self.rest.keys()?.into_iter().find(|key| key.name == name),
                false => None,
            };
            made.map_or_else(|| self.rest.create_key(name), Ok)
        })
    }

    fn use_key(&mut self, world: &World<'lab>, held: &mut Held<'lab>) -> Result<()> {
        let (choices, port) = (&mut self.choices, held.key.port);
        if choices.once_in(3) {
            return traffic::datagrams(world, choices, port);
        }
        if !world.has_core {
            return match choices.once_in(3) {
                true => traffic::connections(world, choices, port),
                false => traffic::transfer(world, choices, port),
            };
        }
        let app = match held.app.take() {
            Some(app) => app,
            None => traffic::app(world, &self.rest, &held.key)?,
        };
        traffic::fetch(world, choices, held.app.insert(app), port)
    }

    fn compare(&self, world: &World<'_>, held: &Held<'_>) -> Result<()> {
        let (id, passed) = (&held.key.id, world.passed_until_quiet(held.key.port)?);
        let shown = world.agent.answered("a key's figures", || self.rest.count_of(id))?;
        let expected = passed.since(&held.reset_at);
        ensure!(
            shown == expected,
            "port {} shows {shown:?}, {expected:?} has passed",
            held.key.port
        );
        let history = world.agent.answered("a key's history", || {
            self.rest.shown(&format!("/api/keys/{id}/traffic/history"))
        })?;
        let total = moved(&history["data"]["total_traffic"])?;
        let expected = passed.since(&held.history_reset_at);
        ensure!(
            total == (expected.rx_bytes, expected.tx_bytes),
            "the history of port {} has {total:?}, {expected:?} has passed",
            held.key.port
        );
        world.tally.add("comparisons of a key's figures");
        Ok(())
    }

    /// While its port is quiet.
    fn ask_for_something(&mut self, world: &World<'lab>, held: &mut Held<'lab>) -> Result<()> {
        let path = format!("/api/keys/{}", held.key.id);
        let ask = |what, call: &dyn Fn() -> Result<portmeter_tests::rest::Answer>| {
            world.agent.answered(what, || call()?.expect_success().map(drop))
        };
        match self.choices.between(0..=5) {
            0 => {
                ask("a reset", &|| {
                    self.rest.post(&format!("{path}/traffic/simple/reset"), None)
                })?;
                held.reset_at = world.passed(held.key.port)?;
            }
            1 => {
                ask("a reset of a history", &|| {
                    self.rest.post(&format!("{path}/traffic/history/reset"), None)
                })?;
                held.history_reset_at = world.passed(held.key.port)?;
            }
            2 => {
                for is_active in [false, true] {
                    let body = json!({ "is_active": is_active });
                    ask("a key's switch", &|| self.rest.patch(&path, body.clone()))?;
                }
                if world.has_core {
                    world.core.wait_until_calm()?;
                    traffic::wait_until_open(world, held.key.port)?;
                }
            }
            _ => return Ok(()),
        }
        world.tally.add("changes of a key");
        Ok(())
    }

    fn leave(&mut self, world: &World<'lab>) -> Result<()> {
        let Some(mut held) = self.held.take() else {
            return Ok(());
        };
        if self.choices.once_in(2) {
            let passed = world.passed_until_quiet(held.key.port)?.since(&held.made_at);
            self.delete(world, &held.key)?;
            self.gone.push(Gone {
                id: held.key.id,
                least: passed,
                most: passed,
            });
            world.tally.add("keys deleted at rest");
            return Ok(());
        }
        let edges = world.edges.lock().unwrap_or_else(PoisonError::into_inner);
        let least = match world.has_core {
            true => self.delete_amid_download(world, &mut held)?,
            false => self.delete_amid_stream(world, &held.key)?,
        };
        let most = world.passed_until_quiet(held.key.port)?;
        drop(edges);
        self.gone.push(Gone {
            id: held.key.id,
            least: least.since(&held.made_at),
            most: most.since(&held.made_at),
        });
        world.tally.add("keys deleted amid their traffic");
        Ok(())
    }

    /// What had passed when the deletion began.
    fn delete_amid_stream(&mut self, world: &World<'_>, key: &Key) -> Result<Count> {
        let address = traffic::server_address(&mut self.choices, key.port);
        let stream = Background::tcp(&world.pair.server, &world.pair.client, address)?;
        stream.wait_for(IN_THE_MIDDLE_BYTES)?;
        let least = world.passed(key.port)?;
        self.delete(world, key)?;
        // Its connection was cut off, which ends it by an error.
        drop(stream);
        Ok(least)
    }

    fn delete_amid_download(&mut self, world: &World<'lab>, held: &mut Held<'lab>) -> Result<Count> {
        let app = match held.app.take() {
            Some(app) => app,
            None => traffic::app(world, &self.rest, &held.key)?,
        };
        let marks = (world.agent.mark(), world.core.mark());
        let is_disturbed = || world.agent.since(marks.0) || world.core.since(marks.1);
        let download = match app.download(DOWNLOAD_BYTES_PER_SECOND, DOWNLOAD_SECONDS) {
            Err(error) if !is_disturbed() => return Err(error),
            Err(_) => None,
            Ok(download) => match download.wait_for(IN_THE_MIDDLE_BYTES) {
                Err(error) if !is_disturbed() => return Err(error),
                _ => Some(download),
            },
        };
        let least = world.passed(held.key.port)?;
        self.delete(world, &held.key)?;
        // An agent that is killed in the middle of it leaves what is open to its client.
        if is_disturbed() {
            drop(app);
        }
        if let Some(download) = download {
            let arrived = download.finish()?;
            ensure!(
                !arrived.is_whole(),
                "a key was deleted, and its download went on to the end"
            );
        }
        Ok(least)
    }

    /// A call that was cut off may have deleted it all the same.
    fn delete(&self, world: &World<'_>, key: &Key) -> Result<()> {
        let mut was_asked = false;
        world.agent.answered("deleting a key", || {
            let is_again = std::mem::replace(&mut was_asked, true);
            let answer = self.rest.delete(&format!("/api/keys/{}", key.id))?;
            match is_again && answer.status == 404 {
                true => Ok(()),
                false => answer.expect_success().map(drop),
            }
        })
    }
}

/// With a request id, so that asking again gives the key that was made.
fn make_over_grpc(world: &World<'_>, name: &str) -> Result<Key> {
    let request = CreateKeyRequest {
        name: name.to_owned(),
        request_id: name.replace([' ', ','], "-"),
        ..CreateKeyRequest::default()
    };
    let key = world.agent.answered("making a key over gRPC", || {
        Ok(world.grpc()?.create_key(request.clone())?)
    })?;
    Ok(Key {
        port: key.port.context("a key without a port")?.try_into()?,
        id: key.id,
        uuid: key.uuid,
        name: key.name,
    })
}
