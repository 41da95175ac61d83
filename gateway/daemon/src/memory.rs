//! What a program that runs for months asks of the system about its memory.

use nix::sys::prctl;

/// Has the system keep this process's memory in small pages; a program that it starts inherits that
/// (`PR_SET_THP_DISABLE(2const)`).
///
/// The heap of a daemon is many small things here and there. Where the system makes huge pages of whatever it can
/// (`/sys/kernel/mm/transparent_hugepage/enabled` is `always` on Debian), each of them holds two megabytes.
pub fn keep_to_small_pages() {
    if let Err(error) = prctl::set_thp_disable(true) {
        tracing::debug!(%error, "the system decides about huge pages");
    }
}
