//! The places that an agent works in, and what can be told of them without changing anything.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

use crate::config::AgentConfig;
use crate::instance::{self, DATA_ENTRIES};
use crate::kernel::{PIN_ROOT, Pins};

/// Whether every folder above a path can be entered, as far as there are any.
pub(super) fn is_within_reach(path: &Path) -> bool {
    Facts::gather(path).is_none_or(|facts| !facts.is_hidden)
}

/// Something the agent works with.
pub(super) struct Place {
    pub(super) what: &'static str,
    pub(super) path: PathBuf,
    pub(super) needs: Needs,
}

/// What has to be true of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// This process can change it.
    Change,
    /// That, and it is this user's: pins of somebody else could say anything, also where they can be read.
    Own,
    /// It is this user's or root's, if it is there: anybody else could exchange what lies in it.
    Trust,
}

pub(super) fn places(agent: &AgentConfig) -> Vec<Place> {
    let place = |what, path, needs| Place { what, path, needs };
    let run_folder = instance::run_folder(&agent.instance);
    let mut places = vec![place("data folder", agent.data_dir.clone(), Needs::Change)];
    // Files come after their folder, and only where they exist: what is missing is made.
    for name in DATA_ENTRIES {
        let path = agent.data_dir.join(name);
        if path.exists() {
            places.push(place("file", path, Needs::Change));
        }
    }
    let lock = run_folder.join(instance::LOCK_NAME);
    places.push(place("run folder", run_folder, Needs::Change));
    if lock.exists() {
        places.push(place("file", lock, Needs::Change));
    }
    let pins = Pins::of(&agent.instance);
    places.push(place("folder of all pins", PIN_ROOT.into(), Needs::Trust));
    places.push(place("folder of pins", pins.folder().to_owned(), Needs::Own));
    places
}

/// What can be told of a path.
pub(super) struct Facts {
    pub(super) is_there: bool,
    /// The path, or the deepest folder above it that can be seen.
    pub(super) nearest: PathBuf,
    /// Who owns that.
    pub(super) owner: u32,
    /// What keeps this process from changing that.
    pub(super) obstacle: Option<Errno>,
    /// What is below may not even be looked for.
    pub(super) is_hidden: bool,
}

impl Facts {
    /// `None` where something other than permissions is odd; whoever uses the path says what.
    pub(super) fn gather(path: &Path) -> Option<Self> {
        let mut is_hidden = false;
        for nearest in path.ancestors() {
            match std::fs::metadata(nearest) {
                Ok(metadata) => {
                    let is_there = nearest == path;
                    if !is_there && !metadata.is_dir() {
                        return None;
                    }
                    return Some(Self {
                        is_there,
                        nearest: nearest.to_owned(),
                        owner: metadata.uid(),
                        obstacle: eaccess(nearest, needed_for(metadata.is_dir())).err(),
                        is_hidden,
                    });
                }
                Err(error) => is_hidden = error.kind() == ErrorKind::PermissionDenied,
            }
        }
        None
    }
}

fn needed_for(is_folder: bool) -> AccessFlags {
    let read_and_write = AccessFlags::R_OK | AccessFlags::W_OK;
    if is_folder {
        read_and_write | AccessFlags::X_OK
    } else {
        read_and_write
    }
}
