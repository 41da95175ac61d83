//! What a Portmeter program owes whoever runs it: a log, a word to the service manager, a configuration that says what is
//! wrong with it and can be read again, and no more memory than it uses.
//!
//! Agent and gateway share it, in one process or apart. It knows the names and meanings of all settings
//! ([`configuration::reference`]), and of none what it does.

#![forbid(unsafe_code)]

pub mod configuration;
pub mod credentials;
pub mod log;
pub mod memory;
pub mod service_manager;
pub mod signals;
