//! A decision as people read it.

use std::fmt::Write;

use super::decide::{Booking, DecidedKey, Decision, MatchedKey};
use super::plan::OldInbound;

/// What an import does, or would do, as a table.
pub fn report(decision: &Decision, is_dry_run: bool) -> String {
    let mut lines = Vec::new();
    lines.extend(decision.new_keys.iter().map(new_key));
    lines.extend(decision.matched_keys.iter().map(matched_key));
    lines.extend(decision.bookings.iter().map(booking));
    lines.extend(decision.inbounds.iter().map(inbound));
    let skipped = decision.skipped.iter().map(|one| {
        let what = format!("{}: {}", one.file, one.what);
        ["left out".to_owned(), what, one.reason.clone()]
    });

    let mut text = table(lines);
    text.push_str(&table(skipped.collect()));
    let days: usize = decision.bookings.iter().map(|booking| booking.changes.days.len()).sum();
    let bytes: i128 = decision.bookings.iter().map(change_of_total).sum();
    let verb = if is_dry_run { "would come" } else { "imported" };
    let _ = writeln!(
        text,
        "{verb}: new keys {}, days {days}, bytes {bytes}; as they were: keys {}, histories {}",
        decision.new_keys.len(),
        decision.matched_keys.len(),
        decision.unchanged_histories,
    );
    text
}

fn new_key(key: &DecidedKey) -> [String; 3] {
    let mut port = match key.old_port {
        Some(old) if old == key.port => format!("port {old}, as before"),
        Some(old) if key.shared_port => format!("port {}, for {old} was shared: hand out its new link", key.port),
        Some(old) => format!(
            "port {}, for {old} is taken or not configured: hand out its new link",
            key.port
        ),
        None => format!("port {}", key.port),
    };
    if key.is_held {
        port.push_str(", which another program holds: stop that first");
    }
    ["new key".to_owned(), key.name.clone(), port]
}

fn matched_key(key: &MatchedKey) -> [String; 3] {
    let port = match (key.port, key.old_port) {
        (Some(port), Some(old)) if port != old => format!("keeps port {port}; it was {old}"),
        (Some(port), _) => format!("keeps port {port}"),
        (None, _) => "has no port".to_owned(),
    };
    ["key is there".to_owned(), key.name.clone(), port]
}

fn inbound(inbound: &OldInbound) -> [String; 3] {
    let port = inbound.port.map(|port| format!(", port {port}"));
    [
        "inbound".to_owned(),
        format!("{}{}", inbound.name, port.unwrap_or_default()),
        format!(
            "goes from the configuration that Portmeter writes, for it would let deleted keys in; its {} client(s) get \
             inbounds of their own",
            inbound.clients.len()
        ),
    ]
}

fn booking(booking: &Booking) -> [String; 3] {
    let days = &booking.changes.days;
    let mut what = format!("{} bytes", change_of_total(booking));
    if let (Some((first, _)), Some((last, _))) = (days.first_key_value(), days.last_key_value()) {
        let _ = write!(what, ", {} day(s) from {first} to {last}", days.len());
    }
    let _ = write!(what, " ({})", booking.source);
    ["history".to_owned(), booking.name.clone(), what]
}

fn change_of_total(booking: &Booking) -> i128 {
    let total = booking.changes.total.unwrap_or_default();
    i128::from(total.rx_bytes) + i128::from(total.tx_bytes)
}

/// Aligned in columns. Names come from files: what would move a terminal's cursor is written out.
fn table(lines: Vec<[String; 3]>) -> String {
    let lines: Vec<_> = lines
        .into_iter()
        .map(|line| line.map(|cell| printable(&cell)))
        .collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let (first, second) = (width(0).unwrap_or_default(), width(1).unwrap_or_default());
    let mut text = String::new();
    for [kind, what, detail] in &lines {
        let _ = writeln!(text, "{kind:first$}  {what:second$}  {detail}");
    }
    text
}

fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| match character.is_control() {
            true => character.escape_default().collect::<Vec<_>>(),
            false => vec![character],
        })
        .collect()
}
