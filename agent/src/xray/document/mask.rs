//! A document that may be shown: what opens something is replaced by `***`.

use serde_json::{Map, Value};

use super::Document;

/// What stands where a secret was.
const MASK: &str = "***";

/// Names whose value is a secret wherever they stand, in lower case: the core does not mind the case either.
const SECRETS: [&str; 18] = [
    "privatekey",
    "mldsa65seed",
    "password",
    "passwd",
    "pass",
    "secret",
    "secretkey",
    "presharedkey",
    "psk",
    "token",
    // mKCP's and others' obfuscation.
    "seed",
    // A TLS certificate's key, written out; `keyFile` is a path.
    "key",
    "echserverkeys",
    "authorization",
    "proxy-authorization",
    "cookie",
    "obfspassword",
    "apikey",
];

/// Names whose value is a secret unless it is one of these words.
const SECRETS_UNLESS: [(&str, &[&str]); 3] = [
    // VLESS: the private half of its own encryption, or none.
    ("decryption", &["none"]),
    ("encryption", &["none"]),
    // SOCKS has a method here, Hysteria a password.
    ("auth", &["noauth", "password"]),
];

impl Document {
    /// The same with every secret replaced by `***`. VLESS clients' ids of inbounds are left: other routes show them.
    pub fn masked(&self) -> Self {
        let mut root = self.root.clone();
        mask(&mut root);
        for (name, is_inbound) in [("inbounds", true), ("outbounds", false)] {
            let Some(Value::Array(entries)) = root.get_mut(name) else {
                continue;
            };
            for entry in entries {
                let is_shown = is_inbound && entry["protocol"].as_str().is_some_and(is_vless);
                if let Some(settings) = entry.get_mut("settings").filter(|_| !is_shown) {
                    mask_ids(settings);
                }
            }
        }
        Self { root }
    }
}

fn is_vless(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("vless")
}

fn mask(object: &mut Map<String, Value>) {
    for (name, value) in object.iter_mut() {
        match is_secret(name, value) {
            true => hide(value),
            false => walk(value, &mut mask),
        }
    }
}

/// Hides the ids of other protocols' users and of accounts on other servers: they open those.
fn mask_ids(value: &mut Value) {
    walk(value, &mut |object| {
        for (name, value) in object.iter_mut() {
            match name.eq_ignore_ascii_case("id") {
                true => hide(value),
                false => mask_ids(value),
            }
        }
    });
}

/// Calls for the object itself, or for the objects of a list.
fn walk(value: &mut Value, each: &mut dyn FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => each(object),
        Value::Array(values) => values.iter_mut().for_each(|value| walk(value, each)),
        _ => {}
    }
}

fn is_secret(name: &str, value: &Value) -> bool {
    let name = name.to_ascii_lowercase();
    if let Some((_, words)) = SECRETS_UNLESS.iter().find(|(secret, _)| *secret == name) {
        return !value.as_str().is_some_and(|value| words.contains(&value));
    }
    SECRETS.contains(&name.as_str())
}

/// Nothing is hidden where there is nothing: that a secret is missing is no secret.
fn hide(value: &mut Value) {
    let is_nothing = match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    };
    if !is_nothing {
        *value = Value::String(MASK.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{check_golden, document, foreign, uuid, wanted};
    use super::super::render;

    /// A configuration with `SECRET` wherever something opens something, and only there.
    fn full_of_secrets() -> serde_json::Value {
        json!({
            "inbounds": [
                {"protocol": "vless", "port": 1, "settings": {
                    "clients": [{"id": uuid(1)}], "decryption": "mlkem768x25519plus.native.600s.SECRET"},
                 "streamSettings": {"security": "reality", "realitySettings": {
                    "PrivateKey": "SECRET", "mldsa65Seed": "SECRET", "shortIds": ["ab"], "serverNames": ["a"]}}},
                {"protocol": "vmess", "settings": {"clients": [{"id": "SECRET", "email": "a"}]}},
                {"protocol": "trojan", "settings": {"clients": [{"password": "SECRET"}]},
                 "streamSettings": {"tlsSettings": {"echServerKeys": "SECRET", "certificates": [
                    {"certificate": ["public"], "key": ["SECRET", "SECRET"]}, {"keyFile": "/a/path"}]}}},
                {"protocol": "http", "settings": {"accounts": [{"user": "me", "pass": "SECRET"}]}},
                {"protocol": "socks", "settings": {"auth": "password", "accounts": [{"user": "me", "pass": "SECRET"}]}},
                {"protocol": "shadowsocks", "settings": {"method": "aes-256-gcm", "password": "SECRET"}},
                {"protocol": "hysteria", "settings": {"users": [{"auth": "SECRET"}]},
                 "streamSettings": {"kcpSettings": {"seed": "SECRET"}, "wsSettings": {"headers": {"Authorization": "SECRET"}}}},
            ],
            "outbounds": [
                {"protocol": "wireguard", "settings": {"secretKey": "SECRET", "peers": [
                    {"publicKey": "public", "preSharedKey": "SECRET"}]}},
                {"protocol": "vless", "settings": {"vnext": [{"address": "a", "users": [
                    {"id": "SECRET", "encryption": "none"}, {"id": "SECRET", "encryption": "x.SECRET"}]}]}},
                {"protocol": "vless", "settings": {"address": "a", "id": "SECRET", "encryption": "none"}},
                {"protocol": "socks", "settings": {"servers": [{"users": [{"user": "me", "pass": "SECRET"}]}]}},
            ],
        })
    }

    #[test]
    fn no_secret_is_left_and_all_the_rest_is() {
        let full = full_of_secrets();
        let masked = document(full.clone()).masked().to_text();
        assert!(!masked.contains("SECRET"), "{masked}");
        let expected = full
            .to_string()
            .replace(r#"["SECRET","SECRET"]"#, "\"***\"")
            .replace("mlkem768x25519plus.native.600s.SECRET", "***")
            .replace("x.SECRET", "***")
            .replace("SECRET", "***");
        assert_eq!(masked, document(serde_json::from_str(&expected).unwrap()).to_text());
    }

    #[test]
    fn what_is_not_there_is_not_masked() {
        let empty = json!({"inbounds": [{"privateKey": "", "key": [], "password": null, "decryption": "none"}]});
        assert_eq!(document(empty.clone()).masked(), document(empty));
    }

    #[test]
    fn a_masked_document_is_the_same_but_for_its_secrets() {
        check_golden("masked.json", &render(Some(&document(foreign())), &wanted(1)).masked());
    }
}
