//! The ledger's file, read as anybody can who has it: with the SQLite of Python.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// Opens the file for reading alone and prints the rows of one query.
const SCRIPT: &str = "import json, sqlite3, sys\n\
                      ledger = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True)\n\
                      print(json.dumps(ledger.execute(sys.argv[2]).fetchall()))";

/// The rows that a query finds in the ledger of a data folder.
pub fn query(data_folder: &Path, sql: &str) -> Result<Vec<Vec<Value>>> {
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]).arg(data_folder.join("ledger.db")).arg(sql);
    let rows = command::output(&mut python)?;
    serde_json::from_str(&rows).with_context(|| format!("{sql}: {rows}"))
}
