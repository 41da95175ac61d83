//! The terminal is given back whole, from a real one: a pseudo-terminal whose other end the test reads.
//!
//! What a panic does cannot be tried in the test's own process, whose terminal is another one's. So the test runs itself
//! once more, on the pseudo-terminal, with a word in the environment that says how to end.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, ExitStatus, Stdio};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};

use super::*;

/// Says how the process is to end that the test starts.
const ENDING: &str = "PORTMETER_TEST_SCREEN_ENDING";

const ENTERED: &str = "\u{1b}[?1049h";
const LEFT: &str = "\u{1b}[?1049l";
const CURSOR_SHOWN: &str = "\u{1b}[?25h";

/// What the child process does; does nothing where it is none.
#[test]
fn child() {
    let Ok(ending) = std::env::var(ENDING) else { return };
    let screen = Screen::enter().unwrap();
    match ending.as_str() {
        "leave" => screen.leave().unwrap(),
        "drop" => drop(screen),
        "panic" => panic!("as the test wants it"),
        "panic elsewhere" => {
            let thread = std::thread::spawn(|| panic!("as the test wants it"));
            assert!(thread.join().is_err());
            // It is given back already; once more changes nothing.
            drop(screen);
        }
        other => unreachable!("{other}"),
    }
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    for (ending, is_success) in [
        ("leave", true),
        ("drop", true),
        ("panic", false),
        ("panic elsewhere", true),
    ] {
        let (written, before, after, status) = run_child(ending);
        assert_eq!(status.success(), is_success, "{ending}: {written}");
        for sequence in [ENTERED, LEFT, CURSOR_SHOWN] {
            assert_eq!(
                written.matches(sequence).count(),
                1,
                "{ending}: {sequence:?} in {written:?}"
            );
        }
        if ending.starts_with("panic") {
            let message = written.find("as the test wants it").unwrap();
            assert!(message > written.find(LEFT).unwrap(), "{ending}: {written:?}");
        }
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        assert!(before.local_flags.contains(cooked));
        assert_eq!(after, before, "{ending}");
    }
}

/// Runs [`child`] on a terminal of its own; gives what it wrote, and the terminal before and after.
fn run_child(ending: &str) -> (String, Termios, Termios, ExitStatus) {
    let terminal = openpty(None, None).unwrap();
    let before = tcgetattr(&terminal.slave).unwrap();
    let end = || Stdio::from(terminal.slave.try_clone().unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cli::top::screen::tests::child", "--nocapture"])
        .env(ENDING, ending)
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .unwrap();
    let mut master = File::from(terminal.master);
    let reader = std::thread::spawn(move || {
        let mut written = Vec::new();
        // Reading fails, and does not end, when the last other end is closed.
        let _ = master.read_to_end(&mut written);
        String::from_utf8_lossy(&written).into_owned()
    });
    let status = child.wait().unwrap();
    let after = tcgetattr(&terminal.slave).unwrap();
    drop(terminal.slave);
    (reader.join().unwrap(), before, after, status)
}
