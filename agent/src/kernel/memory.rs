//! Asks the allocator for what it holds and nobody uses; here because the call needs `unsafe`.

/// Gives the system back every page that nothing is in: all that the process's threads have given up, and what the calling
/// one has freed and kept (`mi_collect` in mimalloc's reference).
pub fn give_back_freed_memory() {
    // SAFETY: the function takes no pointer and releases only pages that no allocation is in; any thread may call it at
    // any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
