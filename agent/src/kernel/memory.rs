//! Memory that a start leaves behind.

/// Gives the system back what the allocator holds and nobody uses.
///
/// Loading the programs reads the kernel's type information: some hundred thousand small pieces, gone right after. The
/// C library keeps their pages, about half of the agent's resident memory, for allocations that never come.
pub fn give_back_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes no pointer and only releases pages that no allocation is in.
    unsafe {
        libc::malloc_trim(0);
    }
}
