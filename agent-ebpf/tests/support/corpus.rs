//! What fuzzing left behind: a corpus that reaches all of the parser, and the inputs that once broke a rule.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::fuzz_input::{FuzzPacket, decode};

/// An input of the corpus, by its file's name.
pub struct Input {
    pub name: String,
    pub packets: Vec<FuzzPacket>,
}

const CORPUS: &str = "fuzz/corpus/parser";
const REGRESSIONS: &str = "fuzz/regressions/parser";

/// Every input, in the order of their names; an error when there is none.
pub fn corpus() -> Result<Vec<Input>> {
    let mut inputs = inputs_in(CORPUS)?;
    inputs.extend(inputs_in(REGRESSIONS)?);
    Ok(inputs)
}

fn inputs_in(folder: &str) -> Result<Vec<Input>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        inputs.push(Input {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            packets: decode(&bytes),
        });
    }
    ensure!(
        !inputs.is_empty(),
        "{} is empty: run `cargo xtask fuzz --keep`",
        folder.display()
    );
    inputs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(inputs)
}
