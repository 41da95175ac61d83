//! Writes what the fuzzer starts from into the folder named: the odd packets, packets drawn from recipes, and the
//! fragments of a datagram in sequence. Run by `cargo xtask fuzz`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use support::frame::Frame;
use support::fuzz_input::{FuzzPacket, PACKETS_MAX, encode};
use support::odd_packets::odd_packets;
use support::recipe::recipes;

const RECIPES: usize = 200;
/// Long payloads slow the fuzzer down and teach it nothing.
const PAYLOAD_BYTES_MAX: usize = 48;
/// What a typical driver leaves directly accessible.
const READABLE_BYTES: usize = 66;

fn main() -> Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).context("name the folder to write the seeds to")?);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for (index, packets) in seeds()?.into_iter().enumerate() {
        let path = folder.join(format!("seed-{index:04}"));
        let input = encode(&packets).context("a seed does not fit the format of inputs")?;
        fs::write(&path, input).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Each packet alone, and several in a row.
fn seeds() -> Result<Vec<Vec<FuzzPacket>>> {
    let odd = odd_packets().into_iter().map(|odd| Frame {
        direction: odd.direction,
        link: odd.link,
        gso_size_bytes: odd.gso_size_bytes,
        bytes: odd.bytes,
    });
    let frames: Vec<_> = odd.map(Ok).chain(drawn()).collect::<Result<_>>()?;
    let packets: Vec<_> = frames
        .into_iter()
        .map(|frame| FuzzPacket {
            frame,
            readable_bytes: READABLE_BYTES,
        })
        .collect();
    let alone = packets.iter().map(|packet| vec![packet.clone()]);
    let in_a_row = packets.chunks(PACKETS_MAX).map(<[_]>::to_vec);
    Ok(alone.chain(in_a_row).collect())
}

fn drawn() -> impl Iterator<Item = Result<Frame>> {
    let mut runner = TestRunner::deterministic();
    (0..RECIPES).map(move |_| {
        let tree = recipes().new_tree(&mut runner);
        let mut recipe = tree
            .map_err(|reason| anyhow::anyhow!("drawing a packet: {reason}"))?
            .current();
        recipe.payload_bytes = recipe.payload_bytes.min(PAYLOAD_BYTES_MAX);
        Ok(Frame {
            direction: recipe.direction,
            link: recipe.link,
            gso_size_bytes: recipe.gso_size_bytes,
            bytes: recipe.bytes(),
        })
    })
}
