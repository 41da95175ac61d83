//! The ledger's figures for other programs, and other programs' figures for the ledger.
//!
//! Everything here is plain data and plain functions over it: formats are written over any `io::Write`, files are parsed
//! from bytes. The store alone reads and books what they say.

pub mod export;
pub mod import;
