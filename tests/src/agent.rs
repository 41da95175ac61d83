//! The real binary, run in a namespace of the story's, with a data folder and an instance name of its own.
//!
//! It is started, stopped, killed and started again as a user would do it. When a story ends, in whatever way, its
//! agent is gone, and so are its pins and its sockets.

use std::cell::RefCell;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::grpc::Grpc;
use crate::namespace::{self, Namespace};
use crate::rest::Rest;
use crate::{command, wait};

/// The API key of every story's agent.
pub const API_KEY: &str = "a-key-for-the-stories";

/// Where an agent looks for its API key.
const API_KEY_VARIABLE: &str = "PORTMETER_API_KEY";

/// Where REST listens when nothing else is said.
pub const REST_ADDRESS: &str = "127.0.0.1:8000";

/// Where gRPC listens when nothing else is said.
pub const GRPC_ADDRESS: &str = "127.0.0.1:50051";

/// The data folder as the README has it: relative to where the agent runs.
const DATA_FOLDER: &str = "./data";

/// Names the binary to test; without it, the one beside the stories is taken.
pub const BINARY_VARIABLE: &str = "PORTMETER_BINARY";

/// Names a second build of the product, for upgrades; without it, a copy of the first one is taken.
pub const OTHER_BINARY_VARIABLE: &str = "PORTMETER_OTHER_BINARY";

thread_local! {
    /// What the agents of this thread's story wrote, kept for the case that the story fails.
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what something else wrote beside that.
pub(crate) fn keep_log(name: &str, text: &str) {
    SAID.with_borrow_mut(|said| said.push(format!("--- {name}\n{text}")));
}

/// What the agents of the story that has just ended on this thread wrote.
pub fn take_logs() -> Vec<String> {
    SAID.take()
}

/// The binary under test, if it is there.
pub fn binary() -> Option<PathBuf> {
    if let Some(named) = env::var_os(BINARY_VARIABLE) {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    // Stories are built to target/<profile>/deps/stories-…, the binary to target/<profile>/portmeter.
    let stories = env::current_exe().ok()?;
    Some(stories.parent()?.parent()?.join("portmeter")).filter(|path| path.is_file())
}

/// An agent with what it needs; running or not.
#[derive(Debug)]
pub struct Agent<'lab> {
    host: &'lab Namespace,
    instance: String,
    home: TempDir,
    data_folder: String,
    program: Option<PathBuf>,
    wrapper: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    process: Option<Child>,
    rest: Rest<'lab>,
}

impl<'lab> Agent<'lab> {
    /// An agent on `host` that has not been started.
    pub fn new(host: &'lab Namespace) -> Result<Self> {
        Ok(Self {
            host,
            instance: format!("test-{}-{}", process::id(), namespace::next_number()),
            home: tempfile::tempdir()?,
            data_folder: DATA_FOLDER.to_owned(),
            program: None,
            wrapper: Vec::new(),
            arguments: Vec::new(),
            environment: vec![
                (API_KEY_VARIABLE.to_owned(), API_KEY.to_owned()),
                ("PORTMETER_XRAY__MODE".to_owned(), "none".to_owned()),
            ],
            process: None,
            rest: Rest::new(host, REST_ADDRESS, API_KEY),
        })
    }

    /// An agent on `host`, running and ready.
    pub fn started(host: &'lab Namespace) -> Result<Self> {
        let mut agent = Self::new(host)?;
        agent.start()?;
        Ok(agent)
    }

    /// Runs it through another program, which is given the whole command as its last arguments.
    #[must_use]
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Has everything from now on run through another program.
    pub fn change_wrapper(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    /// Has another file be the program, in place of the binary under test.
    pub fn change_program(&mut self, program: PathBuf) {
        self.program = Some(program);
    }

    /// Adds an argument to `portmeter run`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets an environment variable for the next start.
    pub fn change_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Has the next start work on another data folder, relative to its home.
    pub fn change_data_folder(&mut self, folder: &str) {
        folder.clone_into(&mut self.data_folder);
    }

    /// The binary that the next start runs.
    pub fn own_binary(&self) -> Result<PathBuf> {
        self.program.clone().map_or_else(binary_or_error, Ok)
    }

    /// Another binary of the product than the one under test: a second build where there is one, else a copy.
    pub fn other_binary(&self) -> Result<PathBuf> {
        if let Some(named) = env::var_os(OTHER_BINARY_VARIABLE).map(PathBuf::from)
            && named.is_file()
        {
            return Ok(named);
        }
        let copy = self.home.path().join("another-portmeter");
        fs::copy(binary_or_error()?, &copy).context("copying the binary")?;
        Ok(copy)
    }

    /// Leaves the API key to the agent, which makes one in its data folder.
    #[must_use]
    pub fn without_api_key(mut self) -> Self {
        self.environment.retain(|(name, _)| name != API_KEY_VARIABLE);
        self
    }

    /// Has REST listen elsewhere.
    #[must_use]
    pub fn rest_at(mut self, address: &str) -> Self {
        self.rest = Rest::new(self.host, address, API_KEY);
        self.argument("--http").argument(address)
    }

    /// The same, running and ready.
    pub fn started_in_place(mut self) -> Result<Self> {
        self.start()?;
        Ok(self)
    }

    /// Starts it and waits until it is ready.
    pub fn start(&mut self) -> Result<()> {
        self.begin_start()?;
        let mut process = self.process.take().context("the agent does not run")?;
        let ready = wait::until("the agent is ready", || {
            if let Some(status) = process.try_wait()? {
                bail!("portmeter ended with {status}: {}", self.read_log("stderr"));
            }
            Ok(self.rest.is_ready())
        });
        self.process = Some(process);
        ready
    }

    /// Starts it and does not wait: it is somewhere between nothing and ready.
    pub fn begin_start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the agent runs already");
        let mut command = self.command();
        command.stdout(self.log("stdout")?).stderr(self.log("stderr")?);
        self.process = Some(self.host.spawn(&mut command).context("starting portmeter")?);
        Ok(())
    }

    /// Ends it with `signal` and returns how it ended.
    pub fn stop_with(&mut self, signal: Signal) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the agent does not run")?;
        command::signal(&process, signal)?;
        let status = command::ended("portmeter", &mut process);
        if status.is_err() {
            self.process = Some(process);
        }
        status
    }

    /// Ends it as a service manager does, and checks that it ended well.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.stop_with(Signal::SIGTERM)?;
        ensure!(
            status.success(),
            "after SIGTERM portmeter ended with {status}: {}",
            self.read_log("stderr")
        );
        Ok(())
    }

    /// Kills it without a chance to do anything.
    pub fn kill(&mut self) -> Result<()> {
        let status = self.stop_with(Signal::SIGKILL)?;
        ensure!(
            status.signal() == Some(Signal::SIGKILL as i32),
            "portmeter ended by itself with {status}"
        );
        Ok(())
    }

    /// Asks it over REST to begin anew, and waits until it has; the answer comes before.
    pub fn begin_anew(&self) -> Result<()> {
        let before = self.grpc()?.state()?.started_at;
        let wanted = json!({ "target": "ui" });
        let answer = self.rest.post("/api/system/restart", Some(wanted))?.expect_success()?;
        ensure!(
            answer == json!({"ok": true, "message": "restarted", "service": "ui"}),
            "{answer}"
        );
        wait::until("the agent has begun anew", || {
            let state = self.grpc().and_then(|grpc| grpc.state());
            Ok(self.rest.is_ready() && state.is_ok_and(|state| state.started_at != before))
        })
    }

    /// `portmeter uninstall` for this instance.
    pub fn uninstall(&self) -> Result<String> {
        let mut uninstall = Command::new(binary_or_error()?);
        uninstall.args([
            "uninstall",
            "--data-dir",
            &self.data_folder,
            "--instance",
            &self.instance,
        ]);
        self.prepare(&mut uninstall);
        self.host.enter(|| command::output(&mut uninstall))
    }

    /// `portmeter doctor` with everything this agent was given.
    pub fn doctor(&self) -> Command {
        self.subcommand("doctor", &self.instance, Path::new(&self.data_folder))
    }

    /// `portmeter run` with everything this agent was given; a story may change it further.
    pub fn command(&self) -> Command {
        self.command_as(&self.instance, Path::new(&self.data_folder))
    }

    /// The same on another data folder or under another instance's name.
    pub fn command_as(&self, instance: &str, data_folder: &Path) -> Command {
        self.subcommand("run", instance, data_folder)
    }

    fn subcommand(&self, name: &str, instance: &str, data_folder: &Path) -> Command {
        let mut command = self.wrapped(&[name, "--instance", instance]);
        command.arg("--data-dir").arg(data_folder).args(&self.arguments);
        command
    }

    /// `portmeter` with other words, for this instance and its data, through the same wrapper.
    pub fn portmeter(&self, words: &[&str]) -> Command {
        let mut command = self.wrapped(words);
        command.args(["--instance", &self.instance, "--data-dir", &self.data_folder]);
        command
    }

    /// The program and its first words, where and as this agent runs.
    pub fn wrapped(&self, words: &[&str]) -> Command {
        let program = self.program.clone().or_else(binary);
        let program = program.unwrap_or_else(|| PathBuf::from("portmeter"));
        let mut all = self.wrapper.iter().map(OsString::from).chain([program.into()]);
        let mut command = Command::new(all.next().unwrap_or_default());
        command.args(all).args(words);
        self.prepare(&mut command);
        command
    }

    /// The REST face.
    pub fn rest(&self) -> &Rest<'lab> {
        &self.rest
    }

    /// The gRPC face over the unix socket.
    pub fn grpc(&self) -> Result<Grpc> {
        Grpc::over_unix_socket(&self.run_folder().join("agent.sock"))
    }

    /// The gRPC face over TCP, with an API key.
    pub fn grpc_over_tcp(&self, api_key: Option<&str>) -> Result<Grpc> {
        Grpc::over_tcp(self.host, GRPC_ADDRESS, api_key)
    }

    /// Its process while it runs.
    pub fn process_id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the agent does not run")?.id())
    }

    /// The host it runs on.
    pub fn host(&self) -> &'lab Namespace {
        self.host
    }

    /// Its instance name.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Its data folder; there is none before the first start.
    pub fn data_folder(&self) -> PathBuf {
        self.home.path().join(&self.data_folder)
    }

    /// The folder it runs in, where its data folder and its logs are.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The folder of its pins.
    pub fn pin_folder(&self) -> PathBuf {
        Path::new("/sys/fs/bpf/portmeter").join(&self.instance)
    }

    /// The folder of its sockets.
    pub fn run_folder(&self) -> PathBuf {
        Path::new("/run/portmeter").join(&self.instance)
    }

    /// Everything it has written to `stdout` or `stderr`.
    pub fn read_log(&self, stream: &str) -> String {
        fs::read_to_string(self.home.path().join(stream)).unwrap_or_default()
    }

    fn prepare(&self, command: &mut Command) {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.home.path()).stdin(Stdio::null());
    }

    fn log(&self, stream: &str) -> Result<File> {
        Ok(OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.path().join(stream))?)
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        for stream in ["stdout", "stderr"] {
            let text = self.read_log(stream);
            SAID.with_borrow_mut(|said| said.push(format!("--- {} {stream}\n{text}", self.instance)));
        }
        // An agent that a story never started has neither.
        let _ = fs::remove_dir_all(self.pin_folder());
        let _ = fs::remove_dir_all(self.run_folder());
    }
}

fn binary_or_error() -> Result<PathBuf> {
    binary().context("there is no portmeter binary to test")
}
