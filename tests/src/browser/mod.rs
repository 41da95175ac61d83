//! A real browser, headless, inside a namespace: Chromium, driven over its DevTools protocol.
//!
//! [`Browser`] is the process, [`Tab`] what a person sees and does, [`pipe`] the protocol. It is spoken over a pair of pipes,
//! so that no port is opened in the namespace that is looked at. What a tab asks for and what it complains about is kept:
//! a story says afterwards what may be among it.

mod pipe;
mod tab;

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::{command, needs};
use pipe::Pipe;
pub use tab::{Screen, Tab};

/// The program, and the Debian package that has it.
const PROGRAM: (&str, &str) = ("chromium", "chromium");

/// What is in the way in a container or of a test: the sandbox, which root cannot have; shared memory, of which there may be
/// little; a graphics processor; and everything that a browser does for its maker or its owner by itself.
const FLAGS: [&str; 19] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--password-store=basic",
    "--force-color-profile=srgb",
    "--lang=en-US",
    "about:blank",
];

/// The protocol is on descriptors 3 and 4; what the browser says by itself goes to standard error.
const START: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>&2";

/// A running browser. It ends, and its profile is removed, when this is dropped.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    pipe: Pipe,
    // The last to go: the browser writes into it to its end.
    _profile: TempDir,
}

impl Browser {
    /// A browser inside `host`, with a profile that nobody has used.
    pub fn start(host: &Namespace) -> Result<Self> {
        needs::program(PROGRAM.0, PROGRAM.1)?;
        let profile = tempfile::tempdir()?;
        let mut command = Command::new("bash");
        command
            .args(["-c", START, PROGRAM.0])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(FLAGS)
            .env("HOME", profile.path())
            .env_remove("DISPLAY")
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            // Times on the page are this zone's.
            .env("TZ", "UTC")
            .current_dir(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = host.spawn(&mut command).context("starting chromium")?;
        let writer = process.stdin.take().context("no way to the browser")?;
        let reader = process.stdout.take().context("no way from the browser")?;
        Ok(Self {
            process,
            pipe: Pipe::new(writer, reader),
            _profile: profile,
        })
    }

    /// A new tab that shows nothing yet.
    pub fn tab(&mut self) -> Result<Tab<'_>> {
        let made = self
            .pipe
            .call(None, "Target.createTarget", json!({"url": "about:blank"}))?;
        let target = json!({"targetId": made["targetId"], "flatten": true});
        let attached = self.pipe.call(None, "Target.attachToTarget", target)?;
        let session = attached["sessionId"].as_str().context("no session")?.to_owned();
        Tab::new(&mut self.pipe, session)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, it ends its helpers too. One that does not answer any more is killed.
        let is_asked = self.pipe.call(None, "Browser.close", json!({})).is_ok();
        if !is_asked || command::ended("chromium", &mut self.process).is_err() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}
