//! What is shown of a finding: a line without control characters and without a path of the file system. Who may see paths
//! asks `portmeter doctor` on the host.

use std::path::PathBuf;

/// What stands for a path that has no name of its own.
const A_PATH: &str = "<path>";

/// Most characters of a name that is told back.
const QUOTED_CHARACTERS_MAX: usize = 64;

/// A sentence as one line, with paths called by what they are.
pub(super) fn line(text: &str, places: &[(PathBuf, &'static str)]) -> String {
    let mut places: Vec<(String, &str)> = places
        .iter()
        .map(|(path, name)| (path.display().to_string(), *name))
        .filter(|(path, _)| path.len() > 1)
        .collect();
    // The longest first: a folder is the beginning of its files.
    places.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    let mut text: String = text
        .chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect();
    for (path, name) in places {
        text = text.replace(&path, name);
    }
    without_paths(&text)
}

/// A name from outside, fit to be told back.
pub(super) fn quoted(name: &str) -> String {
    let shown: String = name.chars().take(QUOTED_CHARACTERS_MAX).collect();
    format!("\"{}\"", shown.escape_debug())
}

/// Every word with a slash in it may be a path.
fn without_paths(text: &str) -> String {
    let is_between = |character: char| character.is_whitespace() || "\"'`()[]<>,;=".contains(character);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if is_between(first) {
            shown.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(is_between).unwrap_or(rest.len());
        let word = &rest[..end];
        let bare = word.trim_end_matches(['.', ':']);
        if bare.contains('/') {
            shown.push_str(A_PATH);
            shown.push_str(&word[bare.len()..]);
        } else {
            shown.push_str(word);
        }
        rest = &rest[end..];
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_called_by_what_they_are() {
        let places = [
            (PathBuf::from("/srv/my data"), "<the data folder>"),
            (PathBuf::from("/srv/my data/ledger.db"), "<a file of the data folder>"),
            (PathBuf::from("/"), "<root>"),
        ];
        for (text, expected) in [
            (
                "/srv/my data/ledger.db is whole",
                "<a file of the data folder> is whole",
            ),
            (
                "12 MiB are free for /srv/my data",
                "12 MiB are free for <the data folder>",
            ),
            ("see /srv/my data/other.", "see <the data folder><path>."),
            (
                "cgroup v2 is mounted at /sys/fs/cgroup",
                "cgroup v2 is mounted at <path>",
            ),
            (
                "`portmeter prepare --data-dir ./data`",
                "`portmeter prepare --data-dir <path>`",
            ),
            ("(keep it in /etc/sysctl.d): now", "(keep it in <path>): now"),
            ("file=/etc/x, \"a/b\"; c", "file=<path>, \"<path>\"; c"),
            ("nothing: 3.5 of 10001-10100", "nothing: 3.5 of 10001-10100"),
            ("a\nb\u{1b}[2J", "a b [2J"),
            ("", ""),
        ] {
            assert_eq!(line(text, &places), expected);
        }
    }

    #[test]
    fn a_name_is_told_back_in_part() {
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
        assert_eq!(quoted(&"x".repeat(1000)).len(), QUOTED_CHARACTERS_MAX + 2);
    }
}
