//! Pages whose commands are run as they stand.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::agent::Agent;
use crate::command;

/// Stands between what two blocks wrote.
const MARK: &str = "=== end of a block ===";

/// The page's blocks of one language, in order.
pub fn blocks<'page>(page: &'page str, language: &str) -> Vec<&'page str> {
    let fence = format!("```{language}\n");
    let blocks = page.split(fence.as_str()).skip(1);
    blocks.filter_map(|block| block.split("```").next()).collect()
}

/// The page's blocks of one language with what stands beside it, for example where they are to be run; in order.
pub fn blocks_with_place<'page>(page: &'page str, language: &str) -> Vec<(&'page str, &'page str)> {
    let fence = format!("```{language}");
    // What comes before the first fence ends in no block.
    let parts = page.split(fence.as_str()).skip(1);
    let block = |part: &'page str| {
        let (place, rest) = part.split_once('\n')?;
        Some((place.trim(), rest.split("```").next()?))
    };
    parts.filter_map(block).collect()
}

/// Text of a page with an agent's folders in place of the usual ones.
pub fn about(agent: &Agent<'_>, text: &str) -> String {
    let folders = [
        ("/sys/fs/bpf/portmeter/default", agent.pin_folder()),
        ("/run/portmeter/default", agent.run_folder()),
        ("/var/lib/portmeter", agent.data_folder()),
    ];
    folders.iter().fold(text.to_owned(), |text, (usual, folder)| {
        text.replace(usual, &folder.display().to_string())
    })
}

/// Runs blocks in one shell, as a reader would type them in `folder`, that stops at the first failure; gives what each of
/// them wrote. Programs are looked for in `programs` first.
pub fn run_in_one_shell(
    agent: &Agent<'_>,
    blocks: &[&str],
    folder: &Path,
    programs: Option<&Path>,
) -> Result<Vec<String>> {
    let script = script(blocks);
    let mut shell = Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c", &about(agent, &script)])
        .current_dir(folder)
        .env("PATH", path_with(programs)?);
    let said = agent.host().enter(|| command::output(&mut shell))?;
    said_by_each(&said, blocks.len())
}

/// Blocks as one script, whose output [`said_by_each`] takes apart.
pub fn script(blocks: &[&str]) -> String {
    blocks.iter().flat_map(|block| [block, "echo '", MARK, "'\n"]).collect()
}

/// What each of so many blocks has written.
pub fn said_by_each(output: &str, count: usize) -> Result<Vec<String>> {
    let mut said: Vec<String> = output.split(&format!("{MARK}\n")).map(str::to_owned).collect();
    let rest = said.pop().unwrap_or_default();
    ensure!(rest.is_empty() && said.len() == count, "{said:#?}\n{rest}");
    Ok(said)
}

fn path_with(programs: Option<&Path>) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = programs.map(Path::to_path_buf).into_iter();
    Ok(env::join_paths(folders.chain(env::split_paths(&path)))?)
}
