//! Runs a program to its end: for a limited time, keeping a limited part of what it says.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::process::Process;
use super::spawn::{Program, spawn};

/// How much of a program's output is kept.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// What a program has said, both its streams in one, and how it ended.
pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) text: String,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("{} cannot be run: {source}", binary.display())]
    Start { binary: PathBuf, source: io::Error },
    #[error("{} does not answer within {} s", binary.display(), deadline.as_secs())]
    TooSlow { binary: PathBuf, deadline: Duration },
}

/// Runs it until it ends; past the deadline it is killed with what it has started.
pub(super) async fn run(
    binary: &Path,
    arguments: Vec<OsString>,
    folder: &Path,
    deadline: Duration,
) -> Result<Output, RunError> {
    let failed = |source| RunError::Start {
        binary: binary.to_owned(),
        source,
    };
    let (reader, writer) = io::pipe().map_err(failed)?;
    let program = Program {
        binary: binary.to_owned(),
        arguments,
        folder: folder.to_owned(),
        low_ports: false,
        stdout: writer.try_clone().map_err(failed)?.into(),
        stderr: writer.into(),
    };
    let child = spawn(program).await.map_err(failed)?;
    let mut running = Running(Process::of_child(child).map_err(failed)?);
    let reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(failed)?;
    let mut text = Vec::new();
    let ending = async {
        tokio::select! {
            result = read_to_end(&reader, &mut text) => result?,
            result = running.0.ended() => result?,
        }
        running.0.ended().await
    };
    match timeout(deadline, ending).await {
        Ok(result) => result.map_err(failed)?,
        Err(_) => {
            return Err(RunError::TooSlow {
                binary: binary.to_owned(),
                deadline,
            });
        }
    }
    read_rest(reader.into_nonblocking_fd().map_err(failed)?, &mut text).map_err(failed)?;
    let status = running
        .0
        .status()
        .ok_or_else(|| failed(io::Error::other("its status is lost")))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(Output { status, text })
}

/// Kills the program where its end is not waited for any more.
struct Running(Process);

impl Drop for Running {
    fn drop(&mut self) {
        // Its id is nobody else's before its status was asked for.
        if self.0.has_ended() {
            return;
        }
        let group = i32::try_from(self.0.identity().process_id).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.0.reap();
    }
}

async fn read_to_end(reader: &pipe::Receiver, text: &mut Vec<u8>) -> io::Result<()> {
    loop {
        reader.readable().await?;
        match read_available(reader, text) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
}

/// Reads what is there, and keeps what there is room for.
fn read_available(reader: &pipe::Receiver, text: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    let bytes = reader.try_read(&mut buffer)?;
    let room = OUTPUT_BYTES_MAX.saturating_sub(text.len());
    text.extend_from_slice(&buffer[..bytes.min(room)]);
    Ok(bytes)
}

/// Reads what a program that has ended said last, as far as there is room; whatever it left running is not waited for.
///
/// From the pipe itself: the runtime may not have heard yet that there is something to read.
fn read_rest(pipe: OwnedFd, text: &mut Vec<u8>) -> io::Result<()> {
    let room = OUTPUT_BYTES_MAX.saturating_sub(text.len());
    match File::from(pipe).take(room as u64).read_to_end(text) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, deadline: Duration) -> Result<Output, RunError> {
        let arguments = vec!["-c".into(), script.into()];
        run(Path::new("/bin/sh"), arguments, Path::new("/"), deadline).await
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn hears_both_streams_and_the_status() {
        let output = shell("pwd; umask; echo oops >&2; exit 3", PATIENCE).await.unwrap();
        assert_eq!(output.text, "/\n0077\noops\n");
        assert_eq!(output.status.code(), Some(3));
    }

    #[tokio::test]
    async fn keeps_a_part_of_much_output_and_lets_the_program_end() {
        let output = shell("head -c 1000000 /dev/zero; exit 4", PATIENCE).await.unwrap();
        assert_eq!(output.text.len(), OUTPUT_BYTES_MAX);
        assert_eq!(output.status.code(), Some(4));
    }

    #[tokio::test]
    async fn does_not_wait_for_what_it_left_running() {
        let output = shell("sleep 1000 & echo $!", PATIENCE).await.unwrap();
        let left: i32 = output.text.trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
        assert!(output.status.success());
    }

    #[tokio::test]
    async fn kills_what_is_too_slow_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("sleep 1000 & echo $! > {}/id; wait", folder.path().display());
        let error = shell(&script, Duration::from_secs(1)).await.err().unwrap();
        assert_eq!(error.to_string(), "/bin/sh does not answer within 1 s");
        let id = std::fs::read_to_string(folder.path().join("id")).unwrap();
        // Killed, and perhaps not yet asked for its status by whoever inherited it.
        let left = super::super::process::Identity::of(id.trim().parse().unwrap());
        if let Some(identity) = left
            && let Some(process) = Process::of_other(identity).unwrap()
        {
            timeout(PATIENCE, process.ended()).await.unwrap().unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn hears_what_was_said_in_a_hurry() {
        for _ in 0..300 {
            let output = shell("echo said", PATIENCE).await.unwrap();
            assert_eq!(output.text, "said\n");
        }
    }

    #[tokio::test]
    async fn says_what_cannot_be_run() {
        let error = run(Path::new("/nowhere/xray"), Vec::new(), Path::new("/"), PATIENCE).await;
        let error = error.err().unwrap().to_string();
        assert!(error.starts_with("/nowhere/xray cannot be run: "), "{error}");
    }
}
