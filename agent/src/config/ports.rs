//! A set of ports, written as people write it: `10001-10100,20000`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A set of ports that is never empty and never holds port 0. Its text is canonical: ascending, without overlaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSet(BTreeSet<u16>);

/// Why a text is not a set of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPortSet {
    /// There is no port in it.
    #[error("no port is given; write for example \"10001-10100\"")]
    Empty,
    /// This part is no port and no range.
    #[error("\"{0}\" is neither a port (1 to 65535) nor a range such as \"10001-10100\"")]
    Part(String),
    /// The range ends before it begins.
    #[error("the range \"{0}\" ends before it begins")]
    Reversed(String),
}

impl PortSet {
    /// The ports, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().copied()
    }

    /// The set of these ports; `None` when there is no port among them.
    pub fn from_ports(ports: impl IntoIterator<Item = u16>) -> Option<Self> {
        let ports: BTreeSet<u16> = ports.into_iter().filter(|port| *port != 0).collect();
        (!ports.is_empty()).then_some(Self(ports))
    }

    /// How many ports there are; at least one.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether `port` is one of them.
    pub fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }

    fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for port in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == port => *last = port,
                _ => ranges.push((port, port)),
            }
        }
        ranges
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self((10_001..=10_100).collect())
    }
}

impl FromStr for PortSet {
    type Err = InvalidPortSet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut ports = BTreeSet::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (port(first, part)?, port(last, part)?);
            if first > last {
                return Err(InvalidPortSet::Reversed(part.to_owned()));
            }
            ports.extend(first..=last);
        }
        if ports.is_empty() {
            Err(InvalidPortSet::Empty)
        } else {
            Ok(Self(ports))
        }
    }
}

fn port(text: &str, part: &str) -> Result<u16, InvalidPortSet> {
    let port = text.trim().parse::<u16>().ok().filter(|port| *port != 0);
    port.ok_or_else(|| InvalidPortSet::Part(part.to_owned()))
}

impl fmt::Display for PortSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.ranges().into_iter().enumerate() {
            if position > 0 {
                formatter.write_str(",")?;
            }
            if first == last {
                write!(formatter, "{first}")?;
            } else {
                write!(formatter, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, canonical: &str, count: usize) {
        let ports: PortSet = text.parse().unwrap();
        assert_eq!((ports.to_string().as_str(), ports.count()), (canonical, count));
    }

    #[test]
    fn reads_ranges_and_single_ports() {
        check("10001-10100", "10001-10100", 100);
        check(" 443 , 80, 81-83,82 ", "80-83,443", 5);
        check("65535", "65535", 1);
        check("1-65535", "1-65535", 65_535);
        assert_eq!(PortSet::default().to_string(), "10001-10100");
    }

    #[test]
    fn names_the_part_it_cannot_read() {
        assert_eq!("".parse::<PortSet>(), Err(InvalidPortSet::Empty));
        assert_eq!(",".parse::<PortSet>(), Err(InvalidPortSet::Empty));
        for bad in ["0", "65536", "a", "10-", "-10", "1-2-3", "10001–10100"] {
            assert_eq!(bad.parse::<PortSet>(), Err(InvalidPortSet::Part(bad.to_owned())));
        }
        assert_eq!(
            "20-10".parse::<PortSet>(),
            Err(InvalidPortSet::Reversed("20-10".to_owned()))
        );
    }
}
