//! Brings the running core to the wanted state, one key or all of them, without interrupting anybody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::cut::cut;
use crate::cut_off::CutOff;
use crate::store::Store;
use crate::xray::api::plan::{self, Step};
use crate::xray::api::{ApiError, CoreApi, CoreVersion, LiveInbound, Mismatch};
use crate::xray::wanted::{CoreSettings, Wanted, WantedInbound, tag_of, uuid_of_tag};

/// What has become of a change that the store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The core has it.
    Live,
    /// Nobody runs a core, or it is absent or restarting: it will have it when it is back.
    Later,
}

/// Why the core does not take a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It says why.
    #[error("{0}")]
    Core(String),
    /// It took it and has something else, so it is of a version that cannot be told over its API; a restart with the
    /// configuration file is left.
    #[error("{0}")]
    Mismatch(#[from] Mismatch),
    /// Its API has no such service; a restart with a configuration file that switches it on is left.
    #[error("{0}")]
    NoHandler(String),
}

/// What changes of one key.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// The inbound that has to go, with its connections.
    pub gone: Option<(Uuid, u16)>,
    /// The inbound that has to be there.
    pub wanted: Option<WantedInbound>,
}

/// What a pass over all keys has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// How many inbounds were added, removed or replaced.
    pub applied_count: usize,
    /// One sentence for each inbound that the core does not take.
    pub refused: Vec<String>,
}

/// The only one who changes the core. What it knows of the core is what it has last seen.
pub(super) struct Applier {
    settings: CoreSettings,
    /// `None` where nobody runs a core.
    api: Option<CoreApi>,
    cut_off: Arc<CutOff>,
    /// Where is told what could not be cut off.
    store: Arc<Store>,
    /// The ports of Portmeter's inbounds in the core, by uuid.
    live: BTreeMap<Uuid, u16>,
    /// The core's own words about its version, once it has said them.
    version: Option<String>,
}

impl Applier {
    /// For a core whose API is asked through `api`.
    pub(super) fn new(settings: CoreSettings, api: Option<CoreApi>, cut_off: Arc<CutOff>, store: Arc<Store>) -> Self {
        Self {
            settings,
            api,
            cut_off,
            store,
            live: BTreeMap::new(),
            version: None,
        }
    }

    /// Talks to a core of this version from now on, where its first line of `version` is known.
    pub(super) fn meet(&mut self, version: Option<&str>) {
        if version == self.version.as_deref() {
            return;
        }
        let known = version.and_then(|line| CoreVersion::from_output(line).ok());
        if let (Some(api), Some(known)) = (&mut self.api, known) {
            *api = CoreApi::new(self.settings.api_listen, known);
        }
        self.version = version.map(str::to_owned);
    }

    /// Has inbounds these settings from now on.
    pub(super) fn tell(&mut self, settings: CoreSettings) {
        self.settings = settings;
    }

    /// The keys that the core has, as it was last seen; `None` where nobody runs one.
    pub(super) fn live(&self) -> Option<BTreeSet<Uuid>> {
        self.api.as_ref().map(|_| self.live.keys().copied().collect())
    }

    /// The core's time of running; `None` while it does not answer.
    pub(super) async fn uptime_seconds(&self) -> Option<u32> {
        self.api.as_ref()?.uptime_seconds().await.ok()
    }

    /// Changes one key. What goes, goes with its connections, whether or not the core can be told; what comes is read
    /// back before this says that it is live.
    pub(super) async fn change(&mut self, change: &KeyChange) -> Result<Applied, Refusal> {
        let Some(api) = self.api.clone() else {
            return Ok(Applied::Later);
        };
        let mut outcome = Applied::Live;
        if let Some((uuid, port)) = change.gone {
            if let Err(error) = self.remove(&api, uuid).await {
                tracing::warn!(%uuid, %error, "the core still has the inbound of a key that has to go");
                outcome = Applied::Later;
            }
            cut(&self.cut_off, &self.store, port).await;
        }
        if let Some(inbound) = &change.wanted
            && !self.add(&api, inbound).await?
        {
            outcome = Applied::Later;
        }
        Ok(outcome)
    }

    /// Whether the core has the inbound as it is wanted; `false` as well while it does not answer.
    pub(super) async fn has(&mut self, inbound: &WantedInbound) -> Result<bool, Refusal> {
        let Some(api) = self.api.clone() else {
            return Ok(false);
        };
        match api.live(&inbound.tag()).await {
            Ok(Some(found)) => {
                found.matches(&self.settings, inbound)?;
                self.live.insert(inbound.uuid, inbound.port);
                Ok(true)
            }
            Ok(None) | Err(ApiError::Unreachable(_)) => Ok(false),
            Err(error) => Err(Refusal::NoHandler(error.to_string())),
        }
    }

    /// Brings every inbound to what is wanted; `Err` when the core does not answer.
    pub(super) async fn bring_to(&mut self, wanted: &Wanted) -> Result<Pass, ApiError> {
        let Some(api) = self.api.clone() else {
            return Ok(Pass::default());
        };
        self.tell(wanted.settings.clone());
        let found = api.list().await?;
        self.note(&found);
        let mut pass = Pass::default();
        for step in plan::difference(&found, wanted) {
            pass.applied_count += 1;
            match step {
                Step::Remove(tag) => self.leave(&api, &tag).await?,
                Step::Replace(index, mismatch) => {
                    let inbound = &wanted.inbounds[index];
                    tracing::info!(uuid = %inbound.uuid, %mismatch, "an inbound is replaced");
                    // Its connections go on: they are the key's.
                    api.remove(&inbound.tag()).await?;
                    self.put(&api, inbound, &mut pass).await?;
                }
                Step::Add(index) => self.put(&api, &wanted.inbounds[index], &mut pass).await?,
            }
        }
        if pass.applied_count > 0 {
            self.check(&api, wanted, &mut pass).await?;
        }
        Ok(pass)
    }

    /// One look at the end instead of one for each inbound: what the core has with other settings than it was told, it
    /// must not have at all.
    async fn check(&mut self, api: &CoreApi, wanted: &Wanted, pass: &mut Pass) -> Result<(), ApiError> {
        let found = api.list().await?;
        self.note(&found);
        for step in plan::difference(&found, wanted) {
            let Step::Replace(index, mismatch) = step else { continue };
            let inbound = &wanted.inbounds[index];
            pass.refused.push(format!("Key {}: {mismatch}", inbound.uuid));
            api.remove(&inbound.tag()).await?;
            self.live.remove(&inbound.uuid);
        }
        Ok(())
    }

    async fn put(&mut self, api: &CoreApi, inbound: &WantedInbound, pass: &mut Pass) -> Result<(), ApiError> {
        match api.add(&self.settings, inbound).await {
            Ok(()) => drop(self.live.insert(inbound.uuid, inbound.port)),
            Err(error @ ApiError::Unreachable(_)) => return Err(error),
            Err(error) => pass.refused.push(format!("Key {}: {error}", inbound.uuid)),
        }
        Ok(())
    }

    /// Removes an inbound that no key has any more, with its connections.
    async fn leave(&mut self, api: &CoreApi, tag: &str) -> Result<(), ApiError> {
        api.remove(tag).await?;
        let port = uuid_of_tag(tag).and_then(|uuid| self.live.remove(&uuid));
        if let Some(port) = port {
            cut(&self.cut_off, &self.store, port).await;
        }
        Ok(())
    }

    async fn remove(&mut self, api: &CoreApi, uuid: Uuid) -> Result<(), ApiError> {
        api.remove(&tag_of(uuid)).await?;
        self.live.remove(&uuid);
        Ok(())
    }

    /// Whether the core has it now; `false` when it does not answer.
    async fn add(&mut self, api: &CoreApi, inbound: &WantedInbound) -> Result<bool, Refusal> {
        let mut added = api.add(&self.settings, inbound).await;
        if let Err(ApiError::TagExists(tag)) = &added {
            // Left behind by a change whose answer was lost.
            added = match api.remove(tag).await {
                Ok(()) => api.add(&self.settings, inbound).await,
                Err(error) => Err(error),
            };
        }
        let live = match added {
            Ok(()) => api.live(&inbound.tag()).await,
            Err(error) => Err(error),
        };
        let found = match live {
            Ok(Some(found)) => found.matches(&self.settings, inbound).map_err(Refusal::Mismatch),
            Ok(None) => Err(Refusal::Core("the core took the key and does not have it".to_owned())),
            Err(ApiError::Unreachable(_)) => return Ok(false),
            Err(error @ ApiError::NotHandler(_)) => Err(Refusal::NoHandler(error.to_string())),
            Err(error) => Err(Refusal::Core(error.to_string())),
        };
        match found {
            Ok(()) => {
                self.live.insert(inbound.uuid, inbound.port);
                Ok(true)
            }
            Err(refusal) => {
                // Without REALITY anybody could see what it is.
                if let Err(error) = self.remove(api, inbound.uuid).await {
                    tracing::error!(uuid = %inbound.uuid, %error, "an inbound that must not be there cannot be removed");
                }
                Err(refusal)
            }
        }
    }

    fn note(&mut self, found: &[LiveInbound]) {
        self.live = found
            .iter()
            .filter_map(|inbound| Some((uuid_of_tag(&inbound.tag)?, inbound.single_port()?)))
            .collect();
    }
}
