//! What a client fetches by a secret address and refreshes on its own: its link, in the two forms that clients read, and
//! what it has used so far.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::link::{LinkKey, LinkServer, first_server_name, first_short_id};
use super::reality::random;
use super::wanted::Reality;

/// Where a client's own proxy listens, as clients that take whole configurations expect it.
const CLIENT_LISTEN: &str = "127.0.0.1";
const CLIENT_SOCKS_PORT: u16 = 10_808;
const CLIENT_HTTP_PORT: u16 = 10_809;

/// Who a client asks for names; the question goes through the key.
const CLIENT_NAME_SERVERS: [&str; 2] = ["1.1.1.1", "8.8.8.8"];

/// Bytes of a token: 128 bits.
const TOKEN_BYTES: usize = 16;

/// The text is no token. It is not repeated, since it may be nearly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a subscription token is {} hexadecimal digits in lower case", 2 * TOKEN_BYTES)]
pub struct InvalidToken;

/// The secret in the path of a key's subscription: random, and unrelated to the key's uuid, so that neither tells the
/// other. Compares in constant time; shown nowhere but to whoever asks for it.
#[derive(Clone, Copy)]
pub struct SubscriptionToken([u8; TOKEN_BYTES]);

impl SubscriptionToken {
    /// A new one from the system's random numbers.
    pub fn generate() -> Self {
        Self(random())
    }

    /// The digits for a path: a secret.
    pub fn to_secret_text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl FromStr for SubscriptionToken {
    type Err = InvalidToken;

    /// One text for each token: what is in upper case is none.
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 2 * TOKEN_BYTES || !text.bytes().all(is_digit) {
            return Err(InvalidToken);
        }
        u128::from_str_radix(text, 16)
            .map(|number| Self(number.to_be_bytes()))
            .map_err(|_| InvalidToken)
    }
}

impl PartialEq for SubscriptionToken {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SubscriptionToken {}

impl fmt::Debug for SubscriptionToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SubscriptionToken(***)")
    }
}

/// The form that every client reads: links, one a line, as base64.
pub fn base64_list(link: &str) -> String {
    STANDARD.encode(format!("{link}\n"))
}

/// The form that v2rayNG, Happ and Streisand read: an array of complete client configurations of the core.
pub fn client_configurations(server: &LinkServer<'_>, key: &LinkKey<'_>, reality: &Reality) -> String {
    let configurations = [client_configuration(server, key, reality)];
    Value::from_iter(configurations).to_string()
}

/// A client's configuration: a proxy on its own machine, everything but its own networks through the key.
pub fn client_configuration(server: &LinkServer<'_>, key: &LinkKey<'_>, reality: &Reality) -> Value {
    json!({
        "remarks": key.name,
        "log": { "loglevel": "warning" },
        "dns": { "servers": CLIENT_NAME_SERVERS },
        "inbounds": [
            {
                "tag": "socks",
                "listen": CLIENT_LISTEN,
                "port": CLIENT_SOCKS_PORT,
                "protocol": "socks",
                "settings": { "auth": "noauth", "udp": true },
                "sniffing": { "enabled": true, "destOverride": ["http", "tls", "quic"] },
            },
            {
                "tag": "http",
                "listen": CLIENT_LISTEN,
                "port": CLIENT_HTTP_PORT,
                "protocol": "http",
                "settings": {},
            },
        ],
        "outbounds": [
            proxy(server, key, reality),
            { "tag": "direct", "protocol": "freedom", "settings": {} },
            { "tag": "block", "protocol": "blackhole", "settings": {} },
        ],
        "routing": {
            "domainStrategy": "AsIs",
            // By number: not every client has the files that names such as `geoip:private` are looked up in.
            "rules": [{
                "type": "field",
                "ip": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "::1/128",
                       "fc00::/7", "fe80::/10"],
                "outboundTag": "direct",
            }],
        },
    })
}

fn proxy(server: &LinkServer<'_>, key: &LinkKey<'_>, reality: &Reality) -> Value {
    json!({
        "tag": "proxy",
        "protocol": "vless",
        "settings": {
            "vnext": [{
                "address": server.host,
                "port": key.port,
                "users": [{ "id": key.uuid, "encryption": "none", "flow": server.flow }],
            }],
        },
        "streamSettings": {
            "network": "tcp",
            "security": "reality",
            "realitySettings": {
                "serverName": first_server_name(reality),
                "fingerprint": server.fingerprint,
                "publicKey": reality.private_key.public_key().to_string(),
                "shortId": first_short_id(reality),
                "spiderX": "",
            },
        },
    })
}

/// The value of the header `subscription-userinfo`: what a client shows as used. Upload is what it has sent, which the
/// server has received (rx); there is neither a limit nor an end, and clients read 0 as that.
pub fn user_info(rx_bytes: u64, tx_bytes: u64) -> String {
    format!("upload={rx_bytes}; download={tx_bytes}; total=0; expire=0")
}

#[cfg(test)]
mod tests;
