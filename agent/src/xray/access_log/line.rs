//! One line of the access log. Plain functions.
//!
//! `2026/03/29 14:05:06.123456 from 192.0.2.7:50000 accepted tcp:example.com:443 [inbound-… >> direct] email: …`, as
//! Xray-core 26.10.10 writes it. Of the client's address nothing is taken.

use std::net::IpAddr;

use chrono::NaiveDateTime;
use uuid::Uuid;

/// The longest name that DNS has.
const DOMAIN_BYTES_MAX: usize = 253;

/// The name under which several connections share one; those that it carries have lines of their own.
const MULTIPLEXED: &str = "v1.mux.cool";

/// That a key asked for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// The core's time, in its host's zone; `None` where the line has another form of it.
    pub at: Option<NaiveDateTime>,
    /// The key's VLESS uuid.
    pub uuid: Uuid,
    /// In lower case, without port and final dot; an address where no name was sent.
    pub domain: String,
}

/// What a line tells; `None` where it is about anything but a key's connection.
pub fn visit(line: &str) -> Option<Visit> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let accepted = words.iter().take(5).position(|word| *word == "accepted")?;
    let [.., label, email] = words[..] else { return None };
    if label != "email:" {
        return None;
    }
    let (network, destination) = words.get(accepted + 1)?.split_once(':')?;
    if !["tcp", "udp"].contains(&network) {
        return None;
    }
    let (host, port) = destination.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    Some(Visit {
        at: time(words[0], words[1]),
        uuid: Uuid::try_parse(email).ok()?,
        domain: domain(host)?,
    })
}

fn time(date: &str, time: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(&format!("{date} {time}"), "%Y/%m/%d %H:%M:%S%.f").ok()
}

/// A host as it is counted. What a client sends as a name is the client's choice, so anything that can be no name is
/// left out.
fn domain(host: &str) -> Option<String> {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = address.unwrap_or(host).parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = !name.is_empty() && name.len() <= DOMAIN_BYTES_MAX && name.bytes().all(is_usual);
    (is_name && name != MULTIPLEXED).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

    /// The domain of a line of this destination, with what stands around it as the core writes it.
    fn domain_of(destination: &str) -> Option<String> {
        let line = format!(
            "2026/11/25 22:16:07.827697 from 127.0.0.1:33752 accepted {destination} [inbound-{UUID} >> direct] email: {UUID}"
        );
        visit(&line).map(|visit| visit.domain)
    }

    #[test]
    fn a_line_tells_key_time_and_domain() {
        let line = format!(
            "2026/11/25 22:16:07.827697 from 127.0.0.1:33752 accepted tcp:Example.COM:80 [inbound-{UUID} >> direct] email: {UUID}"
        );
        let expected = Visit {
            at: Some("2026-11-25T22:16:07.827697".parse().unwrap()),
            uuid: UUID.parse().unwrap(),
            domain: "example.com".to_owned(),
        };
        assert_eq!(visit(&line), Some(expected));
    }

    #[test]
    fn domains_are_in_one_form() {
        for (destination, domain) in [
            ("tcp:example.com:443", "example.com"),
            ("tcp:xn--bcher-kva.example.:80", "xn--bcher-kva.example"),
            ("udp:dns.example.org:53", "dns.example.org"),
            ("tcp:93.184.216.34:80", "93.184.216.34"),
            ("tcp:[2606:2800::0:1]:8080", "2606:2800::1"),
            ("tcp:_x.example:1", "_x.example"),
        ] {
            assert_eq!(domain_of(destination).as_deref(), Some(domain), "{destination}");
        }
    }

    #[test]
    fn what_is_no_key_s_connection_is_left_out() {
        for destination in [
            "tcp:v1.mux.cool:9527",
            "tcp::443",
            "tcp:example.com",
            "tcp:example.com:https",
            "tcp:exam%ple.com:443",
            "tcp:a\u{e9}.example:443",
            "unix:/run/x:1",
            "//example.com:443",
            &format!("tcp:{}:443", "a".repeat(254)),
        ] {
            assert_eq!(domain_of(destination), None, "{destination}");
        }
        for line in [
            "",
            "accepted",
            "2026/11/25 22:16:17.163059 from 127.0.0.1:42598 rejected  proxy/vless/encoding: invalid request version",
            "2026/11/25 22:16:07.827697 from 127.0.0.1:33752 accepted tcp:example.com:80 [socks >> direct]",
            "2026/11/25 22:16:07.827697 from 127.0.0.1:33752 accepted tcp:example.com:80 [in >> direct] email: alice",
            "2026/11/25 22:16:05.200906 [Warning] core: Xray 26.10.10 started",
        ] {
            assert_eq!(visit(line), None, "{line}");
        }
    }

    #[test]
    fn other_ways_out_and_older_forms_are_read_too() {
        for line in [
            format!(
                "2026/11/25 22:16:14.06 from 127.0.0.1:1 accepted tcp:a.example:80 [inbound-{UUID} -> blocked] email: {UUID}"
            ),
            format!("2026/11/25 22:16:14 from tcp:127.0.0.1:1 accepted tcp:a.example:80 email: {UUID}"),
            format!("2026/11/25 22:16:14 127.0.0.1:1 accepted tcp:a.example:80 [in -> out] email: {UUID}\n"),
        ] {
            let visit = visit(&line).unwrap();
            assert_eq!(
                (visit.domain.as_str(), visit.at.is_some()),
                ("a.example", true),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in ".{0,200}") {
            visit(&line);
        }

        #[test]
        fn a_destination_that_is_no_name_makes_no_key_s_line(host in "[^ ]{1,40}") {
            if let Some(domain) = domain_of(&format!("tcp:{host}:443")) {
                prop_assert!(domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)));
            }
        }
    }
}
