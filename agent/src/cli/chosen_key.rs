//! Which key a person means: by its id or uuid, and as well by its port, its name or its alias.

use anyhow::{Result, anyhow, bail};
use portmeter_gateway::Transport;
use portmeter_proto::v1::key_service_client::KeyServiceClient;
use portmeter_proto::v1::{Key, ListKeysRequest};
use uuid::Uuid;

use super::running_agent::{ANSWER_BYTES_MAX, refusal};

/// How a key is named on the command line, for `help`.
pub(super) const KEY_HELP: &str = "The key's id, uuid, port, name or alias";

/// What the agent knows the key by. Only a text that is no id needs a look at the other keys.
pub(super) async fn key_id(transport: &Transport, text: &str) -> Result<String> {
    if Uuid::parse_str(text).is_ok() {
        return Ok(text.to_owned());
    }
    let mut client = KeyServiceClient::new(transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let answer = client.list_keys(ListKeysRequest::default()).await.map_err(refusal)?;
    Ok(choose(&answer.into_inner().keys, text)?.id.clone())
}

/// The one key that has this port, name or alias.
fn choose<'a>(keys: &'a [Key], text: &str) -> Result<&'a Key> {
    let port: Option<u32> = text.parse().ok();
    let is_meant = |key: &&Key| (key.port.is_some() && key.port == port) || key.name == text || key.alias == text;
    let mut meant = keys.iter().filter(|_| !text.is_empty()).filter(is_meant);
    let key = meant
        .next()
        .ok_or_else(|| anyhow!("no key has this id, uuid, port, name or alias: `portmeter key list` shows them"))?;
    match meant.count() {
        0 => Ok(key),
        others => bail!("{} keys are meant by this: name one by its id", others + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, name: &str, alias: &str, port: Option<u32>) -> Key {
        Key {
            id: id.to_owned(),
            name: name.to_owned(),
            alias: alias.to_owned(),
            port,
            ..Key::default()
        }
    }

    #[test]
    fn a_key_is_chosen_only_where_one_alone_is_meant() {
        let keys = [
            key("1", "alice", "", Some(10_001)),
            key("2", "bob", "Robert", Some(10_002)),
            key("3", "bob", "", None),
            key("4", "10001", "", Some(10_004)),
        ];
        for (text, expected) in [
            ("alice", Ok("1")),
            ("Robert", Ok("2")),
            ("10002", Ok("2")),
            ("10004", Ok("4")),
            ("bob", Err("2 keys are meant by this: name one by its id")),
            ("10001", Err("2 keys are meant by this: name one by its id")),
            (
                "carol",
                Err("no key has this id, uuid, port, name or alias: `portmeter key list` shows them"),
            ),
            (
                "",
                Err("no key has this id, uuid, port, name or alias: `portmeter key list` shows them"),
            ),
        ] {
            let found = choose(&keys, text).map(|key| key.id.clone());
            let found = found.map_err(|error| error.to_string());
            assert_eq!(
                found.as_ref().map(String::as_str).map_err(String::as_str),
                expected,
                "{text}"
            );
        }
    }
}
