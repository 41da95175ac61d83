//! What the core is to be like, as plain data: made from the store's snapshot and the configuration, told to the core
//! over its API and written into its configuration file.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use uuid::Uuid;

use super::reality::{PrivateKey, ShortId};

/// The beginning of the tag of every inbound that is Portmeter's; the key's uuid follows.
const TAG_PREFIX: &str = "inbound-";

/// Everything that is wanted of the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What all inbounds share.
    pub settings: CoreSettings,
    /// One for each enabled key that has a port, in the order of creation.
    pub inbounds: Vec<WantedInbound>,
}

/// What the configuration says about the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreSettings {
    /// The address that inbounds listen on; `None` for all addresses.
    pub listen: Option<IpAddr>,
    /// `xtls-rprx-vision` or empty, in inbounds and links alike.
    pub flow: String,
    /// How far a client's clock may be off, in milliseconds as the core counts it; 0 switches the check off.
    pub max_time_diff_ms: u64,
    /// Where the core's own API listens.
    pub api_listen: SocketAddr,
    /// The agent's file for the core's access log; `None` where it has none.
    pub access_log: Option<String>,
}

/// A key's inbound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedInbound {
    /// The key's VLESS uuid: the client's id, its email in the core's statistics, and the end of the tag.
    pub uuid: Uuid,
    /// The key's port.
    pub port: u16,
    /// Its REALITY settings; shared where keys have the server's.
    pub reality: Arc<Reality>,
}

/// What a REALITY inbound and the links to it must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reality {
    /// The server's half of the key; links carry the other.
    pub private_key: PrivateKey,
    /// Accepted short ids, at least one; links carry the first.
    pub short_ids: Vec<ShortId>,
    /// The TLS 1.3 server that lends its handshake, `host:port`.
    pub dest: String,
    /// Accepted server names, at least one; links carry the first.
    pub server_names: Vec<String>,
}

impl WantedInbound {
    /// The inbound's tag.
    pub fn tag(&self) -> String {
        tag_of(self.uuid)
    }
}

/// The tag of a key's inbound.
pub fn tag_of(uuid: Uuid) -> String {
    format!("{TAG_PREFIX}{uuid}")
}

/// The uuid in a tag, if the inbound is Portmeter's. Anything but `inbound-` and a uuid in lower case with hyphens is
/// somebody else's.
pub fn uuid_of_tag(tag: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(tag.strip_prefix(TAG_PREFIX)?).ok()?;
    (tag_of(uuid) == tag).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_its_key_and_nothing_else_does() {
        let uuid = Uuid::new_v4();
        assert_eq!(uuid_of_tag(&tag_of(uuid)), Some(uuid));
        for tag in [
            "api".to_owned(),
            "inbound-".to_owned(),
            "inbound-1".to_owned(),
            format!("inbound-{}", uuid.simple()),
            format!("Inbound-{uuid}"),
            format!("inbound-{}", uuid.to_string().to_uppercase()),
        ] {
            // A uuid without letters reads the same in both cases.
            assert!(uuid_of_tag(&tag).is_none() || tag == tag_of(uuid), "{tag}");
        }
    }
}
