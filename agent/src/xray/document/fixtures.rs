//! Wanted states and documents for the tests of this room.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Document;
use crate::xray::reality::PrivateKey;
use crate::xray::wanted::{CoreSettings, Reality, Wanted, WantedInbound};

/// The uuid of the key with this number.
pub(super) fn uuid(number: u16) -> Uuid {
    Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 | u128::from(number))
}

/// Keys 1 to `key_count`, on ports 10001 and up, with one REALITY identity.
pub(super) fn wanted(key_count: u16) -> Wanted {
    let reality = Arc::new(Reality {
        private_key: PrivateKey::from([7; 32]),
        short_ids: vec!["0a1b2c3d".parse().unwrap(), "ff00".parse().unwrap()],
        dest: "www.microsoft.com:443".to_owned(),
        server_names: vec!["www.microsoft.com".to_owned()],
    });
    let inbounds = (1..=key_count).map(|number| WantedInbound {
        uuid: uuid(number),
        port: 10_000 + number,
        reality: Arc::clone(&reality),
    });
    Wanted {
        settings: CoreSettings {
            listen: None,
            flow: "xtls-rprx-vision".to_owned(),
            max_time_diff_ms: 600_000,
            api_listen: "127.0.0.1:9436".parse().unwrap(),
            access_log: None,
        },
        inbounds: inbounds.collect(),
    }
}

/// A document from JSON that is known to be one.
pub(super) fn document(value: Value) -> Document {
    Document::parse(&value.to_string()).unwrap()
}

/// What somebody else might have: the older way to the API, a shared VLESS inbound, another protocol, odd characters.
pub(super) fn foreign() -> Value {
    json!({
        "routing": {
            "domainStrategy": "AsIs",
            "rules": [
                {"type": "field", "inboundTag": ["api"], "outboundTag": "api"},
                {"type": "field", "ip": ["geoip:private"], "outboundTag": "blocked"},
            ],
        },
        "api": {"tag": "api", "services": ["statsservice", "LoggerService"]},
        "inbounds": [
            {"tag": "api", "listen": "127.0.0.1", "port": 10_085, "protocol": "dokodemo-door",
             "settings": {"address": "127.0.0.1"}},
            {"tag": "shared", "port": 8443, "protocol": "VLESS",
             "settings": {
                "decryption": "none",
                "clients": [
                    {"id": uuid(900), "flow": "xtls-rprx-vision", "email": "anna@example.org"},
                    {"id": uuid(901).to_string().to_uppercase(), "email": "bob"},
                    {"id": "carla", "email": "carla \"the\" third\n"},
                ],
             },
             "streamSettings": {"network": "tcp", "security": "reality", "realitySettings": {
                "target": "example.org:443", "serverNames": ["example.org", "www.example.org"],
                "privateKey": PrivateKey::from([9; 32]).to_secret_text(), "shortIds": ["", "0123", "45"],
             }}},
            {"tag": "socks \"quoted\"\n\u{0}\u{fc}", "port": "1080", "protocol": "socks",
             "settings": {"auth": "password", "accounts": [{"user": "me", "pass": "hunter2"}]}},
        ],
        "outbounds": [
            {"tag": "exit", "protocol": "freedom"},
            {"tag": "blocked", "protocol": "blackhole"},
        ],
        "dns": {"servers": ["1.1.1.1"]},
    })
}

/// Compares a document with the file of this name in `golden`. `PORTMETER_WRITE_GOLDEN=1` writes it instead.
pub(super) fn check_golden(name: &str, document: &Document) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/xray/document/golden")
        .join(name);
    if std::env::var_os("PORTMETER_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, document.to_text()).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(document.to_text(), golden, "{}", path.display());
}
