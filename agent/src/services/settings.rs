//! Settings that callers may change while the agent runs: shown, changed, put in force.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use portmeter_proto::reason::Reason;
use tokio::sync::Mutex;

use super::{LinkService, ServiceError};
use crate::config::{Config, Live};
use crate::reconciler::{Applied, Reconciler, SynchronizeError};
use crate::settings::{
    Asked, COLLECTOR_ENABLED, Decided, Effect, Given, LEAVES, LOG_LEVEL, Leaf, Stored, Value, Wrong, XRAY_FLOW,
    XRAY_SERVER_HOST, XRAY_SNI, decide, find,
};
use crate::store::{EventKind, EventSeverity, NewEvent, Store};
use crate::telemetry::Telemetry;

/// How many paths an event names, and most characters of each: callers make up names of their own.
const NAMED_PATHS_MAX: usize = 20;
const NAMED_PATH_LENGTH_MAX: usize = 80;

/// The rules for settings. A clone is the same service.
#[derive(Clone)]
pub struct SettingsService(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    reconciler: Reconciler,
    links: LinkService,
    /// The configuration.
    live: Live,
    telemetry: Telemetry,
    /// One change after the other: each is decided on what the one before has stored.
    changing: Mutex<()>,
}

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Every leaf's value, by path.
    pub values: BTreeMap<&'static str, Value>,
    /// What is kept for callers: a JSON object, or nothing.
    pub extra_json: String,
    /// Grows by one with each change.
    pub version: u32,
}

/// What a change has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// All settings after it.
    pub settings: Settings,
    /// Changed leaves that are not in force before the core is started again.
    pub restart_required: Vec<&'static str>,
}

/// On which way a change was asked for; events tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Settings,
    Collector,
}

impl SettingsService {
    /// The service over the store, what keeps the core at it, the configuration and the log.
    pub fn new(
        store: Arc<Store>,
        reconciler: Reconciler,
        links: LinkService,
        live: Live,
        telemetry: Telemetry,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            reconciler,
            links,
            live,
            telemetry,
            changing: Mutex::new(()),
        }))
    }

    /// All settings, defaults filled in.
    pub async fn get(&self) -> Result<Settings, ServiceError> {
        let given = self.0.given().await?;
        Ok(settings(&self.0.store.snapshot().settings, &given))
    }

    /// Changes what is asked for, all or nothing, and puts it in force. What the core refuses is taken back.
    pub async fn update(&self, asked: Asked) -> Result<Saved, ServiceError> {
        self.0.change(asked, Way::Settings).await
    }

    /// Pauses the collector or has it go on.
    pub(super) async fn set_collecting(&self, is_enabled: bool) -> Result<(), ServiceError> {
        let mut asked = Asked::default();
        let leaf = find(COLLECTOR_ENABLED).expect("the table has it");
        asked.leaf(leaf, Value::Switch(is_enabled))?;
        self.0.change(asked, Way::Collector).await?;
        Ok(())
    }
}

impl Inner {
    async fn change(&self, asked: Asked, way: Way) -> Result<Saved, ServiceError> {
        let _one_at_a_time = self.changing.lock().await;
        let given = self.given().await?;
        let before = Arc::clone(&self.store.snapshot().settings);
        let decided = decide(&before, &given, asked)?;
        let events = events(&decided, way);
        let restart_required = if decided.has(Effect::Core) {
            self.save_and_apply(&before, &decided, events).await?
        } else {
            self.store.save_settings(decided.stored.clone(), events).await?;
            Vec::new()
        };
        if decided.has(Effect::Log) {
            self.telemetry.follow(&self.live.now().log.level, &decided.stored);
        }
        Ok(Saved {
            settings: settings(&decided.stored, &given),
            restart_required,
        })
    }

    /// Stores what the core has to be told and tells it. Gives the leaves that it cannot be told now.
    async fn save_and_apply(
        &self,
        before: &Stored,
        decided: &Decided,
        events: Vec<NewEvent>,
    ) -> Result<Vec<&'static str>, ServiceError> {
        let mut operation = self.reconciler.operation().await;
        self.store.save_settings(decided.stored.clone(), events).await?;
        match operation.apply_settings().await {
            Ok(Applied::Live) => Ok(Vec::new()),
            Ok(Applied::Later) => {
                let of_core = decided.known.iter().filter(|leaf| leaf.effect == Effect::Core);
                Ok(of_core.map(|leaf| leaf.path).collect())
            }
            Err(refusal) => {
                let as_before = Stored {
                    version: decided.stored.version.saturating_add(1),
                    ..before.clone()
                };
                self.store.save_settings(as_before, vec![taken_back(&refusal)]).await?;
                if let Err(error) = operation.apply_settings().await {
                    tracing::error!(%error, "the settings of before are not in force yet");
                }
                Err(refusal.into())
            }
        }
    }

    /// What leaves are that nobody has set.
    async fn given(&self) -> Result<Given, ServiceError> {
        let mut given = configured(&self.live.now());
        let identity = Arc::clone(&self.store.snapshot().identity);
        let host = self.links.unset_host().await?;
        given.0.insert(XRAY_SERVER_HOST, Value::from(host.as_str()));
        if let Some(name) = identity.server_names.first() {
            given.0.insert(XRAY_SNI, Value::from(name.as_str()));
        }
        if let Some(private_key) = identity.private_key {
            let public_key = private_key.public_key().to_string();
            given.0.insert("xray.reality_pbk", Value::Text(public_key));
        }
        // What cannot be read is told by those who need it.
        if let Ok(Some(document)) = self.reconciler.file().read().await {
            let path = Some(document.access_log()).filter(|path| *path != "none");
            given
                .0
                .insert("paths.access_log", name_of(Path::new(path.unwrap_or_default())));
        }
        Ok(given)
    }
}

impl From<Wrong> for ServiceError {
    fn from(wrong: Wrong) -> Self {
        Self::new(Reason::InvalidArgument, wrong.to_string())
    }
}

fn settings(stored: &Stored, given: &Given) -> Settings {
    // The level of the log is the configuration's business until somebody sets it here.
    let is_shown = |leaf: &&'static Leaf| leaf.effect != Effect::Log || stored.values.contains_key(leaf.path);
    let value = |leaf: &'static Leaf| (leaf.path, stored.present(leaf, given));
    Settings {
        values: LEAVES.iter().filter(is_shown).map(value).collect(),
        extra_json: stored.extra.to_text(),
        version: stored.version,
    }
}

/// What the configuration says of the leaves that it gives. Names alone: where things lie is the operator's business.
fn configured(config: &Config) -> Given {
    let data_folder = name_of(&config.agent.data_dir);
    let service = &config.xray.service;
    Given(BTreeMap::from([
        (
            "xray.service_name",
            Value::from(service.strip_suffix(".service").unwrap_or(service)),
        ),
        ("xray.config_path", name_of(&config.xray_configuration())),
        (
            XRAY_SNI,
            Value::from(config.xray.server_names.first().map_or("", String::as_str)),
        ),
        (XRAY_FLOW, Value::from(config.xray.flow.as_str())),
        (LOG_LEVEL, Value::Text(config.log.level.to_string())),
        ("collector.usage_dir", data_folder.clone()),
        ("paths.data_dir", data_folder.clone()),
        ("paths.usage_dir", data_folder),
    ]))
}

/// A path's last part.
fn name_of(path: &Path) -> Value {
    let name = path.file_name().map(OsStr::to_string_lossy);
    Value::from(name.as_deref().unwrap_or_default())
}

/// What is noted of a change: paths, never values.
fn events(decided: &Decided, way: Way) -> Vec<NewEvent> {
    let mut events = Vec::new();
    if way == Way::Settings {
        events.push(saved(decided));
    }
    if way == Way::Collector || decided.has(Effect::Collector) {
        events.push(toggled(decided.stored.is_collecting()));
    }
    events
}

fn saved(decided: &Decided) -> NewEvent {
    let mut paths = named(decided.paths());
    if paths.is_empty() {
        paths = "nothing that differs".to_owned();
    }
    NewEvent {
        kind: EventKind::Settings,
        action: "saved",
        message: format!("settings were saved: {paths}"),
        details: vec![
            ("changed", named(decided.paths())),
            ("version", decided.stored.version.to_string()),
        ],
        ..NewEvent::default()
    }
}

fn toggled(is_enabled: bool) -> NewEvent {
    let message = match is_enabled {
        true => "the collector runs; what was counted until now is booked",
        false => "the collector was paused; the kernel goes on counting",
    };
    NewEvent {
        kind: EventKind::Collector,
        service: "collector",
        action: "toggle",
        message: message.to_owned(),
        details: vec![("enabled", is_enabled.to_string())],
        ..NewEvent::default()
    }
}

fn taken_back(refusal: &SynchronizeError) -> NewEvent {
    NewEvent {
        kind: EventKind::Settings,
        severity: EventSeverity::Error,
        action: "taken_back",
        message: format!("saved settings were taken back: {refusal}"),
        actor: "agent",
        ..NewEvent::default()
    }
}

/// Some paths as a list in words.
fn named<'a>(paths: impl Iterator<Item = &'a str>) -> String {
    let mut paths: Vec<String> = paths
        .map(|path| path.chars().take(NAMED_PATH_LENGTH_MAX).collect())
        .collect();
    let others = paths.len().saturating_sub(NAMED_PATHS_MAX);
    paths.truncate(NAMED_PATHS_MAX);
    let list = paths.join(", ");
    match others {
        0 => list,
        others => format!("{list} and {others} more"),
    }
}
