//! Takes debug information out of an object. Its BTF stays: maps, programs and source lines keep their names.
//!
//! Done here rather than by a tool, so that every machine gets the same bytes.

use anyhow::{Context, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// `object` without its DWARF sections and what refers to them.
pub(super) fn strip(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("reading the built object")?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        section.delete |= name.starts_with(".debug") || name.starts_with(".rel.debug");
    }
    // LLVM keeps the names of sections and symbols in one table; this writer wants one for each.
    let section_names = builder.sections.add();
    section_names.name = ".shstrtab".into();
    section_names.sh_type = SHT_STRTAB;
    section_names.sh_addralign = 1;
    section_names.data = SectionData::SectionString;

    let mut stripped = Vec::new();
    builder
        .write(&mut stripped)
        .context("writing the object without debug information")?;
    Ok(stripped)
}
