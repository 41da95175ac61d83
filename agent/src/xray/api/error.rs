//! What can become of a call to the core, by what the caller does next.

use std::error::Error as _;
use std::net::SocketAddr;

use tonic::{Code, Status};

use super::super::reality::PrivateKey;

/// Most characters of the core's text that are repeated.
const TEXT_CHARACTERS_MAX: usize = 300;

/// How the core says that a tag is taken.
const TAG_EXISTS: &str = "existing tag found";

/// How the core says that it has no such inbound.
const UNKNOWN_TAG: &str = "not enough information for making a decision";

/// The core did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Nobody answers, or not in time: the core is absent, restarting, or its API is somewhere else. Whether it has
    /// done what it was asked is not known.
    #[error(
        "the core's API does not answer at {0}: the core is absent or restarting, or xray.api_listen is not where its API listens"
    )]
    Unreachable(SocketAddr),
    /// The core refuses, and says why in one line.
    #[error("the core refuses: {0}")]
    Refused(String),
    /// The core has an inbound of this tag.
    #[error("the core already has an inbound {0}; remove it before adding it anew")]
    TagExists(String),
    /// What listens there offers no such service.
    #[error(
        "the core's API offers no {0}; add it to \"api\".\"services\" in the core's configuration and restart the core"
    )]
    NotHandler(&'static str),
}

/// What was asked, to tell what the answer means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'call> {
    pub(super) api_listen: SocketAddr,
    /// The service's name without its package.
    pub(super) service: &'static str,
    /// The inbound it is about; empty where it is about none.
    pub(super) tag: &'call str,
    /// The key in the request.
    pub(super) private_key: Option<&'call PrivateKey>,
}

/// Whether the core says that it has no inbound of the tag it was asked to remove.
pub(super) fn is_unknown_tag(error: &ApiError) -> bool {
    matches!(error, ApiError::Refused(text) if text.contains(UNKNOWN_TAG))
}

/// The meaning of a status, whether the core or this side of the connection made it.
pub(super) fn classify(status: &Status, asked: Asked<'_>) -> ApiError {
    // What the core says comes over the wire and has no source; what has one broke on the way.
    let is_local = status.source().is_some();
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => ApiError::Unreachable(asked.api_listen),
        _ if is_local => ApiError::Unreachable(asked.api_listen),
        Code::Unimplemented => ApiError::NotHandler(asked.service),
        _ if status.message().contains(TAG_EXISTS) => ApiError::TagExists(asked.tag.to_owned()),
        _ => ApiError::Refused(clean(status.message(), asked.private_key)),
    }
}

/// The text on one line, short, and without the key in any of the ways the core could print it.
fn clean(text: &str, private_key: Option<&PrivateKey>) -> String {
    let mut text = text.to_owned();
    for secret in private_key.iter().flat_map(|key| spellings(key)) {
        text = text.replace(&secret, "***");
    }
    let printable = text.replace(|character: char| character.is_control(), " ");
    let line = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return "it does not say why".to_owned();
    }
    line.chars().take(TEXT_CHARACTERS_MAX).collect()
}

/// As in a configuration, in hexadecimal, and as Go prints bytes.
fn spellings(key: &PrivateKey) -> [String; 3] {
    let hexadecimal = key.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let decimal: Vec<String> = key.bytes().iter().map(u8::to_string).collect();
    [key.to_secret_text(), hexadecimal, decimal.join(" ")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(private_key: Option<&PrivateKey>) -> Asked<'_> {
        Asked {
            api_listen: SocketAddr::from(([127, 0, 0, 1], 9436)),
            service: "HandlerService",
            tag: "inbound-x",
            private_key,
        }
    }

    fn meaning(code: Code, text: &str) -> ApiError {
        classify(&Status::new(code, text), asked(None))
    }

    #[test]
    fn the_caller_can_tell_what_to_do_next() {
        let unreachable = ApiError::Unreachable(asked(None).api_listen);
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled] {
            assert_eq!(meaning(code, "x"), unreachable);
        }
        assert_eq!(
            meaning(Code::Unimplemented, "unknown service"),
            ApiError::NotHandler("HandlerService")
        );
        assert_eq!(
            meaning(Code::Unknown, "existing tag found: inbound-x"),
            ApiError::TagExists("inbound-x".to_owned())
        );
        let refused = meaning(
            Code::Unknown,
            "app/proxyman: failed to listen\n\t> permission denied\u{7}",
        );
        assert_eq!(
            refused,
            ApiError::Refused("app/proxyman: failed to listen > permission denied".to_owned())
        );
        assert!(is_unknown_tag(&meaning(
            Code::Unknown,
            "not enough information for making a decision"
        )));
        assert!(!is_unknown_tag(&refused) && !is_unknown_tag(&unreachable));
        assert_eq!(
            meaning(Code::Unknown, " \n"),
            ApiError::Refused("it does not say why".to_owned())
        );
    }

    #[test]
    fn a_connection_that_breaks_during_a_call_is_no_refusal() {
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let status = Status::from_error(Box::new(broken));
        assert_eq!(
            classify(&status, asked(None)),
            ApiError::Unreachable(asked(None).api_listen)
        );
    }

    #[test]
    fn a_refusal_is_short_and_holds_no_key() {
        let key = PrivateKey::generate();
        for secret in spellings(&key) {
            let status = Status::unknown(format!("bad key: [{secret}] {}", "ü".repeat(400)));
            let ApiError::Refused(text) = classify(&status, asked(Some(&key))) else {
                panic!("it is a refusal");
            };
            assert!(text.starts_with("bad key: [***] ü"), "{text}");
            assert_eq!(text.chars().count(), TEXT_CHARACTERS_MAX);
        }
    }
}
