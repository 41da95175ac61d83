//! The table as an annotated example file and as Markdown.

use std::fmt::Write as _;

use super::{Effect, SECTIONS, SETTINGS, Setting, Value};

/// The width of a comment in the example file.
const WIDTH: usize = 98;

const HEAD: &str = "\
Portmeter's configuration. Every setting there is, with what it means; it runs without any of them.

A line such as `#listen = …` shows the default: take the # away and change it. One with (example) has no default. A value is \
also an environment variable, PORTMETER_<SECTION>__<NAME>, a list there separated by commas; flags win over environment over \
this file.

`portmeter check-config` says what is wrong, with line and remedy. `systemctl reload portmeter`, or SIGHUP, takes over what is \
marked [reload], without a break; everything else takes effect with the next start, which costs no byte either: the kernel \
counts on meanwhile.";

/// The annotated example file.
pub fn example_file() -> String {
    let mut text = comment(HEAD);
    for (section, about) in SECTIONS {
        let _ = write!(text, "\n[{section}]\n{}", comment(about));
        for setting in SETTINGS.iter().filter(|setting| setting.section() == section) {
            text.push('\n');
            text.push_str(&comment(&meaning(setting)));
            let _ = writeln!(text, "#{} = {}{}", setting.name(), setting.value.text(), mark(setting));
        }
    }
    text
}

fn meaning(setting: &Setting) -> String {
    let otherwise = match setting.value {
        Value::Default(_) => String::new(),
        Value::Unset { otherwise, .. } => format!(" Unset: {otherwise}."),
    };
    let reload = match setting.effect {
        Effect::Reload => " [reload]",
        Effect::Restart => "",
    };
    format!("{}{otherwise}{reload}", setting.meaning)
}

fn mark(setting: &Setting) -> &'static str {
    match setting.value {
        Value::Default(_) => "",
        Value::Unset { .. } => "  # (example)",
    }
}

/// Text as lines of a comment; an empty line stays one.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    for paragraph in text.split("\n\n") {
        if !lines.is_empty() {
            lines.push_str("#\n");
        }
        for line in wrap(paragraph) {
            let _ = writeln!(lines, "# {line}");
        }
    }
    lines
}

fn wrap(paragraph: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The settings as the documentation has them, a table for each section.
pub fn markdown() -> String {
    let mut text = String::new();
    for (section, about) in SECTIONS {
        let _ = write!(
            text,
            "## `[{section}]`\n\n{about}\n\n| setting | default | takes effect | meaning |\n|---|---|---|---|\n"
        );
        for setting in SETTINGS.iter().filter(|setting| setting.section() == section) {
            let value = match setting.value {
                Value::Default(value) => format!("`{value}`"),
                Value::Unset { otherwise, .. } => otherwise.to_owned(),
            };
            let effect = match setting.effect {
                Effect::Reload => "reload",
                Effect::Restart => "restart",
            };
            let meaning = match setting.value {
                Value::Default(_) => setting.meaning.to_owned(),
                Value::Unset { example, .. } => format!("{} For example `{example}`.", setting.meaning),
            };
            let _ = writeln!(text, "| `{}` | {value} | {effect} | {meaning} |", setting.name());
        }
        text.push('\n');
    }
    // The documentation goes on with a line of its own.
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
