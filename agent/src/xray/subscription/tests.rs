//! What clients are given, read as they read it, by a real core where there is one.

use std::collections::HashSet;
use std::env;
use std::process::Command;

use uuid::Uuid;

use super::*;
use crate::settings::{Kind, XRAY_FINGERPRINT, find};
use crate::xray::link::{FINGERPRINT, vless_url};
use crate::xray::reality::{PrivateKey, ShortId};

/// The executable of a real Xray core.
const CORE_VARIABLE: &str = "PORTMETER_XRAY";

fn server<'a>(host: &'a str, flow: &'a str) -> LinkServer<'a> {
    LinkServer {
        host,
        fingerprint: FINGERPRINT,
        flow,
    }
}

fn reality() -> Reality {
    Reality {
        private_key: PrivateKey::generate(),
        short_ids: vec![ShortId::generate(), ShortId::generate()],
        dest: "www.microsoft.com:443".to_owned(),
        server_names: vec!["www.microsoft.com".to_owned()],
    }
}

fn key(name: &str) -> LinkKey<'_> {
    LinkKey {
        uuid: Uuid::from_u128(7),
        name,
        port: 10_001,
    }
}

#[test]
fn a_token_is_its_digits_and_hides_from_debug() {
    let token = SubscriptionToken::generate();
    let text = token.to_secret_text();
    assert_eq!(text.len(), 32);
    assert_eq!(text.parse(), Ok(token));
    assert!(!format!("{token:?}").contains(&text));
    assert_eq!(SubscriptionToken([0xab; 16]).to_secret_text(), "ab".repeat(16));
    for bad in [
        "",
        "0",
        &text[1..],
        &format!("{text}0"),
        &"AB".repeat(16),
        &"+1".repeat(16),
        &"ü".repeat(16),
    ] {
        assert_eq!(bad.parse::<SubscriptionToken>(), Err(InvalidToken), "{bad}");
    }
}

#[test]
fn tokens_are_all_different() {
    let texts: HashSet<String> = (0..1_000)
        .map(|_| SubscriptionToken::generate().to_secret_text())
        .collect();
    assert_eq!(texts.len(), 1_000);
}

#[test]
fn the_list_is_the_link_on_a_line() {
    let link = vless_url(&server("vpn.example.com", ""), &key("Bob Müller"), &reality());
    let list = STANDARD.decode(base64_list(&link)).unwrap();
    assert_eq!(String::from_utf8(list).unwrap(), format!("{link}\n"));
}

#[test]
fn a_configuration_says_what_the_link_says() {
    let (reality, key) = (reality(), key("\"quotes\" and\nlines"));
    for flow in ["xtls-rprx-vision", ""] {
        let text = client_configurations(&server("2001:db8::1", flow), &key, &reality);
        let configurations: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(configurations.as_array().unwrap().len(), 1);
        let configuration = &configurations[0];
        assert_eq!(configuration["remarks"], key.name);
        let proxy = &configuration["outbounds"][0];
        let server = &proxy["settings"]["vnext"][0];
        assert_eq!(
            (&server["address"], &server["port"]),
            (&json!("2001:db8::1"), &json!(10_001))
        );
        let user = json!({ "id": key.uuid.to_string(), "encryption": "none", "flow": flow });
        assert_eq!(server["users"], json!([user]));
        let settings = &proxy["streamSettings"]["realitySettings"];
        assert_eq!(settings["publicKey"], reality.private_key.public_key().to_string());
        assert_eq!(settings["shortId"], reality.short_ids[0].as_str());
        assert_eq!(settings["serverName"], reality.server_names[0]);
        assert!(!text.contains(&reality.private_key.to_secret_text()));
        for inbound in configuration["inbounds"].as_array().unwrap() {
            assert_eq!(inbound["listen"], "127.0.0.1");
        }
    }
}

#[test]
fn upload_is_what_the_server_received() {
    assert_eq!(
        user_info(1, u64::MAX),
        "upload=1; download=18446744073709551615; total=0; expire=0"
    );
}

/// Left out, with the reason, where no core is named.
#[test]
fn a_real_core_takes_the_configuration() {
    let Some(core) = env::var_os(CORE_VARIABLE) else {
        println!("left out: {CORE_VARIABLE} does not name the executable of an Xray core");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, host, flow) in [
        ("named", "vpn.example.com", "xtls-rprx-vision"),
        ("addressed", "2001:db8::1", ""),
    ] {
        let file = folder.path().join(format!("{name}.json"));
        let test = |configuration: &Value| {
            std::fs::write(&file, configuration.to_string()).unwrap();
            Command::new(&core)
                .args(["run", "-test", "-c"])
                .arg(&file)
                .output()
                .unwrap()
        };
        let good = client_configuration(&server(host, flow), &key(name), &reality());
        let output = test(&good);
        assert!(output.status.success(), "{name}: {output:?}");

        let Kind::Choice(fingerprints) = find(XRAY_FINGERPRINT).unwrap().kind else {
            panic!("the fingerprint is one of some")
        };
        for fingerprint in fingerprints {
            let server = LinkServer {
                fingerprint,
                ..server(host, flow)
            };
            let output = test(&client_configuration(&server, &key(name), &reality()));
            assert!(output.status.success(), "{fingerprint}: {output:?}");
        }

        // The core does look at what it is given.
        let mut bad = good;
        bad["outbounds"][0]["streamSettings"]["realitySettings"]["publicKey"] = json!("too short");
        assert!(!test(&bad).status.success(), "the core takes anything");
    }
}
