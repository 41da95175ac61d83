//! Files: what is saved, what is refused, what is kept.

use std::os::unix::fs::symlink;

use chrono::TimeZone as _;
use tempfile::TempDir;

use super::*;

fn at(second: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2025, 8, 5, 12, 0, second).unwrap()
}

/// A folder, and the configuration's path in a folder of it that does not exist yet.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("xray/config.json");
    (folder, path)
}

fn saved_as(replaced: Replaced) -> Option<String> {
    match replaced {
        Replaced::Written { saved_as } => saved_as,
        Replaced::Unchanged => panic!("it was to be written"),
    }
}

fn names(path: &Path) -> Vec<String> {
    list_backups(path)
        .unwrap()
        .into_iter()
        .map(|backup| backup.name)
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn each_change_saves_what_was_there() {
    let (_folder, path) = place();
    assert_eq!(read(&path).unwrap(), None);
    assert_eq!(list_backups(&path).unwrap(), []);
    assert_eq!(saved_as(replace(&path, "one", "sync", at(1)).unwrap()), None);
    let first = saved_as(replace(&path, "two", "sync", at(2)).unwrap()).unwrap();
    assert_eq!(first, "20250805_120002__sync__config.json");
    assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
    assert_eq!(read_backup(&path, &first).unwrap(), "one");
    let backup = Backup {
        name: first.clone(),
        created_at: at(2),
        size_bytes: 3,
    };
    assert_eq!(list_backups(&path).unwrap(), [backup]);
    for file in [&path, &path.with_file_name("backups").join(&first)] {
        assert_eq!(mode(file), 0o600);
    }
    assert_eq!(mode(&path.with_file_name("backups")), 0o700);
}

#[test]
fn the_same_text_writes_nothing_but_the_mode() {
    let (_folder, path) = place();
    replace(&path, "one", "sync", at(1)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let before = fs::metadata(&path).unwrap();
    assert_eq!(replace(&path, "one", "sync", at(2)).unwrap(), Replaced::Unchanged);
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    assert_eq!(mode(&path), 0o600);
    assert_eq!(names(&path), [""; 0]);
}

#[test]
fn backups_of_one_second_are_numbered_and_sorted() {
    let (_folder, path) = place();
    for (text, label, second) in [
        ("1", "sync", 1),
        ("2", "sync", 1),
        ("3", "restore", 1),
        ("4", "sync", 1),
        ("5", "sync", 2),
    ] {
        replace(&path, text, label, at(second)).unwrap();
    }
    let expected = [
        "20250805_120002__sync__config.json",
        "20250805_120001__sync-3__config.json",
        "20250805_120001__restore-2__config.json",
        "20250805_120001__sync__config.json",
    ];
    assert_eq!(names(&path), expected);
    let texts: Vec<_> = expected.iter().map(|name| read_backup(&path, name).unwrap()).collect();
    assert_eq!(texts, ["4", "3", "2", "1"]);
}

#[test]
fn the_newest_hundred_are_kept() {
    let (_folder, path) = place();
    for number in 0..=103 {
        replace(&path, &number.to_string(), "sync", at(1)).unwrap();
    }
    let names = names(&path);
    assert_eq!(names.len(), 100);
    assert_eq!(read_backup(&path, &names[0]).unwrap(), "102");
    assert_eq!(read_backup(&path, &names[99]).unwrap(), "3");
}

#[test]
fn no_more_than_fifty_megabytes_are_kept_but_always_the_newest() {
    let (_folder, path) = place();
    let large = |letter: &str| letter.repeat(20 * 1024 * 1024);
    for (second, letter) in ["a", "b", "c", "d"].into_iter().enumerate() {
        replace(&path, &large(letter), "sync", at(second as u32)).unwrap();
    }
    assert_eq!(names(&path).len(), 2);
    replace(&path, &"e".repeat(51 * 1024 * 1024), "sync", at(10)).unwrap();
    replace(&path, "f", "sync", at(11)).unwrap();
    assert_eq!(names(&path), ["20250805_120011__sync__config.json"]);
}

#[test]
fn names_are_checked_before_anything_is_touched() {
    let (folder, path) = place();
    replace(&path, "one", "sync", at(1)).unwrap();
    fs::write(folder.path().join("20250805_120000__x__config.json"), "outside").unwrap();
    for name in [
        "",
        "..",
        "../config.json",
        "../../20250805_120000__x__config.json",
        "/etc/passwd",
        "a\\b",
        "20250805_120000__x__config.json\0",
        "20250805_120000__x\n__config.json",
    ] {
        assert!(
            matches!(read_backup(&path, name), Err(BackupError::InvalidName)),
            "{name}"
        );
        assert!(
            matches!(delete_backup(&path, name), Err(BackupError::InvalidName)),
            "{name}"
        );
    }
    let backups = path.with_file_name("backups");
    fs::create_dir(&backups).unwrap();
    fs::write(backups.join("notes.txt"), "mine").unwrap();
    for name in ["notes.txt", "20250805_120000__x__config.json", "config.json"] {
        assert!(matches!(read_backup(&path, name), Err(BackupError::NotFound)), "{name}");
        assert!(
            matches!(delete_backup(&path, name), Err(BackupError::NotFound)),
            "{name}"
        );
    }
    assert!(backups.join("notes.txt").exists());
}

#[test]
fn a_backup_is_deleted_once() {
    let (_folder, path) = place();
    replace(&path, "one", "sync", at(1)).unwrap();
    let name = saved_as(replace(&path, "two", "sync", at(2)).unwrap()).unwrap();
    delete_backup(&path, &name).unwrap();
    assert!(matches!(delete_backup(&path, &name), Err(BackupError::NotFound)));
    assert_eq!(names(&path), [""; 0]);
}

#[test]
fn nothing_but_plain_files_are_backups() {
    let (folder, path) = place();
    replace(&path, "one", "sync", at(1)).unwrap();
    let backups = path.with_file_name("backups");
    fs::create_dir(&backups).unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let (link, directory, fifo) = (
        "20250805_120000__link__config.json",
        "20250805_120000__folder__config.json",
        "20250805_120000__fifo__config.json",
    );
    symlink(&secret, backups.join(link)).unwrap();
    fs::create_dir(backups.join(directory)).unwrap();
    nix::unistd::mkfifo(&backups.join(fifo), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(names(&path), [""; 0]);
    for name in [link, directory, fifo] {
        assert!(matches!(read_backup(&path, name), Err(BackupError::NotFound)), "{name}");
        assert!(
            matches!(delete_backup(&path, name), Err(BackupError::NotFound)),
            "{name}"
        );
        assert!(fs::symlink_metadata(backups.join(name)).is_ok());
    }
}

#[test]
fn a_link_in_the_place_of_the_file_is_followed() {
    let (folder, path) = place();
    let real = folder.path().join("elsewhere.json");
    fs::write(&real, "one").unwrap();
    make_folder(folder_of(&path)).unwrap();
    symlink(&real, &path).unwrap();
    replace(&path, "two", "sync", at(1)).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "two");
    assert_eq!(names(&path).len(), 1);
}

#[test]
fn what_is_no_text_is_saved_all_the_same() {
    let (_folder, path) = place();
    make_folder(folder_of(&path)).unwrap();
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(read(&path).is_err());
    let name = saved_as(replace(&path, "one", "sync", at(1)).unwrap()).unwrap();
    assert_eq!(
        fs::read(path.with_file_name("backups").join(name)).unwrap(),
        [0xff, 0xfe]
    );
}

#[test]
fn what_a_killed_writer_left_goes_and_a_refusal_leaves_the_file() {
    let (_folder, path) = place();
    replace(&path, "one", "sync", at(1)).unwrap();
    let left = path.with_file_name(format!("{UNFINISHED}abc"));
    fs::write(&left, "half").unwrap();
    // A file where the folder should be: nothing can be saved, so nothing is replaced.
    let backups = path.with_file_name("backups");
    fs::write(&backups, "").unwrap();
    let error = replace(&path, "two", "sync", at(2)).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot write the core's configuration"),
        "{error}"
    );
    assert_eq!(read(&path).unwrap().as_deref(), Some("one"));
    fs::remove_file(&backups).unwrap();
    replace(&path, "two", "sync", at(2)).unwrap();
    assert!(!left.exists());
}

#[test]
fn the_present_file_is_saved_without_being_replaced() {
    let (_folder, path) = place();
    assert_eq!(save(&path, "pre_restore", at(1)).unwrap(), None);
    replace(&path, "one", "sync", at(1)).unwrap();
    let name = save(&path, "pre_restore", at(2)).unwrap().unwrap();
    assert_eq!(name, "20250805_120002__pre_restore__config.json");
    assert_eq!(read_backup(&path, &name).unwrap(), "one");
    assert_eq!(read(&path).unwrap().as_deref(), Some("one"));
}

#[test]
fn a_trial_is_private_goes_when_it_is_over_and_is_not_forgotten() {
    let (_folder, path) = place();
    let trial = Trial::write(&path, "tried").unwrap();
    let tried = trial.path().to_owned();
    assert_eq!(fs::read_to_string(&tried).unwrap(), "tried");
    assert_eq!(tried.parent(), path.parent());
    assert_eq!(mode(&tried), 0o600);
    replace(&path, "one", "sync", at(1)).unwrap();
    assert!(tried.exists(), "one that is going on is left alone");
    let forgotten = tried.with_file_name(".trial-forgotten.json");
    fs::write(&forgotten, "of an agent that was killed").unwrap();
    replace(&path, "two", "sync", at(2)).unwrap();
    assert!(tried.exists() && !forgotten.exists());
    fs::write(&forgotten, "of another one").unwrap();
    remove_left_behind(&path);
    assert!(tried.exists() && !forgotten.exists());
    drop(trial);
    assert!(!tried.exists());
    let trial = Trial::write(&path, "tried").unwrap();
    let tried = trial.path().to_owned();
    drop(trial);
    assert!(!tried.exists());
}

#[test]
fn the_file_stays_its_owner_s() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("left out: only root can give a file away");
        return;
    }
    let (_folder, path) = place();
    replace(&path, "one", "sync", at(1)).unwrap();
    std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).unwrap();
    replace(&path, "two", "sync", at(2)).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), mode(&path)), (65_534, 65_534, 0o600));
}
