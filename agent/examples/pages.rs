//! Writes what a package has beside the program: manual pages of every command and of the configuration file, completions
//! for shells. All of it is made from what the program itself says, so nothing of it can be out of date.
//!
//! Called by `cargo xtask deb`, with the folder to write to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};
use clap_mangen::roff::{Roff, bold, italic, roman};
use portmeter::cli::Arguments;
use portmeter_daemon::configuration::DEFAULT_FILE;
use portmeter_daemon::configuration::reference::{Effect, SECTIONS, SETTINGS, Setting, Value};

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args_os()
        .nth(1)
        .context("name the folder to write to")?
        .into();
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    clap_mangen::generate_to(Arguments::command(), &man).context("writing the commands' pages")?;
    configuration_page(&man.join("portmeter.toml.5")).context("writing the configuration's page")?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Arguments::command(), "portmeter", &completions).context("writing completions")?;
    }
    Ok(())
}

fn configuration_page(path: &Path) -> Result<()> {
    let mut page = Roff::default();
    let source = format!("portmeter {}", portmeter::VERSION);
    page.control("TH", ["portmeter.toml", "5", "", &source, "Portmeter"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!(
        "portmeter.toml - Portmeter's configuration, {DEFAULT_FILE}"
    ))]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        roman("It runs without any. Flags win over environment, environment over this file, file over defaults. Every value \
               is also an environment variable "),
        italic("PORTMETER_<SECTION>__<NAME>"),
        roman(", a list there separated by commas. "),
        bold("portmeter check-config"),
        roman(" says what is wrong, with line and remedy; SIGHUP, or "),
        bold("systemctl reload portmeter"),
        roman(", takes over what is marked so, and everything else waits for the next start."),
    ]);
    for (section, about) in SECTIONS {
        page.control("SH", [format!("[{section}]").as_str()]);
        page.text([roman(about)]);
        for setting in SETTINGS.iter().filter(|setting| setting.section() == section) {
            describe(setting, &mut page);
        }
    }
    let mut text = Vec::new();
    page.to_writer(&mut text)?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn describe(setting: &Setting, page: &mut Roff) {
    page.control("TP", []);
    let value = match setting.value {
        Value::Default(text) => format!(" = {text}"),
        Value::Unset { example, .. } => format!(" = {example} (example)"),
    };
    page.text([bold(setting.name()), roman(value)]);
    let mut said = vec![roman(setting.meaning)];
    if let Value::Unset { otherwise, .. } = setting.value {
        said.push(roman(format!(" Unset: {otherwise}.")));
    }
    if setting.effect == Effect::Reload {
        said.push(roman(" Taken over by a reload."));
    }
    page.text(said);
}
