//! A tap device that hands the kernel packets of a chosen shape: how much of one lies in its directly accessible part.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::libc::{self, c_int, c_short, ifreq};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `struct virtio_net_hdr`, which precedes every packet (VIRTIO 1.2, section 5.1.6).
const VNET_HEADER_BYTES: usize = 10;
/// Offset of `hdr_len`: how much of the packet to keep together.
const VNET_HEADER_LENGTH_OFFSET: usize = 2;

nix::ioctl_write_ptr_bad!(
    set_interface,
    nix::request_code_write!(b'T', 202, size_of::<c_int>()),
    ifreq
);
nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, ifreq);

/// A tap device, up, in the network namespace of the thread that made it.
pub struct Tap {
    file: File,
}

impl Tap {
    #[allow(unsafe_code, reason = "tap devices are made by ioctl")]
    pub fn new(name: &str) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .context("opening /dev/net/tun")?;
        let tap = request(name, libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR);
        // SAFETY: the request is a complete `struct ifreq`, and the kernel keeps no reference to it.
        unsafe { set_interface(file.as_raw_fd(), &raw const tap) }.with_context(|| format!("making {name}"))?;
        let up = request(name, libc::IFF_UP);
        let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None)?;
        // SAFETY: as above.
        unsafe { set_flags(control.as_raw_fd(), &raw const up) }.with_context(|| format!("setting {name} up"))?;
        Ok(Self { file })
    }

    /// Lets a packet arrive of which only `direct_bytes` can be read directly. The kernel splits only packets that
    /// are longer than a page.
    pub fn receive(&mut self, packet: &[u8], direct_bytes: u16) -> Result<()> {
        let mut message = vec![0; VNET_HEADER_BYTES];
        message[VNET_HEADER_LENGTH_OFFSET..][..2].copy_from_slice(&direct_bytes.to_le_bytes());
        message.extend(packet);
        self.file.write_all(&message).context("writing to the tap device")
    }
}

#[allow(unsafe_code, reason = "the structure is all zeroes where it is not set")]
fn request(name: &str, flags: c_int) -> ifreq {
    // SAFETY: plain numbers, for which zero is a value.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as _;
    }
    request.ifr_ifru.ifru_flags = flags as c_short;
    request
}
