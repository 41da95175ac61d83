//! The interfaces' own counters, from `/proc/net/dev` (`proc_pid_net(5)`): one short read on the caller's thread.
//!
//! Netlink tells the same figures, but with everything else that it knows of a link, and by way of another task: for an
//! answer about a hundred keys that took as long as all the rest.

use std::{fs, io};

use super::InterfaceStatistics;

/// The interfaces of this thread's network namespace.
const PATH: &str = "/proc/thread-self/net/dev";

/// The kernel makes one loopback device for each namespace, and gives it this name.
const LOOPBACK: &str = "lo";

/// Where the columns of bytes are, behind the name.
const RX_BYTES_COLUMN: usize = 0;
const TX_BYTES_COLUMN: usize = 8;

/// The counters of this host's interfaces, loopback left out.
pub fn interfaces() -> io::Result<Vec<(String, InterfaceStatistics)>> {
    parse(&fs::read_to_string(PATH)?).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, PATH))
}

/// Two lines of titles, then one line for each interface; `None` where a line is none.
fn parse(text: &str) -> Option<Vec<(String, InterfaceStatistics)>> {
    let interfaces = text.lines().skip(2).map(|line| {
        // No name holds a colon.
        let (name, figures) = line.split_once(':')?;
        let figures: Vec<&str> = figures.split_ascii_whitespace().collect();
        let figure = |column: usize| figures.get(column)?.parse().ok();
        Some((
            name.trim_start().to_owned(),
            InterfaceStatistics {
                rx_bytes: figure(RX_BYTES_COLUMN)?,
                tx_bytes: figure(TX_BYTES_COLUMN)?,
            },
        ))
    });
    let mut interfaces = interfaces.collect::<Option<Vec<_>>>()?;
    interfaces.retain(|(name, _)| name != LOOPBACK);
    Some(interfaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 859113899   71778    0    0    0     0          0         0 859113899   71778    0    0    0     0       0          0
  eth0:18446744073709551615       2    3    4    5     6          7         8       9      10   11   12   13    14      15         16
eth0.7:     17       0    0    0    0     0          0         0       18       0    0    0    0     0       0          0
";

    #[test]
    fn bytes_by_interface_without_loopback() {
        let statistics = |rx_bytes, tx_bytes| InterfaceStatistics { rx_bytes, tx_bytes };
        assert_eq!(
            parse(TEXT).unwrap(),
            [
                ("eth0".to_owned(), statistics(u64::MAX, 9)),
                ("eth0.7".to_owned(), statistics(17, 18))
            ]
        );
    }

    #[test]
    fn what_is_no_such_table_is_refused() {
        assert_eq!(parse("\n\neth0 1 2 3\n"), None);
        assert_eq!(parse("\n\neth0: 1 2 3\n"), None);
        assert_eq!(parse(""), Some(Vec::new()));
    }

    #[test]
    fn this_hosts_interfaces_are_read() {
        assert!(interfaces().unwrap().iter().all(|(name, _)| name != LOOPBACK));
    }
}
