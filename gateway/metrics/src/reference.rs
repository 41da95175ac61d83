//! Families as people read them, and as a file guards them.

use std::fmt::Write as _;

use crate::Family;

/// A table in Markdown, a row for each family.
pub fn table(families: &[&Family]) -> String {
    let mut table = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in families {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let note = match family.note {
            "" => String::new(),
            note => format!(" {note}"),
        };
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {}.{note} |",
            family.name(),
            family.kind.name(),
            labels.join(", "),
            family.help
        );
    }
    table
}

/// One line for each family: name, type, labels, help.
pub fn lines(families: &[&Family]) -> String {
    let line = |family: &&Family| {
        let labels = family.labels.join(",");
        format!(
            "{} {} {{{labels}}} {}\n",
            family.name(),
            family.kind.name(),
            family.help
        )
    };
    families.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unit;

    const FAMILY: Family = Family::counter("x_receive", "Bytes of x")
        .of(Unit::Bytes)
        .by(&["port", "key"])
        .noting("Never lowered.");

    #[test]
    fn a_family_is_a_row_and_a_line() {
        assert_eq!(
            table(&[&FAMILY]).lines().last(),
            Some("| `x_receive_bytes_total` | counter | `port`, `key` | Bytes of x. Never lowered. |")
        );
        assert_eq!(
            lines(&[&FAMILY]),
            "x_receive_bytes_total counter {port,key} Bytes of x\n"
        );
    }
}
