//! What is written for the core, tried by a real one: `PORTMETER_XRAY` names its binary. Without it those tests are left
//! out, except where nothing may be (`CI=true`). And a writer that is killed at any moment.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use libtest_mimic::{Arguments, Failed, Trial};
use portmeter::xray::document::{Document, render, verify};
use portmeter::xray::files;
use portmeter::xray::reality::{PrivateKey, ShortId};
use portmeter::xray::wanted::{CoreSettings, Reality, Wanted, WantedInbound};
use serde_json::{Value, json};
use uuid::Uuid;

const VARIABLE: &str = "PORTMETER_XRAY";

/// Makes this program the writer that is killed; names the file it writes.
const WRITER: &str = "PORTMETER_TEST_WRITER";

/// Far above what anything here takes, so that a busy machine fails nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an HTTP/2 client says first (RFC 9113, section 3.4), and an empty SETTINGS frame.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Where in a frame its type is, and the type of SETTINGS, with which a server answers.
const FRAME_TYPE: usize = 3;
const SETTINGS: u8 = 4;

fn main() {
    if let Some(path) = std::env::var_os(WRITER) {
        write_for_ever(Path::new(&path));
    }
    let core = std::env::var_os(VARIABLE).map(PathBuf::from);
    if core.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{VARIABLE} is not set");
        eprintln!("left out: {VARIABLE} does not name the binary of a real core");
    }
    let is_left_out = core.is_none();
    let core = core.unwrap_or_default();
    let test = |name: &str, run: fn(&Path)| {
        let core = core.clone();
        Trial::test(name, move || {
            run(&core);
            Ok::<(), Failed>(())
        })
        .with_ignored_flag(is_left_out)
    };
    let tests = vec![
        test("a_core_takes_what_is_rendered", takes),
        test("a_core_takes_what_is_rendered_among_others_parts", takes_among_others),
        test("a_core_takes_what_was_repaired", takes_repaired),
        test("the_older_way_to_the_api_stays_open", keeps_the_older_door),
        Trial::test("a_killed_writer_leaves_the_old_file_or_the_new_one", || {
            survives_kills();
            Ok(())
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit();
}

/// Keys on ports from 10001 on, every second one with an identity of its own.
fn wanted(key_count: u16) -> Wanted {
    let reality = || Reality {
        private_key: PrivateKey::generate(),
        short_ids: vec![ShortId::generate(), ShortId::generate()],
        dest: "www.microsoft.com:443".to_owned(),
        server_names: vec!["www.microsoft.com".to_owned()],
    };
    let shared = Arc::new(reality());
    let inbounds = (1..=key_count).map(|number| WantedInbound {
        uuid: Uuid::new_v4(),
        port: 10_000 + number,
        reality: if number % 2 == 0 {
            Arc::clone(&shared)
        } else {
            Arc::new(reality())
        },
    });
    Wanted {
        settings: CoreSettings {
            listen: None,
            flow: "xtls-rprx-vision".to_owned(),
            max_time_diff_ms: 600_000,
            api_listen: "127.0.0.1:9436".parse().unwrap(),
            access_log: None,
        },
        inbounds: inbounds.collect(),
    }
}

fn takes(core: &Path) {
    for key_count in [0, 1, 100] {
        assert!(is_taken(core, &render(None, &wanted(key_count))), "{key_count} keys");
    }
    let mut wanted = wanted(1);
    wanted.settings.flow = String::new();
    wanted.settings.max_time_diff_ms = 0;
    for listen in ["127.0.0.1", "::"] {
        wanted.settings.listen = Some(listen.parse().unwrap());
        assert!(is_taken(core, &render(None, &wanted)), "{listen}");
    }
    // Asked like this a core does refuse what it cannot use.
    let refused = render(None, &wanted)
        .to_text()
        .replace(r#""privateKey": ""#, r#""privateKey": "x"#);
    assert!(!is_taken(core, &Document::parse(&refused).unwrap()));
}

fn takes_among_others(core: &Path) {
    let wanted = wanted(3);
    let rendered = render(Some(&foreign(10_085)), &wanted);
    assert!(is_taken(core, &rendered));
    let fewer = Wanted {
        inbounds: wanted.inbounds[1..].to_vec(),
        ..wanted
    };
    let again = render(Some(&rendered), &fewer);
    assert_eq!(again.inbound_count(), rendered.inbound_count() - 1);
    assert!(is_taken(core, &again));
}

fn takes_repaired(core: &Path) {
    let wanted = wanted(2);
    let mut damaged: Value = serde_json::from_str(&render(Some(&foreign(10_085)), &wanted).to_text()).unwrap();
    for inbound in damaged["inbounds"].as_array_mut().unwrap() {
        let tag = inbound["tag"].as_str().unwrap().to_owned();
        if tag == "shared" {
            // Somebody else's: only its clock tolerance can be repaired.
            inbound["streamSettings"]["realitySettings"]["maxTimeDiff"] = json!(600);
        } else if tag.starts_with("inbound-") {
            inbound["streamSettings"]["realitySettings"] = json!({"maxTimeDiff": 0});
        }
    }
    let damaged = Document::parse(&damaged.to_string()).unwrap();
    assert!(!is_taken(core, &damaged));
    let (repaired, repairs) = verify(&damaged, &wanted).unwrap();
    assert!(is_taken(core, &repaired), "{repairs:?}");
    assert_eq!(repaired.to_text(), render(Some(&repaired), &wanted).to_text());
    assert!(
        repairs
            .iter()
            .any(|repair| repair.to_string().contains("`maxTimeDiff` 600 ms")),
        "{repairs:?}"
    );
}

fn keeps_the_older_door(core: &Path) {
    let (door, api) = (free_port(), free_port());
    let mut wanted = wanted(0);
    wanted.settings.api_listen = SocketAddr::from(([127, 0, 0, 1], api));
    let mut base: Value = serde_json::from_str(&foreign(door).to_text()).unwrap();
    base["inbounds"].as_array_mut().unwrap().truncate(1);
    let base = Document::parse(&base.to_string()).unwrap();
    let rendered = render(Some(&base), &wanted);
    let running = Running::start(core, &rendered, api);
    assert!(speaks_http2(api), "the API itself");
    assert!(speaks_http2(door), "the older way to it");
    drop(running);

    // Without the outbound that Portmeter adds the door leads nowhere.
    let mut without: Value = serde_json::from_str(&rendered.to_text()).unwrap();
    without["outbounds"]
        .as_array_mut()
        .unwrap()
        .retain(|outbound| outbound["tag"] != "api");
    let without = Document::parse(&without.to_string()).unwrap();
    let _running = Running::start(core, &without, api);
    assert!(speaks_http2(api));
    assert!(!speaks_http2(door));
}

/// What somebody else may have written, with the older way to the API at this port.
fn foreign(door: u16) -> Document {
    let value = json!({
        "api": {"tag": "api", "services": ["statsservice", "LoggerService"]},
        "inbounds": [
            {"tag": "api", "listen": "127.0.0.1", "port": door, "protocol": "dokodemo-door",
             "settings": {"address": "127.0.0.1"}},
            {"tag": "shared", "port": 8443, "protocol": "vless",
             "settings": {"decryption": "none", "clients": [
                {"id": Uuid::new_v4(), "flow": "xtls-rprx-vision", "email": "anna@example.org"},
                {"id": "any text", "email": "quote \" newline \n \u{fc}"},
             ]},
             "streamSettings": {"network": "raw", "security": "reality", "realitySettings": {
                "target": "example.org:443", "serverNames": ["example.org"],
                "privateKey": PrivateKey::generate().to_secret_text(), "shortIds": ["", "0123"],
             }}},
            {"tag": "odd \"quoted\"\n\u{1}\u{fc}", "listen": "127.0.0.1", "port": 1080, "protocol": "socks",
             "settings": {"auth": "password", "accounts": [{"user": "me", "pass": "hunter2"}]}},
        ],
        "outbounds": [{"tag": "exit", "protocol": "freedom"}, {"tag": "blocked", "protocol": "blackhole"}],
        "routing": {"rules": [
            {"type": "field", "inboundTag": ["api"], "outboundTag": "api"},
            {"type": "field", "ip": ["192.0.2.0/24"], "outboundTag": "blocked"},
        ]},
    });
    Document::parse(&value.to_string()).unwrap()
}

fn is_taken(core: &Path, document: &Document) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    fs::write(&file, document.to_text()).unwrap();
    let answer = Command::new(core)
        .args(["run", "-test", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    answer.status.success()
}

/// A process that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A core that runs until this is dropped.
struct Running {
    _process: Killed,
    _folder: tempfile::TempDir,
}

impl Running {
    fn start(core: &Path, document: &Document, api: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, document.to_text()).unwrap();
        let mut command = Command::new(core);
        let process = command
            .args(["run", "-c"])
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self {
            _process: Killed(process),
            _folder: folder,
        };
        let started = Instant::now();
        wait(started, || TcpStream::connect(("127.0.0.1", api)).is_ok());
        running
    }
}

/// Whether a server of HTTP/2, which gRPC is, answers at this port.
fn speaks_http2(port: u16) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(GREETING).unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).is_ok() && frame[FRAME_TYPE] == SETTINGS
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait(since: Instant, condition: impl Fn() -> bool) {
    while !condition() {
        assert!(since.elapsed() < PATIENCE, "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Two texts of which neither is a part of the other, too long for one write to the disk.
fn texts() -> [String; 2] {
    ["one", "two"].map(|word| format!("{word}\n").repeat(100_000))
}

fn write_for_ever(path: &Path) -> ! {
    let texts = texts();
    let parent = parent_id();
    for text in texts.iter().cycle() {
        if parent_id() != parent {
            std::process::exit(1);
        }
        files::replace(path, text, "sync", Utc::now()).unwrap();
    }
    unreachable!("the texts never end");
}

fn survives_kills() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let texts = texts();
    files::replace(&path, &texts[0], "sync", Utc::now()).unwrap();
    for round in 0..30_u32 {
        let inode = || fs::metadata(&path).unwrap().ino();
        let before = inode();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let writer = Killed(command.env(WRITER, &path).spawn().unwrap());
        let started = Instant::now();
        // In the middle of its work, and in each round at another point of it.
        wait(started, || inode() != before);
        for _ in 0..round * 200 {
            assert!(path.exists(), "there is a file at every moment");
        }
        drop(writer);
        let whole = |text: &str| texts.iter().any(|expected| expected == text);
        assert!(whole(&files::read(&path).unwrap().unwrap()), "round {round}");
        let backups = files::list_backups(&path).unwrap();
        assert!(!backups.is_empty());
        for backup in backups {
            assert!(
                whole(&files::read_backup(&path, &backup.name).unwrap()),
                "{}",
                backup.name
            );
        }
    }
    // What the killed ones left is gone after the next change.
    files::replace(&path, "three", "sync", Utc::now()).unwrap();
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>()
    };
    let unfinished = |names: Vec<String>| names.into_iter().filter(|name| name.starts_with('.')).count();
    assert_eq!(unfinished(names(folder.path())), 0);
    assert_eq!(unfinished(names(&folder.path().join("backups"))), 0);
}
