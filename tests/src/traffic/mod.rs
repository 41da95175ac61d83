//! Traffic of known size between two hosts. Every function returns when its traffic is over, at both ends.

use std::io::{ErrorKind, Result};
use std::time::Duration;

use crate::wait;

pub mod background;
pub mod fragments;
pub mod frames;
pub mod held;
pub mod paced;
pub mod payload;
pub mod settle;
pub mod steady;
pub mod tcp;
pub mod turnover;
pub mod udp;

/// How long one read may wait. Nothing waits this long on a working network; a lost packet ends a story here.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// That, as it holds on this machine.
fn read_timeout() -> Duration {
    wait::patient(READ_TIMEOUT)
}

/// Calls again for as long as the system breaks a call off for reasons of its own; a call with a time limit is not
/// taken up again by the kernel.
fn uninterrupted<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
