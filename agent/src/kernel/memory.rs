//! Memory that the C library would keep for allocations that never come.
//!
//! Here because the calls need `unsafe`, and because loading the programs is what makes most of it.

/// Size from which an allocation gets pages of its own, which go back to the system when it is freed.
#[cfg(target_env = "gnu")]
const OWN_PAGES_MIN_BYTES: i32 = 128 * 1024;

/// Has large allocations given back when they are freed, for the whole process.
///
/// The C library begins like this, but raises the limit with each large one that is freed. Then an answer of some
/// megabytes, such as the metrics of 10,000 ports, leaves its room behind in every thread that has ever made one.
pub fn give_back_large_allocations() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes two numbers and locks what it changes; that it may refuse costs memory only.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES_MIN_BYTES);
    }
}

/// Gives the system back what the allocator holds and nobody uses now.
///
/// Loading the programs reads the kernel's type information: some hundred thousand small pieces, gone right after.
pub fn give_back_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes no pointer and only releases pages that no allocation is in.
    unsafe {
        libc::malloc_trim(0);
    }
}
