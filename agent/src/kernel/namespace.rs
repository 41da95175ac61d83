//! Which network namespace this process is in.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// The cookie of this thread's network namespace, unique within a boot (`SO_NETNS_COOKIE`, Linux 5.14); the inode
/// of the namespace where the kernel is older.
pub(super) fn cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0"));
    if let Ok(socket) = socket {
        let mut cookie: u64 = 0;
        let mut length: nix::libc::socklen_t = 8;
        // SAFETY: the option writes at most `length` bytes to the eight that `cookie` has.
        let result = unsafe {
            nix::libc::getsockopt(
                socket.as_raw_fd(),
                nix::libc::SOL_SOCKET,
                nix::libc::SO_NETNS_COOKIE,
                (&raw mut cookie).cast(),
                &raw mut length,
            )
        };
        if result == 0 && length == 8 {
            return Ok(cookie);
        }
    }
    Ok(std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(
        "/proc/thread-self/ns/net",
    )?))
}
