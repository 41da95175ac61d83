//! What a client needs to reach a key's inbound, as the one line that clients take: a VLESS URL.
//!
//! A link is a secret: whoever has it is the customer. It is built from the same data as the inbound, so that the two
//! agree in whatever the core would refuse a client for.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

use super::wanted::Reality;

/// The TLS handshake that clients imitate unless another one is set.
pub const FINGERPRINT: &str = "chrome";

/// What a URI fragment must not have as it is: anything but unreserved characters, sub-delimiters, `:`, `@`, `/` and `?`
/// (RFC 3986, 3.5). Whatever is not ASCII is always encoded.
const FRAGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What a parameter's value must not have as it is: anything but unreserved characters (RFC 3986, 2.3).
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Longest name in the DNS, and longest part of one (RFC 1035, 2.3.4), in bytes.
const HOST_NAME_LENGTH_MAX: usize = 253;
const LABEL_LENGTH_MAX: usize = 63;

/// What a link says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkKey<'a> {
    /// The VLESS user id.
    pub uuid: Uuid,
    /// Free text, which clients show.
    pub name: &'a str,
    /// The port of its inbound.
    pub port: u16,
}

/// What all links say of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkServer<'a> {
    /// The name or address that clients connect to.
    pub host: &'a str,
    /// The TLS handshake that clients imitate.
    pub fingerprint: &'a str,
    /// The inbounds' flow; an empty one is left out of a link.
    pub flow: &'a str,
}

/// A key's VLESS URL: one line of visible ASCII, whatever the name is.
pub fn vless_url(server: &LinkServer<'_>, key: &LinkKey<'_>, reality: &Reality) -> String {
    let flow = match server.flow {
        "" => String::new(),
        flow => format!("&flow={}", utf8_percent_encode(flow, PARAMETER)),
    };
    format!(
        "vless://{}@{}:{}?security=reality&sni={}&fp={}&pbk={}&sid={}&type=tcp{flow}#{}",
        key.uuid,
        in_url(server.host),
        key.port,
        utf8_percent_encode(first_server_name(reality), PARAMETER),
        utf8_percent_encode(server.fingerprint, PARAMETER),
        reality.private_key.public_key(),
        utf8_percent_encode(first_short_id(reality), PARAMETER),
        utf8_percent_encode(key.name, FRAGMENT),
    )
}

/// The server name that clients ask for.
pub(super) fn first_server_name(reality: &Reality) -> &str {
    reality.server_names.first().map_or("", String::as_str)
}

/// The short id that clients send.
pub(super) fn first_short_id(reality: &Reality) -> &str {
    reality.short_ids.first().map_or("", |id| id.as_str())
}

/// The host of a URL: an IPv6 address stands in brackets.
fn in_url(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}

/// The name or address under which clients reach this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHost(String);

/// The text is no host. It is not repeated: whoever shows the sentence knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// An address in brackets, as URLs have it.
    #[error("an IPv6 address goes without brackets here")]
    Bracketed,
    /// An address that no client can connect to.
    #[error("it is not an address that a client can connect to")]
    NotAnEnd,
    /// Neither name nor address.
    #[error(
        "use a host name (letters, digits, `-`, `_` and `.`; a name in other letters in its xn-- form), an IPv4 or \
         an IPv6 address, without port, user or path"
    )]
    Malformed,
}

impl ServerHost {
    /// The name or address, without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if text.is_empty() {
            return Err(InvalidHost::Empty);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return match address.is_unspecified() || address.is_multicast() {
                true => Err(InvalidHost::NotAnEnd),
                false => Ok(Self(address.to_string())),
            };
        }
        if in_brackets(text).is_some_and(|inside| inside.parse::<Ipv6Addr>().is_ok()) {
            return Err(InvalidHost::Bracketed);
        }
        match is_host_name(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidHost::Malformed),
        }
    }
}

impl From<IpAddr> for ServerHost {
    fn from(address: IpAddr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for ServerHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether a text can be the name of a host. One whose last part is a number would be taken for an address.
pub fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_LENGTH_MAX).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= HOST_NAME_LENGTH_MAX
        && text.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text is `host:port`, an IPv6 address in brackets.
pub fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    is_port
        && match in_brackets(host) {
            Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
            // Without brackets the last part of an IPv6 address would be the port.
            None => !host.contains(':') && host.parse::<ServerHost>().is_ok(),
        }
}

fn in_brackets(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests;
