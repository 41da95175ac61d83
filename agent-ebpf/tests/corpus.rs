//! The fuzzer's corpus again, through the same checks, without the fuzzer: what it once found stays covered wherever
//! `cargo test` runs.

mod support;

use anyhow::{Context, Result, anyhow, ensure};

use support::corpus::corpus;
use support::frame::Frame;
use support::fuzz_input::{FuzzPacket, decode, encode};
use support::invariants::check_next;
use support::odd_packets::odd_packets;
use support::world::World;

#[test]
fn the_corpus_breaks_no_rule() -> Result<()> {
    for input in corpus()? {
        let world = World::default();
        for packet in &input.packets {
            check_next(&world, packet)
                .map_err(|broken| anyhow!("{broken}: {packet:02x?}"))
                .with_context(|| input.name.clone())?;
        }
    }
    Ok(())
}

/// The same packets with every reader that ends early, from one that reaches nothing on.
#[test]
fn the_corpus_breaks_no_rule_wherever_a_reader_ends() -> Result<()> {
    for input in corpus()? {
        let world = World::default();
        for packet in input.packets {
            for readable_bytes in 0..packet.frame.bytes.len().min(200) {
                let packet = FuzzPacket {
                    readable_bytes,
                    frame: packet.frame.clone(),
                };
                check_next(&world, &packet)
                    .map_err(|broken| anyhow!("{broken}: {packet:02x?}"))
                    .with_context(|| input.name.clone())?;
            }
        }
    }
    Ok(())
}

#[test]
fn inputs_hold_the_packets_that_were_put_in() -> Result<()> {
    let packets = odd_packets()
        .into_iter()
        .zip(0..)
        .map(|(odd, readable_bytes)| FuzzPacket {
            frame: Frame {
                direction: odd.direction,
                link: odd.link,
                gso_size_bytes: odd.gso_size_bytes,
                bytes: odd.bytes,
            },
            readable_bytes,
        });
    for packet in packets {
        let input = encode(std::slice::from_ref(&packet)).context("an odd packet does not fit the format")?;
        let decoded = decode(&input);
        ensure!(decoded == [packet.clone()], "{packet:02x?} became {decoded:02x?}");
    }
    Ok(())
}
