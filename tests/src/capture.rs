//! The independent truth: tcpdump on another host's interface, counted as [`crate::packet`] has it.
//!
//! The interface must have its offloads off, so that each captured packet is one packet of the wire. Devices without a
//! link header (WireGuard, tun) can be captured too.
//!
//! The same ring carries every packet of the interface in the order it passed, so a marker that is sent when the
//! traffic is over and then found in the file says that everything before it is in the file too.

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use pcap_parser::pcap::{parse_pcap_frame, parse_pcap_header};
use pcap_parser::{Linktype, nom};
use tempfile::TempDir;

use crate::command;
use crate::count::{Count, Counts};
use crate::namespace::Namespace;
use crate::packet::{Packet, Tally};
use crate::wait;

/// The discard port: markers go there, and no story counts it.
const MARKER_PORT: u16 = 9;

/// Enough of each packet for every header a story sends.
const SNAPSHOT_LENGTH: &str = "160";

/// Kernel buffer in KiB: with these short snapshots, room for a story's packets even if tcpdump never ran.
const BUFFER_KIB: &str = "65536";

/// A running capture and what it has counted so far.
#[derive(Debug)]
pub struct Capture<'lab> {
    marker_host: &'lab Namespace,
    tcpdump: Child,
    folder: TempDir,
    reader: PcapReader,
    tally: Tally,
    longest_frame_bytes: u32,
    markers_sent: u64,
    markers_seen: u64,
}

impl<'lab> Capture<'lab> {
    /// Starts capturing on `interface` of `host` and returns when it does. `server` are the counted host's addresses:
    /// they tell rx from tx.
    pub fn start(host: &'lab Namespace, interface: &str, server: &[IpAddr]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("packets.pcap");
        let log = folder.path().join("tcpdump.log");
        let tcpdump = host
            .spawn(
                Command::new("tcpdump")
                    .args(["-i", interface, "-n", "-s", SNAPSHOT_LENGTH, "-B", BUFFER_KIB])
                    // Every packet is in the file as soon as it is in the ring; the user stays root to write there.
                    .args(["--immediate-mode", "-U", "-Z", "root", "-w"])
                    .arg(&file)
                    .stdin(Stdio::null())
                    .stderr(File::create(&log)?),
            )
            .context("starting tcpdump")?;
        let mut capture = Self {
            marker_host: host,
            tcpdump,
            folder,
            reader: PcapReader::default(),
            tally: Tally::new(server),
            longest_frame_bytes: 0,
            markers_sent: 0,
            markers_seen: 0,
        };
        wait::until("tcpdump listens", || {
            let ended = capture.tcpdump.try_wait()?;
            let said = fs::read_to_string(&log)?;
            ensure!(ended.is_none(), "tcpdump ended: {said}");
            Ok(said.contains("listening on"))
        })?;
        capture.reader.open(&file)?;
        Ok(capture)
    }

    /// Has `host` send the markers, for a capture that only listens.
    #[must_use]
    pub fn marked_by(mut self, host: &'lab Namespace) -> Self {
        self.marker_host = host;
        self
    }

    /// Everything that passed until now, by the server's port. Call it when the traffic is over: it sends a marker
    /// from the capturing host, or the one that marks for it, to `towards` and waits until it shows.
    pub fn counts(&mut self, towards: IpAddr) -> Result<Counts> {
        let marker = SocketAddr::new(towards, MARKER_PORT);
        self.marker_host
            .enter(|| send_marker(marker))
            .context("sending the capture's marker")?;
        self.markers_sent += 1;
        let sent = self.markers_sent;
        wait::until("the capture's marker", || {
            self.advance()?;
            Ok(self.markers_seen >= sent)
        })?;
        Ok(self.tally.counts().clone())
    }

    /// What has been captured so far, without waiting for what is on its way.
    pub fn counts_so_far(&mut self) -> Result<&Counts> {
        self.advance()?;
        Ok(self.tally.counts())
    }

    /// Later fragments without a first one before them, as far as the capture has been read.
    pub fn orphan_fragments(&self) -> Count {
        self.tally.orphans()
    }

    /// Length of the longest frame that has been read, link header included.
    pub fn longest_frame_bytes(&self) -> u32 {
        self.longest_frame_bytes
    }

    /// Ends the capture; fails if the kernel dropped a packet of it, because then it is no truth.
    pub fn finish(mut self, towards: IpAddr) -> Result<Counts> {
        let counts = self.counts(towards)?;
        command::signal(&self.tcpdump, Signal::SIGINT)?;
        let status = command::ended("tcpdump", &mut self.tcpdump)?;
        let said = fs::read_to_string(self.folder.path().join("tcpdump.log"))?;
        ensure!(status.success(), "tcpdump ended with {status}: {said}");
        ensure!(
            said.contains("\n0 packets dropped by kernel"),
            "the capture is not complete: {said}"
        );
        Ok(counts)
    }

    fn advance(&mut self) -> Result<()> {
        for frame in self.reader.next_frames()? {
            self.longest_frame_bytes = self.longest_frame_bytes.max(frame.length_bytes);
            let Some(packet) = frame.packet else {
                continue;
            };
            if packet.destination_port() == Some(MARKER_PORT) {
                self.markers_seen += 1;
            }
            self.tally.add(&packet);
        }
        Ok(())
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        // It has ended already when the capture was finished; then both calls fail and that is fine.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

fn send_marker(towards: SocketAddr) -> std::io::Result<()> {
    let any: IpAddr = if towards.is_ipv4() {
        [0; 4].into()
    } else {
        [0; 16].into()
    };
    UdpSocket::bind((any, 0))?.send_to(&[0], towards)?;
    Ok(())
}

/// A captured frame.
#[derive(Debug)]
struct Frame {
    length_bytes: u32,
    /// What it carries, if that is TCP or UDP.
    packet: Option<Packet>,
}

/// What captured data begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Ethernet,
    /// The IP header itself.
    None,
}

impl Link {
    fn of(kind: Linktype) -> Result<Self> {
        match kind {
            Linktype::ETHERNET => Ok(Self::Ethernet),
            Linktype::RAW => Ok(Self::None),
            other => bail!("captures of link type {other:?} cannot be read"),
        }
    }
}

/// Reads a pcap file that is still being written.
#[derive(Debug, Default)]
struct PcapReader {
    file: Option<File>,
    /// Read, but not yet a whole record.
    pending: Vec<u8>,
    /// Known when the file's header has been read.
    link: Option<Link>,
}

impl PcapReader {
    fn open(&mut self, path: &Path) -> Result<()> {
        self.file = Some(File::open(path).with_context(|| format!("opening {}", path.display()))?);
        Ok(())
    }

    /// The frames that were added since the last call.
    fn next_frames(&mut self) -> Result<Vec<Frame>> {
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut self.pending)?;
        }
        let mut rest = self.pending.as_slice();
        let mut frames = Vec::new();
        let link = match self.link {
            Some(link) => link,
            None => {
                let Some((after, header)) = complete(parse_pcap_header(rest))? else {
                    return Ok(frames);
                };
                rest = after;
                *self.link.insert(Link::of(header.network)?)
            }
        };
        while let Some((after, record)) = complete(parse_pcap_frame(rest))? {
            frames.push(Frame {
                length_bytes: record.origlen,
                packet: match link {
                    Link::Ethernet => Packet::from_ethernet(record.data),
                    Link::None => Packet::from_ip(record.data),
                },
            });
            rest = after;
        }
        self.pending = rest.to_vec();
        Ok(frames)
    }
}

/// Takes a parser's result apart: a value, nothing yet, or a file that is none.
fn complete<I, T, E: std::fmt::Debug>(result: nom::IResult<I, T, E>) -> Result<Option<(I, T)>> {
    match result {
        Ok(parsed) => Ok(Some(parsed)),
        Err(nom::Err::Incomplete(_)) => Ok(None),
        Err(nom::Err::Error(error) | nom::Err::Failure(error)) => bail!("not a capture file: {error:?}"),
    }
}
