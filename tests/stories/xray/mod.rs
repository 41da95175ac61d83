//! Keys that work: a real core behind the agent, real clients that are told nothing but a link.

pub(crate) mod cut_off;
pub(crate) mod domains;
pub(crate) mod edited;
pub(crate) mod first_bytes;
pub(crate) mod hostile;
pub(crate) mod identity;
pub(crate) mod lab;
pub(crate) mod lives;
pub(crate) mod nobody_notices;
pub(crate) mod refused;
pub(crate) mod restored;
pub(crate) mod settings;
pub(crate) mod thousand;
