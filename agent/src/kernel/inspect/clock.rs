//! Whether the kernel's clock follows a reference, whichever program steers it.

use std::io;
use std::mem::MaybeUninit;

use nix::libc;

/// Whether the clock is synchronised (`adjtimex(2)`): asked with no change requested, which needs no rights.
pub fn is_clock_synchronised() -> io::Result<bool> {
    let mut time = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: `timex` is plain integers, valid as zeroes; modes 0 asks only, and the kernel writes no more than it.
    let (state, time) = unsafe {
        let state = libc::adjtimex(time.as_mut_ptr());
        (state, time.assume_init())
    };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(state != libc::TIME_ERROR && time.status & libc::STA_UNSYNC == 0)
}
