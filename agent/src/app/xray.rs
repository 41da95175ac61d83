//! The core's part of the start: what is configured is looked at before anything is changed.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::config::{Config, XrayMode};
use crate::cut_off::CutOff;
use crate::reconciler::{ConfigurationFile, Keeper, Reconciler, Watcher, XraySettings};
use crate::store::{OpenStore, Store};
use crate::xray::api::{CoreApi, CoreVersion};
use crate::xray::core::{Core, CoreMode, Places, binary};

/// What keeps the core at the wanted state, not yet put to work.
pub(super) struct Parts {
    core: Core,
    api: Option<CoreApi>,
    file: ConfigurationFile,
    settings: XraySettings,
}

impl Parts {
    /// Looks at the binary. One that is to be run and is no Xray, or is not there, fails the start.
    pub(super) async fn look(config: &Config) -> Result<Self> {
        let core = Core::new(config)?;
        let mode = core.facts().mode;
        let (binary, version) = binary_of(config, mode).await?;
        let api = (mode != CoreMode::None)
            .then(|| CoreApi::new(config.xray.api_listen, version.unwrap_or(CoreVersion::LATEST_KNOWN)));
        Ok(Self {
            core,
            api,
            file: ConfigurationFile::new(config.xray_configuration(), binary),
            settings: XraySettings::of(&config.xray),
        })
    }

    /// Sees whether somebody else is where the core is to listen: two would share the clients by chance.
    pub(super) async fn check_ports(&mut self, store: &OpenStore) -> Result<()> {
        let settings = &self.settings.core;
        let places = Places {
            api: settings.api_listen,
            listen: settings.listen,
            ports: store.ports_of_enabled_keys().collect(),
        };
        Ok(self.core.look_for_conflict(&places).await?)
    }

    /// The reconciler over the open store, and its tasks.
    pub(super) fn put_to_work(self, store: Arc<Store>, cut_off: Arc<CutOff>) -> (Reconciler, Keeper, Watcher) {
        Reconciler::new(store, self.settings, self.file, self.core, self.api, cut_off)
    }
}

/// The binary that tries configurations, and its version. Where this agent does not run it, it need not be there.
async fn binary_of(config: &Config, mode: CoreMode) -> Result<(Option<PathBuf>, Option<CoreVersion>)> {
    let look = async {
        let binary = binary::find(&config.xray.binary)?;
        let line = binary::version(&binary).await?;
        anyhow::Ok((binary, CoreVersion::from_output(&line)?))
    };
    match look.await {
        Ok((binary, version)) => Ok((Some(binary), Some(version))),
        Err(error) if mode == CoreMode::Supervised => Err(error).context("the Xray core cannot be run"),
        Err(error) => {
            if config.xray.mode == Some(XrayMode::Systemd) {
                tracing::warn!(%error, "configurations are not tried before the core gets them");
            }
            Ok((None, None))
        }
    }
}
