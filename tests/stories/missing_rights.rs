//! Starts that lack a right, or find a folder of somebody else: one sentence with the way out, and no trace.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::ordinary_user::{self, NAME, NUMBER};

use crate::Story;
use crate::refusals::refused;
use crate::rights::everything_belongs_to;

pub(crate) const STORIES: &[Story] = &[
    ("a_user_is_told_what_is_missing", a_user_is_told_what_is_missing),
    ("what_is_somebody_else_s_is_named", what_is_somebody_else_s_is_named),
    (
        "root_works_where_it_gets_without_force",
        root_works_where_it_gets_without_force,
    ),
    ("a_bpf_file_system_nobody_can_use", a_bpf_file_system_nobody_can_use),
];

/// Ends a script of bash: it goes on as what it was given.
const THEN: &str = "&& exec \"$0\" \"$@\"";

/// Runs a script in a mount namespace that the program sees alone.
fn after(script: &str) -> [&str; 6] {
    ["unshare", "--mount", "--propagation=private", "bash", "-c", script]
}

fn a_user_is_told_what_is_missing() -> Result<()> {
    let host = Namespace::new("server")?;
    // A machine just booted: systemd mounts the BPF file system for root alone.
    let mut agent = ordinary_user::agent(&host)?;
    let script = format!("mount -t bpf -o mode=0700 bpf /sys/fs/bpf && mount -t tmpfs -o mode=0755 none /run {THEN}");
    agent.change_wrapper(&[after(&script).as_slice(), &ordinary_user::WITH_RIGHTS].concat());
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(sentence.contains("portmeter prepare --user nobody"), "{sentence}");

    // After another boot the run folder has gone; here the BPF file system has stayed.
    ordinary_user::prepare(&agent, NAME)?;
    let script = format!("mount -t tmpfs -o mode=0755 none /run {THEN}");
    agent.change_wrapper(&[after(&script).as_slice(), &ordinary_user::WITH_RIGHTS].concat());
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(
        sentence.contains("/run/portmeter") && sentence.contains("once after each boot"),
        "{sentence}"
    );
    let script = format!("mount -t bpf -o mode=0700 bpf /sys/fs/bpf {THEN}");
    agent.change_wrapper(&[after(&script).as_slice(), &ordinary_user::WITH_RIGHTS].concat());
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(
        sentence.contains("because /sys/fs/bpf belongs to root") && sentence.contains("portmeter prepare"),
        "{sentence}"
    );
    // Prepared, but not given the rights.
    agent.change_wrapper(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(
        ["run it as root", "AmbientCapabilities=", "setcap"]
            .iter()
            .all(|way| sentence.contains(way)),
        "{sentence}"
    );
    Ok(())
}

/// Root without its other rights gets no further than anybody else.
fn what_is_somebody_else_s_is_named() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = ordinary_user::agent(&host)?;
    ordinary_user::prepare(&agent, NAME)?;
    agent.start()?;
    agent.stop()?;
    agent.change_wrapper(&[]);
    let sentence = refused(&agent, &mut agent.command())?;
    let data = agent.home().join("data");
    ensure!(
        sentence.contains(&format!("{} belongs to nobody, and this is root", data.display()))
            && sentence.contains("portmeter prepare --user root"),
        "{sentence}"
    );
    // A file that root has left in the user's folder.
    agent.change_wrapper(&ordinary_user::WITH_RIGHTS);
    chown(data.join("ledger.db"), Some(0), Some(0))?;
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(
        sentence.contains("ledger.db belongs to root, and this is nobody"),
        "{sentence}"
    );
    // A key that only root can read.
    let key = agent.home().join("root.key");
    fs::write(&key, "a-key-for-root-alone")?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let agent = agent
        .without_api_key()
        .variable("PORTMETER_HTTP__API_KEY_FILE", &key.to_string_lossy());
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(sentence.contains("root.key belongs to root"), "{sentence}");
    Ok(())
}

/// As with sudo in somebody's checkout: root may make its data folder there, but does not break into a closed one.
fn root_works_where_it_gets_without_force() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = Agent::new(&host)?;
    chown(agent.home(), Some(NUMBER), Some(NUMBER))?;
    fs::set_permissions(agent.home(), fs::Permissions::from_mode(0o700))?;
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(
        sentence.contains(&format!("because {} belongs to nobody", agent.home().display()))
            && sentence.contains("choose a --data-dir"),
        "{sentence}"
    );
    fs::set_permissions(agent.home(), fs::Permissions::from_mode(0o755))?;
    agent.start()?;
    everything_belongs_to(0, &agent.data_folder())
}

fn a_bpf_file_system_nobody_can_use() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = Agent::new(&host)?;
    let cases = [
        ("mount -t bpf -o ro bpf /sys/fs/bpf", "is mounted read-only"),
        // Anybody could exchange what lies in a folder of their own.
        (
            "mount -t bpf bpf /sys/fs/bpf && mkdir /sys/fs/bpf/portmeter && chown 65534 /sys/fs/bpf/portmeter",
            "/sys/fs/bpf/portmeter belongs to nobody, and this is root",
        ),
    ];
    for (setting_up, expected) in cases {
        agent.change_wrapper(&after(&format!("{setting_up} {THEN}")));
        let sentence = refused(&agent, &mut agent.command())?;
        ensure!(sentence.contains(expected), "{sentence}");
    }
    Ok(())
}
