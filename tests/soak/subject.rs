//! The agent that is soaked: with a core where there is one to be had.

use std::ops::{Deref, DerefMut};

use anyhow::Result;
use portmeter_tests::agent::Agent;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::xray::{Site, Supervised};

/// An agent, alone or with a core.
#[derive(Debug)]
pub(crate) enum Subject<'lab> {
    Alone(Box<Agent<'lab>>),
    WithCore(Box<Supervised<'lab>>),
}

impl<'lab> Subject<'lab> {
    /// Running and ready; `site` is there where a core is.
    pub(crate) fn started(host: &'lab Namespace, site: Option<&Site>) -> Result<Self> {
        Ok(match site {
            Some(site) => Self::WithCore(Box::new(Supervised::started(host, site)?)),
            None => Self::Alone(Box::new(Agent::started(host)?)),
        })
    }

    /// The agent with its core, where there is one.
    pub(crate) fn core(&self) -> Option<&Supervised<'lab>> {
        match self {
            Self::Alone(_) => None,
            Self::WithCore(supervised) => Some(supervised),
        }
    }
}

impl<'lab> Deref for Subject<'lab> {
    type Target = Agent<'lab>;

    fn deref(&self) -> &Agent<'lab> {
        match self {
            Self::Alone(agent) => agent,
            Self::WithCore(supervised) => supervised,
        }
    }
}

impl DerefMut for Subject<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Alone(agent) => agent,
            Self::WithCore(supervised) => supervised,
        }
    }
}
