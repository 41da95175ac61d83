//! `portmeter doctor`: shows what the doctor found, and says by the exit status whether anything is wrong.

use std::io::Write;
use std::process::exit;

use anyhow::{Context, Result};
use clap::Args;

use super::Settings;
use crate::doctor::{Finding, Report, Vantage, examine};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Write JSON: {"checks":[{"name","status","found","remedy"}],"is_healthy"}
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let report = match arguments.settings.load() {
        Ok(config) => examine(&config, Vantage::Outside).await,
        Err(error) => {
            // Without settings it is not known what to look at.
            let remedy = "correct it; `portmeter check-config` says the same";
            let findings = vec![Finding::error("configuration", super::sentence(&error), remedy)];
            Report { findings }
        }
    };
    let text = match arguments.json {
        true => report.to_json().context("the report cannot be written as JSON")?,
        false => report.to_string(),
    };
    // Whoever reads only the first lines (`| head`) closes the pipe early; the exit status tells all the same.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if !report.is_healthy() {
        // The report has said everything; an error's sentence would only say it again.
        exit(1);
    }
    Ok(())
}
