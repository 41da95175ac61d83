//! A real terminal with a program in it: tmux, which shows what a person would see and types what one would.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::{command, wait};

/// The whole terminal is the program's.
const SETTINGS: &str = "set -g status off\nset -g default-terminal screen-256color\n";

/// A terminal, closed with everything in it when dropped.
#[derive(Debug)]
pub struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// A terminal of so many columns and lines on `host` with a command in it: the words, the folder and the variables of
    /// `program`. When the program ends, the terminal stays and shows what is typed, as one does that is well.
    ///
    /// The terminal's settings before and after the program, and its exit status, are kept.
    pub fn open(host: &Namespace, size: (u16, u16), program: &Command) -> Result<Self> {
        let terminal = Self {
            folder: tempfile::tempdir()?,
        };
        let (script, settings) = (
            terminal.folder.path().join("script"),
            terminal.folder.path().join("settings"),
        );
        fs::write(&script, terminal.script(program)?)?;
        fs::write(&settings, SETTINGS)?;
        let shown = format!("sh {}", quoted(&script.display().to_string()));
        let (width, height) = (size.0.to_string(), size.1.to_string());
        let mut tmux = terminal.tmux();
        tmux.arg("-u").arg("-f").arg(&settings);
        tmux.args(["new-session", "-d", "-x", &width, "-y", &height]).arg(shown);
        tmux.env("LC_ALL", "C.UTF-8").env_remove("TMUX").env_remove("NO_COLOR");
        host.enter(|| command::output(&mut tmux))?;
        Ok(terminal)
    }

    /// The lines on the screen, without the spaces at their ends.
    pub fn screen(&self) -> Result<Vec<String>> {
        let shown = command::output(self.tmux().args(["capture-pane", "-p"]))?;
        Ok(shown.lines().map(|line| line.trim_end().to_owned()).collect())
    }

    /// The same with the sequences for colours and attributes.
    pub fn coloured_screen(&self) -> Result<String> {
        command::output(self.tmux().args(["capture-pane", "-p", "-e"]))
    }

    /// Waits until the screen is as `is_so` wants it, and gives it; a failure shows what is on it instead.
    pub fn wait_for(&self, what: &str, mut is_so: impl FnMut(&[String]) -> bool) -> Result<Vec<String>> {
        let mut last = Vec::new();
        let waited = wait::until(what, || {
            last = self.screen()?;
            Ok(is_so(&last))
        });
        waited.with_context(|| format!("the screen shows\n{}", last.join("\n")))?;
        Ok(last)
    }

    /// Waits until a text is on the screen.
    pub fn wait_for_text(&self, text: &str) -> Result<Vec<String>> {
        self.wait_for(text, |screen| screen.iter().any(|line| line.contains(text)))
    }

    /// Types keys, as tmux names them: `q`, `Enter`, `Escape`, `C-c`.
    pub fn press(&self, keys: &[&str]) -> Result<()> {
        command::output(self.tmux().arg("send-keys").args(keys)).map(drop)
    }

    /// Types a text.
    pub fn write(&self, text: &str) -> Result<()> {
        command::output(self.tmux().args(["send-keys", "-l", text])).map(drop)
    }

    /// Makes it as large as this.
    pub fn resize(&self, columns: u16, lines: u16) -> Result<()> {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        command::output(self.tmux().args(["resize-window", "-x", &columns, "-y", &lines])).map(drop)
    }

    /// Whether it shows the screen that programs draw on, not the one that they write lines to.
    pub fn is_drawn_on(&self) -> Result<bool> {
        self.is("alternate_on")
    }

    /// Whether its cursor shows.
    pub fn has_cursor(&self) -> Result<bool> {
        self.is("cursor_flag")
    }

    /// The process in it: the program while it runs.
    pub fn process_id(&self) -> Result<i32> {
        let path = self.folder.path().join("process");
        let text = wait::until_some("the program in the terminal runs", || {
            Ok(fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n')))
        })?;
        Ok(text.trim().parse()?)
    }

    /// Waits until the program has ended; gives its exit status as a shell has it, and the terminal's settings before and
    /// after.
    pub fn ended(&self) -> Result<Ended> {
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).ok();
        wait::until_some("the program in the terminal ends", || {
            let after = read("after").filter(|text| text.ends_with('\n'));
            Ok(match (read("status"), read("before"), after) {
                (Some(status), Some(before), Some(after)) => Some(Ended {
                    status: status.trim().parse()?,
                    before,
                    after,
                }),
                _ => None,
            })
        })
    }

    fn is(&self, variable: &str) -> Result<bool> {
        let format = format!("#{{{variable}}}");
        Ok(command::output(self.tmux().args(["display-message", "-p", &format]))?.trim() == "1")
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(self.folder.path().join("socket"));
        tmux
    }

    /// Runs the program as a shell does, and then copies what is typed.
    fn script(&self, program: &Command) -> Result<String> {
        let in_folder = |name: &str| quoted(&self.folder.path().join(name).display().to_string());
        let mut words = vec![text(program.get_program())?];
        for argument in program.get_args() {
            words.push(text(argument)?);
        }
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let mut lines = Vec::new();
        if let Some(folder) = program.get_current_dir() {
            lines.push(format!("cd {}", quoted(&folder.display().to_string())));
        }
        for (name, value) in program.get_envs() {
            lines.push(match value {
                Some(value) => format!("export {}={}", text(name)?, quoted(&text(value)?)),
                None => format!("unset {}", text(name)?),
            });
        }
        lines.push(format!("stty -g >{}", in_folder("before")));
        let own_id = format!("echo $$ >{}; exec \"$@\"", in_folder("process"));
        lines.push(format!("sh -c {} sh {}", quoted(&own_id), words.join(" ")));
        lines.push(format!("echo $? >{}", in_folder("status")));
        lines.push(format!("stty -g >{}", in_folder("after")));
        lines.push("exec cat\n".to_owned());
        Ok(lines.join("\n"))
    }
}

/// How a program in a terminal has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status, as a shell has it: 128 and the signal's number where one has ended it.
    pub status: i32,
    /// The terminal's settings before it began, as `stty -g` has them.
    pub before: String,
    /// The same when it had ended.
    pub after: String,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that never came to be has nobody to end.
        let _ = self.tmux().arg("kill-server").output();
    }
}

fn text(word: &std::ffi::OsStr) -> Result<String> {
    Ok(word.to_str().context("a word that is no text")?.to_owned())
}

/// A word that a shell takes as it stands.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
