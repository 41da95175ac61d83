//! `portmeter prepare`: what it makes, what it leaves alone, and when it refuses.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::ordinary_user::{self, NAME, NUMBER};
use portmeter_tests::{command, snapshot};

use crate::Story;
use crate::refusals::run_to_refusal;

pub(crate) const STORIES: &[Story] = &[
    ("it_makes_what_is_missing_once", it_makes_what_is_missing_once),
    ("it_mounts_the_bpf_file_system", it_mounts_the_bpf_file_system),
    ("it_follows_no_link", it_follows_no_link),
    ("it_gives_no_folder_of_others_away", it_gives_no_folder_of_others_away),
    (
        "it_refuses_while_another_user_s_agent_runs",
        it_refuses_while_another_user_s_agent_runs,
    ),
    ("it_refuses_whom_it_cannot_serve", it_refuses_whom_it_cannot_serve),
];

fn it_makes_what_is_missing_once() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = ordinary_user::agent(&host)?;
    agent.change_data_folder("deep/data");
    let said = ordinary_user::prepare(&agent, NAME)?;
    let folders = [agent.data_folder(), agent.pin_folder(), agent.run_folder()];
    for folder in &folders {
        ensure!(
            owner_and_mode(folder)? == (NUMBER, 0o700),
            "{}: {said}",
            folder.display()
        );
        ensure!(said.contains(&format!("made {}\n", folder.display())), "{said}");
    }
    for above in [
        &agent.home().join("deep"),
        Path::new("/run/portmeter"),
        Path::new("/sys/fs/bpf/portmeter"),
    ] {
        ensure!(owner_and_mode(above)? == (0, 0o755), "{}: {said}", above.display());
    }
    let again = ordinary_user::prepare(&agent, NAME)?;
    ensure!(
        again == format!("instance {} was ready for nobody already\n", agent.instance()),
        "{again}"
    );
    // By number, and beside its own user's running agent.
    agent.start()?;
    let again = ordinary_user::prepare(&agent, &NUMBER.to_string())?;
    ensure!(again.lines().count() == 1 && agent.rest().is_ready(), "{again}");
    Ok(())
}

/// A machine just booted, where a user without rights looks whether it could get to its pins.
fn it_mounts_the_bpf_file_system() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = ordinary_user::agent(&host)?;
    let look = "setpriv --reuid=65534 --regid=65534 --clear-groups test -w";
    let pins = agent.pin_folder();
    for before in [
        "umount /sys/fs/bpf || true",
        "mount -t bpf -o mode=0700 bpf /sys/fs/bpf",
    ] {
        let script = format!(
            "{before}; \"$0\" \"$@\" && {look} {} && stat -c %a /sys/fs/bpf",
            pins.display()
        );
        let prepare = ordinary_user::prepare_command(&agent, NAME)?;
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--mount", "--propagation=private", "bash", "-c", &script]);
        unshare
            .arg(prepare.get_program())
            .args(prepare.get_args())
            .current_dir(agent.home());
        let said = command::output(&mut unshare)?;
        ensure!(
            said.contains("/sys/fs/bpf") && said.contains("is ready for nobody"),
            "{said}"
        );
    }
    Ok(())
}

/// What a link in the folders leads to stays whose it was, and so does a file that has a name elsewhere too.
fn it_follows_no_link() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = ordinary_user::agent(&host)?;
    ordinary_user::prepare(&agent, NAME)?;
    agent.start()?;
    agent.stop()?;
    let (data, outside) = (agent.data_folder(), agent.home().join("outside"));
    fs::create_dir(&outside)?;
    for name in ["file", "second", "inside"] {
        fs::write(outside.join(name), "not yours")?;
    }
    symlink(outside.join("file"), data.join("ledger.db-journal"))?;
    fs::remove_dir_all(data.join("xray"))?;
    symlink(&outside, data.join("xray"))?;
    symlink(&outside, agent.run_folder().join("folder"))?;
    fs::hard_link(outside.join("second"), data.join("api.key.new"))?;
    fs::write(data.join("notes.txt"), "somebody's")?;
    let said = ordinary_user::prepare(&agent, NAME)?;
    ensure!(said.matches("alone").count() == 4, "{said}");
    for untouched in [
        &outside,
        &outside.join("file"),
        &outside.join("second"),
        &outside.join("inside"),
        &data.join("notes.txt"),
    ] {
        ensure!(
            fs::metadata(untouched)?.uid() == 0,
            "{} was given away",
            untouched.display()
        );
    }
    Ok(())
}

fn it_gives_no_folder_of_others_away() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = ordinary_user::agent(&host)?;
    fs::create_dir(agent.home().join("etc"))?;
    fs::write(agent.home().join("etc/passwd"), "root")?;
    agent.change_data_folder("etc");
    let sentence = refused(&agent, NAME)?;
    ensure!(sentence.contains("holds other files (passwd)"), "{sentence}");
    symlink("etc", agent.home().join("data"))?;
    agent.change_data_folder("data");
    let sentence = refused(&agent, NAME)?;
    ensure!(sentence.contains("is no folder but a link"), "{sentence}");
    Ok(())
}

fn it_refuses_while_another_user_s_agent_runs() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    let sentence = refused(&agent, NAME)?;
    ensure!(sentence.contains("an agent of root holds"), "{sentence}");
    ensure!(agent.rest().is_ready(), "the agent noticed");
    Ok(())
}

fn it_refuses_whom_it_cannot_serve() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = ordinary_user::agent(&host)?;
    let sentence = refused(&agent, "no-such-user")?;
    ensure!(sentence.contains("there is no user no-such-user"), "{sentence}");
    agent.change_wrapper(&ordinary_user::WITH_RIGHTS);
    let sentence = run_to_refusal(&mut agent.portmeter(&["prepare", "--user", NAME]))?;
    ensure!(
        sentence.contains("CAP_CHOWN") && sentence.contains("run it as root"),
        "{sentence}"
    );
    Ok(())
}

/// Runs a preparation that must fail; returns its sentence when nobody owns anything that root did not give before.
fn refused(agent: &Agent<'_>, user: &str) -> Result<String> {
    let look = || {
        let folders = [agent.home(), &agent.pin_folder(), &agent.run_folder()];
        let found = folders.map(snapshot::paths_of);
        let paths = found.into_iter().collect::<Result<Vec<_>>>()?.concat();
        let owner =
            |path: &std::path::PathBuf| fs::symlink_metadata(path).map(|metadata| (metadata.uid(), metadata.mode()));
        paths
            .iter()
            .map(|path| Ok((path.clone(), owner(path)?)))
            .collect::<Result<Vec<_>>>()
    };
    let before = look()?;
    let sentence = run_to_refusal(&mut ordinary_user::prepare_command(agent, user)?)?;
    ensure!(
        before == look()?,
        "a refused preparation has changed something: {sentence}"
    );
    Ok(sentence)
}

fn owner_and_mode(path: &Path) -> Result<(u32, u32)> {
    let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok((metadata.uid(), metadata.mode() & 0o7777))
}
