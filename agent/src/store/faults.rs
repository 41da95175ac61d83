//! Named points at which tests make the store fail: killed, delayed or refused by SQLite. Builds without the feature
//! `faults`, which releases never have, contain none of it.

/// Where a fault may be injected.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(super) fn point(_: &'static str) {}

#[cfg(feature = "faults")]
pub(super) use injected::point;

#[cfg(feature = "faults")]
pub use injected::{Fault, arm};

#[cfg(feature = "faults")]
mod injected {
    use std::sync::Mutex;
    use std::time::Duration;

    /// What happens at a point.
    #[derive(Debug, Clone, Copy)]
    pub enum Fault {
        /// The process is killed, as by `kill -9`.
        Kill,
        /// The disk is slow.
        Delay(Duration),
    }

    static ARMED: Mutex<Option<(String, u32, Fault)>> = Mutex::new(None);

    /// Arms one fault: at the `passes`-th time that `point` is reached from now on.
    pub fn arm(point: &str, passes: u32, fault: Fault) {
        *ARMED.lock().expect("nothing panics while it holds this lock") = Some((point.to_owned(), passes, fault));
    }

    pub(crate) fn point(name: &'static str) {
        let mut armed = ARMED.lock().expect("nothing panics while it holds this lock");
        let Some((at, passes, fault)) = armed.as_mut().filter(|(at, ..)| at == name) else {
            return;
        };
        let _ = at;
        if *passes > 1 {
            *passes -= 1;
            return;
        }
        let fault = *fault;
        *armed = None;
        drop(armed);
        match fault {
            Fault::Kill => {
                let own = nix::unistd::Pid::this();
                let _ = nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL);
                // The signal is delivered before this returns; nothing else may run.
                loop {
                    std::thread::park();
                }
            }
            Fault::Delay(time) => std::thread::sleep(time),
        }
    }
}
