//! Who runs the core, with a real one: `PORTMETER_XRAY` names its binary. Without it they are left out, except where
//! nothing may be (`CI=true`).

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use caps::{CapSet, Capability, has_cap};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portmeter::xray::core::{CoreState, LOG_NAME, Places, RECORD_NAME, Started, Supervised, binary};
use serde_json::{Value, json};
use tempfile::TempDir;

const VARIABLE: &str = "PORTMETER_XRAY";

/// Far above what anything here takes, so that a busy machine fails nothing.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let arguments = Arguments::from_args();
    let said = Said::default();
    let writer = said.clone();
    tracing_subscriber::fmt()
        .json()
        .with_writer(move || writer.clone())
        .init();

    let core = std::env::var_os(VARIABLE).map(PathBuf::from);
    if core.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{VARIABLE} is not set");
        eprintln!("left out: {VARIABLE} does not name the binary of a real core");
    }
    let is_left_out = core.is_none();
    let core = core.unwrap_or_default();
    let has_low_ports = has_cap(None, CapSet::Permitted, Capability::CAP_NET_BIND_SERVICE).unwrap_or(false);

    let test = |name: &str, run: fn(Lab)| {
        let core = core.clone();
        Trial::test(name, move || {
            run(Lab::new(core));
            Ok::<(), Failed>(())
        })
        .with_ignored_flag(is_left_out)
    };
    let tests = vec![
        test("starts_a_core_that_gets_nothing_of_the_agent_s", starts),
        test("has_the_right_to_low_ports_alone", low_ports).with_ignored_flag(is_left_out || !has_low_ports),
        test("sees_at_once_that_a_core_was_killed", killed),
        test("goes_on_with_the_core_that_was_noted", adopts_by_record),
        test("goes_on_with_a_core_that_was_never_noted", adopts_by_scan),
        test("replaces_a_core_whose_api_is_elsewhere", replaces),
        test("restarts", restarts),
        test("stops_an_adopted_core", stops),
        test("refuses_a_port_that_others_hold", refuses_listener),
        test("refuses_beside_a_foreign_core", refuses_foreign_core),
        test("refuses_what_is_not_xray", refuses_other_program),
        test("says_why_a_configuration_is_refused", bad_configuration),
        Trial::test("the_core_s_lines_are_in_the_agent_s_log", {
            let core = core.clone();
            move || {
                lines(Lab::new(core), &said);
                Ok(())
            }
        })
        .with_ignored_flag(is_left_out),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

fn starts(lab: Lab) {
    lab.run(async |lab| {
        let mut core = lab.core();
        assert_eq!(core.facts().state, CoreState::Down);
        assert_eq!(core.ensure_started(&lab.places()).await.unwrap(), Started::New);
        let facts = core.facts();
        assert_eq!(facts.state, CoreState::Running);
        assert!(facts.version.unwrap().starts_with("Xray "));
        assert_eq!((facts.restart_count, facts.last_error), (0, None));
        let age = chrono::Utc::now() - facts.started_at.unwrap();
        assert!(age.num_seconds().unsigned_abs() <= PATIENCE.as_secs(), "{age}");
        assert_eq!(
            core.ensure_started(&lab.places()).await.unwrap(),
            Started::AlreadyRunning
        );

        let process = facts.process_id.unwrap();
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment);
        assert!(environment.contains("PATH="), "{environment}");
        assert!(!environment.contains("PORTMETER_"), "{environment}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&status(process, set), 16), Ok(0), "{set}");
        }
        assert_eq!(status(process, "NoNewPrivs"), "1");
        assert_eq!(status(process, "Umask"), "0077");
        let group = nix::unistd::getpgid(Some(id(process))).unwrap();
        assert_eq!(group, id(process));
        let input = fs::read_link(format!("/proc/{process}/fd/0")).unwrap();
        assert_eq!(input, Path::new("/dev/null"));
        let folder = fs::read_link(format!("/proc/{process}/cwd")).unwrap();
        assert_eq!(folder, fs::canonicalize(lab.folder.path()).unwrap());
        for file in [LOG_NAME, RECORD_NAME] {
            let mode = fs::metadata(lab.folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        core.stop().await.unwrap();
    });
}

fn low_ports(lab: Lab) {
    lab.run(async |lab| {
        let mut core = Supervised::new(&lab.binary, &lab.configuration(), true);
        core.ensure_started(&lab.places()).await.unwrap();
        let process = core.facts().process_id.unwrap();
        let right = 1 << Capability::CAP_NET_BIND_SERVICE.index();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&status(process, set), 16), Ok(right), "{set}");
        }
        // It is found by who has given up everything else, too.
        fs::remove_file(lab.folder.path().join(RECORD_NAME)).unwrap();
        let mut next = lab.core();
        assert_eq!(next.ensure_started(&lab.places()).await.unwrap(), Started::Adopted);
        next.stop().await.unwrap();
    });
}

fn killed(lab: Lab) {
    lab.run(async |lab| {
        let mut core = lab.core();
        core.ensure_started(&lab.places()).await.unwrap();
        let first = core.facts().process_id.unwrap();
        let killed_at = Instant::now();
        kill(id(first), Signal::SIGKILL).unwrap();
        let exit = tokio::time::timeout(PATIENCE, core.wait_for_exit()).await.unwrap();
        assert_eq!(exit.reason, "it was killed by signal 9");
        let wait = core
            .next_start()
            .unwrap()
            .into_std()
            .saturating_duration_since(killed_at);
        assert!(wait < Duration::from_secs(2), "{wait:?}");
        let facts = core.facts();
        assert_eq!((facts.state, facts.process_id), (CoreState::Down, None));
        assert_eq!(facts.last_error, Some(exit.reason));
        assert!(
            !Path::new(&format!("/proc/{first}")).exists(),
            "it was not asked for its status"
        );

        assert_eq!(core.ensure_started(&lab.places()).await.unwrap(), Started::New);
        let facts = core.facts();
        assert_ne!(facts.process_id, Some(first));
        assert_eq!((facts.restart_count, facts.last_error), (1, None));
        assert_eq!(core.next_start(), None);
        core.stop().await.unwrap();
    });
}

fn adopts_by_record(lab: Lab) {
    lab.run(async |lab| {
        let process = lab.start_and_leave().await;
        let mut next = lab.core();
        assert_eq!(next.ensure_started(&lab.places()).await.unwrap(), Started::Adopted);
        let facts = next.facts();
        assert_eq!((facts.process_id, facts.restart_count), (Some(process), 0));
        assert!(facts.version.unwrap().starts_with("Xray "));
        kill(id(process), Signal::SIGKILL).unwrap();
        let exit = tokio::time::timeout(PATIENCE, next.wait_for_exit()).await.unwrap();
        assert_eq!(exit.reason, "it has ended");
        assert_eq!(next.ensure_started(&lab.places()).await.unwrap(), Started::New);
        next.stop().await.unwrap();
    });
}

fn adopts_by_scan(lab: Lab) {
    lab.run(async |lab| {
        let process = lab.start_and_leave().await;
        let record = lab.folder.path().join(RECORD_NAME);
        let noted = fs::read_to_string(&record).unwrap();
        fs::remove_file(&record).unwrap();
        let mut next = lab.core();
        assert_eq!(next.ensure_started(&lab.places()).await.unwrap(), Started::Adopted);
        assert_eq!(next.facts().process_id, Some(process));
        assert_eq!(fs::read_to_string(&record).unwrap(), noted);
        // A note of a process that is gone does not hide the one that runs.
        let mut stale: Value = serde_json::from_str(&noted).unwrap();
        stale["start_ticks"] = json!(1);
        fs::write(&record, stale.to_string()).unwrap();
        let mut last = lab.core();
        assert_eq!(last.ensure_started(&lab.places()).await.unwrap(), Started::Adopted);
        assert_eq!(last.facts().process_id, Some(process));
        last.stop().await.unwrap();
    });
}

fn replaces(lab: Lab) {
    lab.run(async |mut lab| {
        let process = lab.start_and_leave().await;
        lab.api = free_port();
        lab.write_configuration();
        let mut next = lab.core();
        assert_eq!(next.ensure_started(&lab.places()).await.unwrap(), Started::New);
        assert_ne!(next.facts().process_id, Some(process));
        assert!(has_ended(process));
        next.stop().await.unwrap();
    });
}

fn restarts(lab: Lab) {
    lab.run(async |lab| {
        // Also one that it has not looked for yet.
        let first = lab.start_and_leave().await;
        let mut core = lab.core();
        core.restart(&lab.places(), "test").await.unwrap();
        let second = core.facts().process_id.unwrap();
        assert!(first != second && has_ended(first));
        core.restart(&lab.places(), "test").await.unwrap();
        assert!(has_ended(second));
        assert_eq!(core.facts().restart_count, 2);
        core.stop().await.unwrap();
    });
}

fn stops(lab: Lab) {
    lab.run(async |lab| {
        let process = lab.start_and_leave().await;
        let mut core = lab.core();
        core.stop().await.unwrap();
        assert!(has_ended(process));
        assert!(!lab.folder.path().join(RECORD_NAME).exists());
        let facts = core.facts();
        assert_eq!((facts.state, facts.last_error), (CoreState::Down, None));
        assert_eq!(core.next_start(), None);
        core.stop().await.unwrap();
    });
}

fn refuses_listener(lab: Lab) {
    lab.run(async |lab| {
        for (port, way_out) in [(lab.port, "give the key another port"), (lab.api, "`xray.api_listen`")] {
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            let mut core = lab.core();
            let error = core.ensure_started(&lab.places()).await.unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("port {port} ")) && error.contains(way_out),
                "{error}"
            );
            assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
            assert!(core.next_start().is_some());
            assert_eq!(core.facts().last_error, Some(error));
            drop(listener);
            assert_eq!(core.ensure_started(&lab.places()).await.unwrap(), Started::New);
            core.stop().await.unwrap();
        }
    });
}

fn refuses_foreign_core(lab: Lab) {
    lab.run(async |lab| {
        let foreign = lab.start_and_leave().await;
        let other = Lab {
            folder: TempDir::new().unwrap(),
            binary: lab.binary.clone(),
            ..lab
        };
        other.write_configuration();
        let mut core = other.core();
        let error = core.ensure_started(&other.places()).await.unwrap_err().to_string();
        let expected = format!("is held by an Xray that Portmeter does not manage (process {foreign}): stop it, or ");
        assert!(error.contains(&expected), "{error}");
        assert!(!has_ended(foreign));
        lab.core().stop().await.unwrap();
    });
}

fn refuses_other_program(lab: Lab) {
    lab.run(async |lab| {
        for (program, said) in [("/bin/true", "answers nothing"), ("/bin/cat", "answers \"")] {
            let mut core = Supervised::new(Path::new(program), &lab.configuration(), false);
            let error = core.ensure_started(&lab.places()).await.unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{program} is not Xray: ")) && error.contains(said),
                "{error}"
            );
        }
        let mut core = Supervised::new(Path::new("/nowhere/xray"), &lab.configuration(), false);
        let error = core.ensure_started(&lab.places()).await.unwrap_err().to_string();
        assert!(
            error.contains("/nowhere/xray is not there") && error.contains("`xray.binary`"),
            "{error}"
        );
    });
}

fn bad_configuration(lab: Lab) {
    lab.run(async |lab| {
        assert_eq!(binary::validate(&lab.binary, &lab.configuration()).await, Ok(()));
        fs::write(
            lab.configuration(),
            r#"{"inbounds": [{"protocol": "nonsense", "port": 1}]}"#,
        )
        .unwrap();
        let refusal = binary::validate(&lab.binary, &lab.configuration()).await.unwrap_err();
        assert!(!refusal.is_empty() && !refusal.contains('\n'), "{refusal}");
        let mut core = lab.core();
        let error = core.ensure_started(&lab.places()).await.unwrap_err().to_string();
        assert!(
            error.contains("it refuses its configuration (exit status 23)"),
            "{error}"
        );
        assert_eq!(core.facts().state, CoreState::Down);
        fs::remove_file(lab.configuration()).unwrap();
        let error = core.ensure_started(&lab.places()).await.unwrap_err().to_string();
        assert!(error.contains("config.json is not there"), "{error}");
    });
}

fn lines(lab: Lab, said: &Said) {
    lab.run(async |lab| {
        let mut core = lab.core();
        core.ensure_started(&lab.places()).await.unwrap();
        let line = "this line was written by the test, key mIm5DsBsyrEb0fC-F6lNTXK8ezYh8Jp4m7QJ6o7Jx1s";
        let log = lab.folder.path().join(LOG_NAME);
        let mut file = fs::OpenOptions::new().append(true).open(log).unwrap();
        writeln!(file, "{line}").unwrap();
        let told = |part: &str| {
            let text = said.0.lock().unwrap().clone();
            let text = String::from_utf8_lossy(&text).into_owned();
            text.lines()
                .any(|line| line.contains(part) && line.contains("\"source\":\"core\""))
        };
        // The core's own last words of a start, and its level.
        until("the core's line", || told("[Warning] core: Xray "));
        until("the test's line", || {
            told("this line was written by the test, key ***\"")
        });
        core.stop().await.unwrap();
    });
}

/// A core's folder, binary and ports.
struct Lab {
    folder: TempDir,
    binary: PathBuf,
    api: u16,
    port: u16,
}

impl Lab {
    fn new(binary: PathBuf) -> Self {
        let lab = Self {
            folder: TempDir::new().unwrap(),
            binary,
            api: free_port(),
            port: free_port(),
        };
        lab.write_configuration();
        lab
    }

    fn run(self, test: impl AsyncFnOnce(Self)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test(self));
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    fn write_configuration(&self) {
        let text = json!({
            "log": {"loglevel": "warning"},
            "api": {"tag": "api", "listen": format!("127.0.0.1:{}", self.api), "services": ["HandlerService"]},
            "inbounds": [{
                "tag": "one", "listen": "127.0.0.1", "port": self.port, "protocol": "dokodemo-door",
                "settings": {"address": "127.0.0.1", "port": 1},
            }],
            "outbounds": [{"protocol": "freedom"}],
        });
        fs::write(self.configuration(), text.to_string()).unwrap();
    }

    fn core(&self) -> Supervised {
        Supervised::new(&self.binary, &self.configuration(), false)
    }

    fn places(&self) -> Places {
        Places {
            api: ([127, 0, 0, 1], self.api).into(),
            listen: Some([127, 0, 0, 1].into()),
            ports: [self.port].into(),
        }
    }

    /// Starts a core and goes, as an agent does.
    async fn start_and_leave(&self) -> u32 {
        let mut core = self.core();
        assert_eq!(core.ensure_started(&self.places()).await.unwrap(), Started::New);
        core.facts().process_id.unwrap()
    }
}

/// Whatever a failed test has left running: the processes that name the configuration in this test's own folder.
impl Drop for Lab {
    fn drop(&mut self) {
        let configuration = format!("\0{}\0", self.configuration().display());
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            if !String::from_utf8_lossy(&line).ends_with(&configuration) {
                continue;
            }
            if let Some(process) = process.file_name().to_str().and_then(|name| name.parse().ok()) {
                let _ = kill(id(process), Signal::SIGKILL);
            }
        }
    }
}

/// Everything that was logged.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Below the range that the kernel takes for clients, so that nobody gets it meanwhile.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 14_000 + u16::try_from(std::process::id() % 300).unwrap() * 50;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn id(process: u32) -> Pid {
    Pid::from_raw(process.try_into().unwrap())
}

fn status(process: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().trim().to_owned()
}

/// Gone, or only waiting to be asked for its status by this process, whose child it is.
fn has_ended(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.is_empty() || stat.rsplit(')').next().unwrap().trim_start().starts_with('Z')
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
