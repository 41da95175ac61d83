//! An installation in use: customers with traffic, one who is connected, one who is disabled; a billing cycle, backups.

use anyhow::{Context, Result};
use portmeter_tests::network::Pair;
use portmeter_tests::rest::Key;
use portmeter_tests::xray::{Client, Download, Site, Supervised};
use serde_json::{Value, json};

use super::ask::Caller;
use super::promise::{Ask, Names, Promise};

/// Longer than a story can take.
const DOWNLOAD_SECONDS: u64 = 600;
const BYTES_PER_SECOND: u64 = 200_000;

/// What Alice fetches before anything is asked, and Bob.
pub(super) const ALICE_BYTES: u64 = 3_000_000;
pub(super) const BOB_BYTES: u64 = 50_000;

/// The installation.
pub(super) struct World<'lab> {
    pub(super) agent: Supervised<'lab>,
    pub(super) caller: Caller<'lab>,
    /// Has traffic, and a connection that goes on.
    pub(super) alice: Key,
    /// Has traffic, and is not connected.
    pub(super) bob: Key,
    /// Is disabled.
    pub(super) carol: Key,
    _alices_client: Client<'lab>,
    _alices_download: Download,
}

/// Does `work` in one.
pub(super) fn with_world(work: impl FnOnce(&World<'_>) -> Result<()>) -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    work(&World::set_up(&pair, agent)?)
}

impl<'lab> World<'lab> {
    fn set_up(pair: &'lab Pair, agent: Supervised<'lab>) -> Result<Self> {
        let caller = Caller::new(&pair.server);
        let rest = agent.rest();
        let alice = rest.create_key("alice@example.com")?;
        let bob = rest.create_key("bob@example.com")?;
        let carol = rest.create_key("carol@example.com")?;
        let path = format!("/api/keys/{}", carol.id);
        rest.patch(&path, json!({"is_active": false}))?.expect_success()?;
        let path = format!("/api/keys/{}/cycle", alice.id);
        rest.put(&path, json!({"rule": "monthly", "day": 1}))?
            .expect_success()?;

        let alices_client = Client::start(&pair.client, &agent.link(&alice)?)?;
        alices_client.fetch(ALICE_BYTES)?;
        let alices_download = alices_client.download(BYTES_PER_SECOND, DOWNLOAD_SECONDS)?;
        alices_download.wait_for(BYTES_PER_SECOND / 2)?;
        Client::start(&pair.client, &agent.link(&bob)?)?.fetch(BOB_BYTES)?;
        agent.wait_until_synchronized()?;
        Ok(Self {
            agent,
            caller,
            alice,
            bob,
            carol,
            _alices_client: alices_client,
            _alices_download: alices_download,
        })
    }

    /// What stands for the names in a promise: Alice's where something is read, Bob's where something changes.
    pub(super) fn names(&self, is_change: bool) -> Result<Names> {
        let (key, other) = if is_change {
            (&self.bob, &self.alice)
        } else {
            (&self.alice, &self.bob)
        };
        let today = self.caller.get("/api/usage/dates")?["dates"][0].clone();
        Ok(Names::default()
            .with("key_id", &key.id)
            .with("uuid", &key.uuid)
            .with("email", &key.name)
            .with("other_uuid", &other.uuid)
            .with("date", today.as_str().context("no day with data")?)
            .with("file", &self.oldest_backup()?)
            .with("rest", "any/thing")
            .with("new_name", "dave@example.com")
            .with("new_email", "erin@example.com")
            .with("long_name", &"x".repeat(256))
            .with("long_email", &format!("{}@example.com", "x".repeat(256))))
    }

    /// The oldest saved configuration: each change of the file makes a new one.
    fn oldest_backup(&self) -> Result<String> {
        let listed = self.caller.get("/api/backups")?;
        let last = listed["backups"].as_array().and_then(|backups| backups.last());
        let name = last.and_then(|backup| backup["filename"].as_str());
        Ok(name.with_context(|| format!("no backup in {listed}"))?.to_owned())
    }

    /// What a call has left behind that the next ones would stumble over.
    pub(super) fn mend(&self, route: &Promise) -> Result<()> {
        match route.path.as_str() {
            // An email is one user's.
            "/api/keys" | "/api/users/add" | "/api/users/kick" if route.method == "POST" => self.forget_newcomers(),
            "/api/system/ports/reset" => {
                self.caller.shown("POST", "/api/system/sync-config", "")?;
                self.agent.wait_until_synchronized()
            }
            "/api/system/restart" | "/api/xray/restart" | "/api/backups/{file}/restore" => {
                self.agent.wait_until_synchronized()
            }
            _ => Ok(()),
        }
    }

    fn forget_newcomers(&self) -> Result<()> {
        let known = [&self.alice.id, &self.bob.id, &self.carol.id];
        let keys = self.caller.get("/api/keys")?;
        let ids = keys
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|key| key["id"].as_str());
        let mut newcomers = ids.filter(|id| !known.iter().any(|known| known == id));
        newcomers.try_for_each(|id| self.agent.rest().delete_key(id))
    }

    /// A key that may be spoilt.
    pub(super) fn newcomer(&self) -> Result<Key> {
        self.agent.rest().create_key("frank@example.com")
    }

    /// Sends a request and gives status and body, which must be JSON.
    pub(super) fn asked(&self, ask: &Ask) -> Result<(u16, Value)> {
        let answer = self.caller.send(ask)?;
        Ok((answer.status, answer.json()?))
    }
}
