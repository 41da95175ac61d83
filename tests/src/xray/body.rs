//! Bodies that are told by their length alone: eight bytes at each place that are found at no other.

/// How much is made, sent and checked at once.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

const WORD_BYTES: usize = 8;

/// An odd factor makes every word's number another one, with all its bits stirred.
const STIR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The body's bytes from `offset` on.
pub(super) fn bytes(offset: u64, length: usize) -> Vec<u8> {
    let skipped = (offset % WORD_BYTES as u64) as usize;
    let first = offset / WORD_BYTES as u64;
    let mut words = vec![0; (skipped + length).next_multiple_of(WORD_BYTES)];
    for (number, word) in (first..).zip(words.chunks_exact_mut(WORD_BYTES)) {
        word.copy_from_slice(&number.wrapping_mul(STIR).to_be_bytes());
    }
    words.truncate(skipped + length);
    words.drain(..skipped);
    words
}
