//! nftables with counters per port, in two forms: a set with a counter in each element, looked up once each way; and a
//! rule with a counter for each port each way.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::lab::Host;
use crate::command;

/// One lookup each way.
pub(super) fn set(ports: RangeInclusive<u16>) -> String {
    let elements = ports.map(|port| port.to_string()).collect::<Vec<_>>().join(", ");
    let set = |name: &str| format!("set {name} {{ type inet_service; counter; elements = {{ {elements} }}; }}\n");
    let sets = set("received") + &set("sent");
    let lookup = |field: &str, name: &str| format!("meta l4proto {{ tcp, udp }} th {field} @{name}\n");
    table(&sets, &lookup("dport", "received"), &lookup("sport", "sent"))
}

/// A rule for each port each way, none of which ends the chain.
pub(super) fn rules(ports: RangeInclusive<u16>) -> String {
    let rules = |field: &str| {
        ports.clone().fold(String::new(), |mut text, port| {
            let _ = writeln!(text, "meta l4proto {{ tcp, udp }} th {field} {port} counter");
            text
        })
    };
    table("", &rules("dport"), &rules("sport"))
}

fn table(sets: &str, received: &str, sent: &str) -> String {
    let chain = |hook: &str, rules: &str| {
        format!("chain {hook} {{\ntype filter hook {hook} priority 0; policy accept;\n{rules}}}\n")
    };
    format!(
        "table inet bench {{\n{sets}{}{}}}\n",
        chain("input", received),
        chain("output", sent)
    )
}

/// Packets of the IP layer, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// As listed: `… 10100 counter packets 12 bytes 3456`; what came in is listed first.
fn listed_count(listed: &str, port: u16) -> Option<Count> {
    let (_, after) = listed.split_once(&format!(" {port} counter packets "))?;
    let mut words = after.split(|letter: char| letter.is_whitespace() || letter == ',');
    let packets = words.next()?.parse().ok()?;
    let bytes = words.nth(1)?.parse().ok()?;
    Some(Count { packets, bytes })
}

/// A loaded table, deleted when dropped.
pub(super) struct Nftables<'lab> {
    host: &'lab Host,
}

impl<'lab> Nftables<'lab> {
    pub(super) fn load(host: &'lab Host, table: &str) -> Result<Self> {
        let mut nft = host.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        let mut input = nft.stdin.take().context("nft has no input")?;
        input.write_all(table.as_bytes())?;
        drop(input);
        ensure!(nft.wait()?.success(), "nft does not take the table:\n{table}");
        Ok(Self { host })
    }

    /// What the port's counter at input has counted.
    pub(super) fn received(&self, port: u16) -> Result<Count> {
        let listed = command::output(self.host.command("nft").args(["list", "table", "inet", "bench"]))?;
        listed_count(&listed, port).with_context(|| format!("nft lists no counter of port {port}"))
    }
}

impl Drop for Nftables<'_> {
    fn drop(&mut self) {
        let deleted = command::output(self.host.command("nft").args(["delete", "table", "inet", "bench"]));
        if let Err(error) = deleted {
            eprintln!("the table of nftables stays behind: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_ports_make_two_hundred_rules_or_two_lookups() {
        let ports = 10_001..=10_100;
        assert_eq!(rules(ports.clone()).matches(" counter").count(), 200);
        assert_eq!(set(ports).matches(" @").count(), 2);
    }

    #[test]
    fn a_ports_count_is_found_in_a_rule_and_in_a_set() {
        let received = Some(Count {
            packets: 12,
            bytes: 3456,
        });
        let rules = "th dport 10001 counter packets 12 bytes 3456\nth sport 10001 counter packets 1 bytes 2";
        assert_eq!(listed_count(rules, 10_001), received);
        let set = "elements = { 10001 counter packets 12 bytes 3456, 10002 counter packets 0 bytes 0 }";
        assert_eq!(listed_count(set, 10_001), received);
        assert_eq!(listed_count(rules, 1), None);
    }
}
