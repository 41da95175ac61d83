//! What must hold for any packet at all, whoever thought of it: the fuzzer, or the corpus that it left behind.

use portmeter_ebpf::layout::{FragmentKey, UnattributedReason};
use portmeter_ebpf::packet::{FragmentSource, Lookups, Outcome, Truncated, WireSize, examine};

use super::frame::Frame;
use super::fuzz_input::FuzzPacket;
use super::second_opinion::agrees_with_etherparse;
use super::world::{World, slot};

/// The shortest IP header: less than this stands for no packet.
const COUNTED_BYTES_MIN: u64 = 20;

/// Lets the next packet of a sequence arrive and checks everything about it; an error says what is broken.
pub fn check_next(world: &World, packet: &FuzzPacket) -> Result<Outcome, String> {
    let FuzzPacket { frame, readable_bytes } = packet;
    let partly = examine_partly(world, frame, *readable_bytes);
    let fully = examine(&frame.packet(), world, frame.direction, frame.link);
    let outcome = frame.classify(world);
    if !matches!(partly, None | Some(Err(Truncated))) && partly != Some(Ok(outcome)) {
        return Err(format!(
            "a reader that reaches {readable_bytes} bytes says {partly:?}, one that reaches all says {outcome:?}"
        ));
    }
    match fully {
        Ok(examined) if examined != outcome => {
            return Err(format!("examined as {examined:?}, classified as {outcome:?}"));
        }
        Err(Truncated) if !is_cut_short(outcome) => {
            return Err(format!("classified as {outcome:?} without everything being there"));
        }
        _ => {}
    }
    is_possible(frame, outcome)?;
    agrees_with_etherparse(&frame.bytes, frame.gso_size_bytes, frame.direction, frame.link)?;
    Ok(outcome)
}

/// The answer of a reader that ends before the packet does; `None` where it would not.
fn examine_partly(world: &World, frame: &Frame, readable_bytes: usize) -> Option<Result<Outcome, Truncated>> {
    let partial = frame.packet().readable_to(readable_bytes);
    (readable_bytes < frame.bytes.len())
        .then(|| examine(&partial, &WithoutFragments(world), frame.direction, frame.link))
}

fn is_cut_short(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Ignored => true,
        Outcome::Counted { .. } => false,
        Outcome::Unattributed { reason, size } => reason == UnattributedReason::Malformed && size.packets == 1,
    }
}

/// No outcome says more than the packet's bytes can stand for.
fn is_possible(frame: &Frame, outcome: Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Ignored => return Ok(()),
        Outcome::Counted {
            slot: counted_slot,
            port,
            size,
        } => {
            if slot(port) != Some(counted_slot) {
                return Err(format!(
                    "counted for port {port}, which does not have slot {counted_slot}"
                ));
            }
            if size.bytes < COUNTED_BYTES_MIN * size.packets {
                return Err(format!("{size:?} has no room for the headers"));
            }
        }
        Outcome::Unattributed { reason, .. } => {
            if matches!(
                reason,
                UnattributedReason::SlotMissing | UnattributedReason::FragmentAged
            ) {
                return Err(format!(
                    "{reason:?} is for the maps and the clock to say, not for the parser"
                ));
            }
        }
    }
    let (Outcome::Counted { size, .. } | Outcome::Unattributed { size, .. }) = outcome else {
        return Ok(());
    };
    is_size_possible(frame, size)
}

fn is_size_possible(frame: &Frame, size: WireSize) -> Result<(), String> {
    let frame_bytes = frame.bytes.len() as u64;
    let gso_size_bytes = u64::from(frame.gso_size_bytes);
    let packets_max = match gso_size_bytes {
        0 => 1,
        _ => frame_bytes.div_ceil(gso_size_bytes).max(1),
    };
    // Each packet but the last has a whole segment of payload, and the frame's headers again.
    let headers_bytes_max = frame_bytes.saturating_sub((size.packets.max(1) - 1) * gso_size_bytes);
    let bytes_max = frame_bytes + (size.packets.max(1) - 1) * headers_bytes_max;
    if size.packets == 0 || size.packets > packets_max || size.bytes > bytes_max {
        return Err(format!(
            "{size:?} from {frame_bytes} bytes in segments of {gso_size_bytes}: at most {packets_max} packets and \
             {bytes_max} bytes"
        ));
    }
    Ok(())
}

/// Whoever does not reach everything must leave fragments alone: another reader will see the same packet again.
struct WithoutFragments<'world>(&'world World);

impl Lookups for WithoutFragments<'_> {
    fn port_slot(&self, port: u16) -> u32 {
        self.0.port_slot(port)
    }

    fn is_local_ipv4(&self, address: [u8; 4]) -> bool {
        self.0.is_local_ipv4(address)
    }

    fn is_local_ipv6(&self, address: [u64; 2]) -> bool {
        self.0.is_local_ipv6(address)
    }

    fn fragment_source(&self, key: &FragmentKey) -> FragmentSource {
        panic!("a reader that ends early asked for {key:?}")
    }

    fn remember_fragment(&self, key: &FragmentKey, _entry: u32, _port: u16) {
        panic!("a reader that ends early remembered {key:?}")
    }
}
