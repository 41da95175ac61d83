//! Links are read back by another hand than the one that wrote them: a parser of URIs, as clients have one.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::*;
use crate::xray::reality::{PrivateKey, ShortId};

const UUID: &str = "0b5e8f3c-6f0e-4d6a-9a57-0f4c1c1f7a01";

/// RFC 7748, section 6.1: Bob's private key and his public one.
const PRIVATE_KEY: &str = "XasIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Os";
const PUBLIC_KEY: &str = "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08";

fn reality() -> Reality {
    Reality {
        private_key: PRIVATE_KEY.parse().unwrap(),
        short_ids: vec!["0123abcd".parse().unwrap(), "ffff".parse().unwrap()],
        dest: "www.microsoft.com:443".to_owned(),
        server_names: vec!["www.microsoft.com".to_owned(), "other.example".to_owned()],
    }
}

fn url(host: &str, name: &str, flow: &str) -> String {
    let key = LinkKey {
        uuid: UUID.parse().unwrap(),
        name,
        port: 10_001,
    };
    vless_url(&server(host, flow), &key, &reality())
}

fn server<'a>(host: &'a str, flow: &'a str) -> LinkServer<'a> {
    LinkServer {
        host,
        fingerprint: FINGERPRINT,
        flow,
    }
}

/// A link taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    user: String,
    host: String,
    port: u16,
    parameters: BTreeMap<String, String>,
    name: String,
}

/// The parts of a URI (RFC 3986, appendix B), values decoded.
fn parse(link: &str) -> Parts {
    let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let (before, name) = link.split_once('#').unwrap();
    let (authority, query) = before.strip_prefix("vless://").unwrap().split_once('?').unwrap();
    let (user, end) = authority.split_once('@').unwrap();
    let (host, port) = end.rsplit_once(':').unwrap();
    let parameters = query.split('&').map(|pair| pair.split_once('=').unwrap());
    Parts {
        user: user.to_owned(),
        host: host.trim_matches(['[', ']']).to_owned(),
        port: port.parse().unwrap(),
        parameters: parameters
            .map(|(name, value)| (name.to_owned(), decode(value)))
            .collect(),
        name: decode(name),
    }
}

#[test]
fn a_link_is_exactly_as_clients_know_it() {
    assert_eq!(
        url("vpn.example.com", "user@example.com", "xtls-rprx-vision"),
        format!(
            "vless://{UUID}@vpn.example.com:10001?security=reality&sni=www.microsoft.com&fp=chrome&pbk={PUBLIC_KEY}\
             &sid=0123abcd&type=tcp&flow=xtls-rprx-vision#user@example.com"
        )
    );
    assert_eq!(
        url("2001:db8::1", "a", ""),
        format!(
            "vless://{UUID}@[2001:db8::1]:10001?security=reality&sni=www.microsoft.com&fp=chrome&pbk={PUBLIC_KEY}\
             &sid=0123abcd&type=tcp#a"
        )
    );
}

#[test]
fn a_name_keeps_what_a_fragment_may_have() {
    let allowed = "AZaz09-._~!$&'()*+,;=:@/?";
    for (name, encoded) in [
        (allowed, allowed),
        ("two words", "two%20words"),
        ("a\r\nb\tc", "a%0D%0Ab%09c"),
        ("#1 100% \"x\"", "%231%20100%25%20%22x%22"),
        ("Bob Müller", "Bob%20M%C3%BCller"),
        ("<[{\\^`|}]>", "%3C%5B%7B%5C%5E%60%7C%7D%5D%3E"),
        ("\u{2028}\u{7f}\0", "%E2%80%A8%7F%00"),
    ] {
        let link = url("192.0.2.1", name, "");
        assert_eq!(link.split_once('#').unwrap().1, encoded);
    }
}

proptest! {
    #[test]
    fn any_name_gives_one_line_that_says_the_same(
        name: String,
        server_name: String,
        private_key: [u8; 32],
        port in 1_u16..,
        address: std::net::IpAddr,
        has_flow: bool,
    ) {
        let reality = Reality {
            private_key: PrivateKey::from(private_key),
            short_ids: vec![ShortId::generate()],
            dest: String::new(),
            server_names: vec![server_name.clone()],
        };
        let key = LinkKey { uuid: Uuid::new_v4(), name: &name, port };
        let flow = if has_flow { "xtls-rprx-vision" } else { "" };
        let host = address.to_string();
        let link = vless_url(&server(&host, flow), &key, &reality);
        prop_assert!(link.bytes().all(|byte| byte.is_ascii_graphic()), "{link}");

        let mut parameters: BTreeMap<String, String> = [
            ("security", "reality"),
            ("sni", &server_name),
            ("fp", "chrome"),
            ("pbk", &reality.private_key.public_key().to_string()),
            ("sid", reality.short_ids[0].as_str()),
            ("type", "tcp"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        if has_flow {
            parameters.insert("flow".to_owned(), flow.to_owned());
        }
        let user = key.uuid.to_string();
        prop_assert_eq!(parse(&link), Parts { user, host, port, parameters, name });
    }

    #[test]
    fn a_host_is_never_more_than_a_host(text: String) {
        if let Ok(host) = text.parse::<ServerHost>() {
            prop_assert!(
                host.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte)),
                "{text:?}"
            );
        }
    }
}

#[test]
fn hosts_are_names_and_addresses() {
    for (text, host) in [
        ("vpn.example.com", "vpn.example.com"),
        ("xn--mller-kva.example", "xn--mller-kva.example"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
    ] {
        assert_eq!(text.parse::<ServerHost>().unwrap().as_str(), host);
    }
    for (text, error) in [
        ("", InvalidHost::Empty),
        ("[2001:db8::1]", InvalidHost::Bracketed),
        ("0.0.0.0", InvalidHost::NotAnEnd),
        ("::", InvalidHost::NotAnEnd),
        ("224.0.0.1", InvalidHost::NotAnEnd),
        ("[]", InvalidHost::Malformed),
        ("[a]", InvalidHost::Malformed),
        ("a b", InvalidHost::Malformed),
        (" a", InvalidHost::Malformed),
        ("a\n", InvalidHost::Malformed),
        ("a/b", InvalidHost::Malformed),
        ("a#b", InvalidHost::Malformed),
        ("a?b", InvalidHost::Malformed),
        ("a@b", InvalidHost::Malformed),
        ("a:443", InvalidHost::Malformed),
        ("a..b", InvalidHost::Malformed),
        ("-a", InvalidHost::Malformed),
        ("1.2.3.999", InvalidHost::Malformed),
        ("müller.example", InvalidHost::Malformed),
        (&"a".repeat(64), InvalidHost::Malformed),
        (&["a"; 128].join("."), InvalidHost::Malformed),
    ] {
        assert_eq!(text.parse::<ServerHost>(), Err(error), "{text:?}");
    }
}

#[test]
fn a_host_with_its_port() {
    for good in [
        "www.microsoft.com:443",
        "192.0.2.1:8443",
        "[2001:db8::1]:443",
        "localhost:65535",
    ] {
        assert!(is_host_and_port(good), "{good}");
    }
    for bad in [
        "",
        ":443",
        "www.microsoft.com",
        "a:0",
        "a:65536",
        "a:+443",
        "a:",
        "a b:443",
        "a\n:443",
        "2001:db8::1:443",
        "[a]:443",
        "[]:443",
        "https://a:443",
        "a:443/",
        "/run/socket",
    ] {
        assert!(!is_host_and_port(bad), "{bad}");
    }
}
