//! Export: periods of keys as rows of a file that other programs read, in one of three formats.

mod output;
mod parquet_writer;
mod row;
mod writer;

pub use output::{OutputError, OutputFile};
pub use row::{COLUMNS, Row};
pub use writer::{Format, Writer};

#[cfg(test)]
mod tests;
