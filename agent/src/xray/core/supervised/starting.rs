//! How a supervised core comes to run: found where an earlier agent has left it, or started.

use std::io;
use std::net::SocketAddr;

use tokio::time::Instant;

use super::super::CoreError;
use super::super::conflict::{Places, conflict, held};
use super::super::ending::describe;
use super::super::log::{self, Follower};
use super::super::process::{Identity, Process, find_running, run_words};
use super::super::record::{self, Record};
use super::super::spawn::{Program, spawn};
use super::super::{binary, reach};
use super::{Running, Supervised, failed};
use crate::rights::with_low_ports;

impl Supervised {
    /// Sees whether somebody else is where the core is to listen, unless it runs already.
    pub async fn look_for_conflict(&mut self, places: &Places) -> Result<(), CoreError> {
        if self.running.is_none() {
            self.find().await?;
        }
        if self.running.is_some() {
            return Ok(());
        }
        nobody_is_at(places).await
    }

    /// Looks for a core that an earlier agent has started: by what it noted, or else by its command line, since it may
    /// have been killed before it could note anything.
    pub(super) async fn find(&mut self) -> Result<(), CoreError> {
        let (folder, configuration) = (self.folder.clone(), self.configuration.clone());
        let found = blocking(move || {
            let record = record::read(&folder);
            let boot_id = record::boot_id()?;
            let noted = record.as_ref().and_then(|record| record.identity(boot_id));
            let noted = noted.filter(|identity| Identity::of(identity.process_id) == Some(*identity));
            if noted.is_some() {
                return Ok((noted, record));
            }
            // A core that has the right to low ports may only be looked into by who has it too.
            Ok((with_low_ports(|| find_running(&configuration)), None))
        });
        let (identity, record) = found
            .await
            .map_err(failed("a core that runs already cannot be looked for"))?;
        let Some(identity) = identity else {
            return Ok(());
        };
        let process = Process::of_other(identity).map_err(failed("the core cannot be watched"))?;
        self.running = process.map(|process| Running {
            process,
            since: Instant::now(),
            is_up: false,
            api: record.as_ref().map(|record| record.api_address),
            version: record.map(|record| record.version),
            // What it said long ago does not tell why it ends.
            log_length: log::length(&self.folder),
        });
        self.start_count += u64::from(self.running.is_some());
        self.follow();
        Ok(())
    }

    pub(super) async fn start(&mut self, places: &Places) -> Result<(), CoreError> {
        if !self.configuration.is_file() {
            return Err(CoreError::NoConfiguration(self.configuration.clone()));
        }
        let binary = binary::find(&self.binary)?;
        let version = binary::version(&binary).await?;
        nobody_is_at(places).await?;
        let log_failed = failed("the core's log cannot be opened");
        let log = log::open(&self.folder).map_err(log_failed)?;
        let log_length = log.metadata().map_or(0, |metadata| metadata.len());
        let program = Program {
            binary,
            arguments: run_words(&self.configuration).map(Into::into).to_vec(),
            folder: self.folder.clone(),
            low_ports: self.low_ports,
            stdout: log.try_clone().map_err(log_failed)?.into(),
            stderr: log.into(),
        };
        let child = spawn(program).await.map_err(failed("the core cannot be started"))?;
        let process = Process::of_child(child).map_err(failed("the core cannot be watched"))?;
        tracing::info!(
            process_id = process.identity().process_id,
            version,
            "the core was started"
        );
        self.running = Some(Running {
            process,
            since: Instant::now(),
            is_up: false,
            version: Some(version),
            api: Some(places.api),
            log_length,
        });
        self.start_count += 1;
        self.note_record(places.api).await;
        self.follow();
        self.wait_until_up(places.api).await
    }

    /// Waits until the API accepts connections. A core that does not come so far is ended.
    pub(super) async fn wait_until_up(&mut self, api: SocketAddr) -> Result<(), CoreError> {
        let Some(running) = &mut self.running else {
            return Err(CoreError::NotUp("it is not there".to_owned()));
        };
        let result = tokio::select! {
            result = running.process.ended() => {
                result.map_err(failed("the core cannot be watched"))?;
                Err(describe(running.process.status(), &log::since(&self.folder, running.log_length)))
            }
            result = reach::wait(api) => result,
        };
        match result {
            Ok(()) => {
                running.is_up = true;
                Ok(())
            }
            Err(why) => {
                self.end().await?;
                Err(CoreError::NotUp(why))
            }
        }
    }

    /// Notes the process for the next agent, who finds it without too, only with more work.
    pub(super) async fn note_record(&mut self, api: SocketAddr) {
        let result = self.try_note_record(api).await;
        if let Err(error) = result {
            tracing::warn!(%error, "the core that runs cannot be noted for the next start");
        }
    }

    async fn try_note_record(&mut self, api: SocketAddr) -> Result<(), CoreError> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let binary = binary::find(&self.binary)?;
        let version = match &running.version {
            Some(version) => version.clone(),
            None => binary::version(&binary).await?,
        };
        running.version = Some(version.clone());
        running.api = Some(api);
        let Identity {
            process_id,
            start_ticks,
        } = running.process.identity();
        let boot_id = record::boot_id().map_err(failed("this boot has no id"))?;
        let record = Record {
            process_id,
            start_ticks,
            boot_id,
            api_address: api,
            binary,
            version,
        };
        record::write(&self.folder, &record).map_err(failed("the record cannot be written"))
    }

    fn follow(&mut self) {
        if self.follower.is_none() {
            self.follower = Follower::start(&self.folder)
                .inspect_err(|error| tracing::warn!(%error, "the core's log is not followed"))
                .ok();
        }
    }
}

/// An error where somebody else listens where the core is to listen.
async fn nobody_is_at(places: &Places) -> Result<(), CoreError> {
    let listeners = blocking(held).await.map_err(failed("the listeners cannot be read"))?;
    conflict(places, None, &listeners).map_or(Ok(()), |conflict| Err(conflict.into()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
