//! Memory that the allocator would keep for allocations that never come.
//!
//! Here because the call needs `unsafe`, and because loading the programs is what makes most of it.

/// Gives the system back what the calling thread has freed and the allocator holds, and what others have given up.
///
/// Loading the programs reads the kernel's type information: some hundred thousand small pieces, gone right after. The
/// allocator looks for pages to give back when it is asked for new ones, which a quiet agent never does.
pub fn give_back_freed_memory() {
    // SAFETY: the function takes no pointer and releases only pages that no allocation is in; any thread may call it at
    // any time (mimalloc's reference).
    unsafe { libmimalloc_sys::mi_collect(true) };
}
