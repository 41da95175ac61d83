//! REALITY identities: x25519 keys and short ids, made here and written as the core and its clients write them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use rand::TryRngCore as _;
use rand::rngs::OsRng;

/// Bytes of an x25519 key (RFC 7748).
const KEY_BYTES: usize = 32;

/// Most bytes of a short id.
const SHORT_ID_BYTES_MAX: usize = 8;

/// Bytes of a short id that is made here.
const NEW_SHORT_ID_BYTES: usize = 4;

/// The text is no key or no short id. It is not repeated, since it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// Not 32 bytes as base64url without padding.
    #[error("a REALITY key is 32 bytes as base64url without padding, 43 characters")]
    Key,
    /// Not an even number of hexadecimal digits, at most 16.
    #[error("a short id is an even number of hexadecimal digits, at most 16")]
    ShortId,
}

/// An x25519 private key. It is shown nowhere but in the core's configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PrivateKey([u8; KEY_BYTES]);

impl PrivateKey {
    /// A new one from the system's random numbers.
    pub fn generate() -> Self {
        let mut bytes: [u8; KEY_BYTES] = random();
        // RFC 7748, section 5: what every implementation does before it uses a key.
        bytes[0] &= 248;
        bytes[31] = (bytes[31] & 127) | 64;
        Self(bytes)
    }

    /// The public key that belongs to it.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(x25519_dalek::x25519(self.0, x25519_dalek::X25519_BASEPOINT_BYTES))
    }

    /// The bytes, for the core's API and the store.
    pub const fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The text for the core's configuration: a secret.
    pub fn to_secret_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl From<[u8; KEY_BYTES]> for PrivateKey {
    fn from(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }
}

impl FromStr for PrivateKey {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidIdentity::Key)?;
        bytes.try_into().map(Self).map_err(|_| InvalidIdentity::Key)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PrivateKey(***)")
    }
}

/// An x25519 public key; displays as base64url without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// A short id: 0 to 16 hexadecimal digits, in pairs, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(String);

impl ShortId {
    /// A new one of eight digits.
    pub fn generate() -> Self {
        let bytes: [u8; NEW_SHORT_ID_BYTES] = random();
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes, padded with zeros as the core keeps them.
    pub fn padded_bytes(&self) -> [u8; SHORT_ID_BYTES_MAX] {
        let mut bytes = [0; SHORT_ID_BYTES_MAX];
        for (byte, at) in bytes.iter_mut().zip((0..self.0.len()).step_by(2)) {
            // Checked when it was made.
            *byte = u8::from_str_radix(&self.0[at..at + 2], 16).unwrap_or_default();
        }
        bytes
    }
}

impl FromStr for ShortId {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hexadecimal && text.len().is_multiple_of(2) && text.len() <= 2 * SHORT_ID_BYTES_MAX {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(InvalidIdentity::ShortId)
    }
}

impl fmt::Display for ShortId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A short id that is still accepted beside the one that replaced it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldShortId {
    /// The id.
    pub short_id: ShortId,
    /// When it ends.
    pub until: DateTime<Utc>,
}

/// What the store keeps of a REALITY identity: the server's, or what a key has of its own. What is absent is the
/// server's, and there the configuration's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The private key; the server always has one.
    pub private_key: Option<PrivateKey>,
    /// The short id that links carry; the server always has one.
    pub short_id: Option<ShortId>,
    /// The one before it, while it is still accepted.
    pub old_short_id: Option<OldShortId>,
    /// The TLS server that lends its handshake, `host:port`.
    pub dest: Option<String>,
    /// Accepted server names; empty where they are not its own.
    pub server_names: Vec<String>,
}

impl Identity {
    /// A new private key and a new short id.
    pub fn generate() -> Self {
        Self {
            private_key: Some(PrivateKey::generate()),
            short_id: Some(ShortId::generate()),
            ..Self::default()
        }
    }
}

/// Random bytes from the system. A system that has none to give cannot run anything that is to be secret.
pub fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    OsRng.try_fill_bytes(&mut bytes).expect("the system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7748, section 6.1: Bob's keys.
    #[test]
    fn the_public_key_is_the_one_of_the_standard() {
        let bytes = [
            0x5d, 0xab, 0x08, 0x7e, 0x62, 0x4a, 0x8a, 0x4b, 0x79, 0xe1, 0x7f, 0x8b, 0x83, 0x80, 0x0e, 0xe6, 0x6f, 0x3b,
            0xb1, 0x29, 0x26, 0x18, 0xb6, 0xfd, 0x1c, 0x2f, 0x8b, 0x27, 0xff, 0x88, 0xe0, 0xeb,
        ];
        let public = PrivateKey::from(bytes).public_key();
        assert_eq!(public.to_string(), "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08");
    }

    #[test]
    fn a_key_survives_its_text_and_hides_from_debug() {
        let key = PrivateKey::generate();
        let text = key.to_secret_text();
        assert_eq!(text.len(), 43);
        assert_eq!(text.parse(), Ok(key));
        assert!(!format!("{key:?}").contains(&text));
        assert_ne!(key, PrivateKey::generate());
        for bad in ["", "abc", &format!("{text}="), &text[1..], "!".repeat(43).as_str()] {
            assert_eq!(bad.parse::<PrivateKey>(), Err(InvalidIdentity::Key));
        }
    }

    #[test]
    fn a_short_id_is_pairs_of_hexadecimal_digits() {
        assert_eq!(ShortId::generate().as_str().len(), 8);
        assert_ne!(ShortId::generate(), ShortId::generate());
        let id: ShortId = "0123ABcd".parse().unwrap();
        assert_eq!(id.as_str(), "0123abcd");
        assert_eq!(id.padded_bytes(), [0x01, 0x23, 0xab, 0xcd, 0, 0, 0, 0]);
        assert_eq!("".parse::<ShortId>().unwrap().padded_bytes(), [0; 8]);
        for bad in ["abc", "xy", "00112233445566778", "0011223344556677aa", "ü0"] {
            assert_eq!(bad.parse::<ShortId>(), Err(InvalidIdentity::ShortId), "{bad}");
        }
    }
}
