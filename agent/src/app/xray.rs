//! The core's part of the start: what is configured is looked at before anything is changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use crate::config::{Config, XrayMode};
use crate::cut_off::CutOff;
use crate::reconciler::{ConfigurationFile, Keeper, Reconciler, Watcher, XraySettings};
use crate::store::{OpenStore, Store};
use crate::xray::access_log;
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
        let mut settings = XraySettings::of(&config.xray);
        settings.core.access_log = own_access_log(config, mode)?;
        Ok(Self {
            core,
            api,
            file: ConfigurationFile::new(config.xray_configuration(), binary),
            settings,
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
    pub(super) fn put_to_work(self, store: Arc<Store>, cut_off: Arc<CutOff>) -> Result<(Reconciler, Keeper, Watcher)> {
        self.file.remove_left_behind();
        if let Some(path) = &self.settings.core.access_log {
            // A core that cannot open it does not start.
            access_log::make(Path::new(path)).with_context(|| format!("cannot make the core's access log {path}"))?;
        }
        let parts = Reconciler::new(store, self.settings, self.file, self.core, self.api, cut_off);
        Ok(parts)
    }
}

/// The agent's own file for the access log, where it is wanted. Only a core that runs as this process's user can write
/// there; one that systemd or somebody else runs has to be given a path by its operator.
fn own_access_log(config: &Config, mode: CoreMode) -> Result<Option<String>> {
    if !config.xray.access_log {
        return Ok(None);
    }
    if mode != CoreMode::Supervised {
        tracing::info!("domains are recorded where the core's configuration names a file in `log.access`");
        return Ok(None);
    }
    let path = std::path::absolute(access_log::path_in(&config.agent.data_dir))?;
    let text = path.into_os_string().into_string();
    let text = text.map_err(|path| anyhow!("the path {} is no text that a configuration can hold", path.display()))?;
    Ok(Some(text))
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
