//! Conditional calls: a caller that still has the last answer asks whether it is current.
//!
//! The words are HTTP's, carried as gRPC metadata. A caller sends the tag of the answer it has as `if-none-match`.
//! The service tags every answer with `etag`; where the tag it would send is the one it was sent, it may leave the
//! message empty. A tag is opaque. It must change whenever the answer would, before the call that made the change
//! returns, and one tag must never stand for two answers, not even after a restart of the service: start it with
//! something random. A service that sends no tag is asked in full each time.
//!
//! `KeyService.ListKeys` uses it: writing out a hundred keys costs fifty times what asking costs.

use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Response};

/// The metadata entry with the tag that the caller has.
const KNOWN: &str = "if-none-match";

/// The metadata entry with the tag of the answer.
const CURRENT: &str = "etag";

/// A tag, cheap to clone; made from a text of visible ASCII by `parse` or `try_from`.
pub type Etag = MetadataValue<Ascii>;

/// Says in `request` that the caller has the answer with this tag.
pub fn set_known<T>(request: &mut Request<T>, etag: Etag) {
    request.metadata_mut().insert(KNOWN, etag);
}

/// Whether the caller of `request` has the answer with this tag, so that the service need not send it again.
pub fn is_known<T>(request: &Request<T>, etag: &Etag) -> bool {
    request.metadata().get(KNOWN) == Some(etag)
}

/// Tags an answer.
pub fn set_current<T>(response: &mut Response<T>, etag: Etag) {
    response.metadata_mut().insert(CURRENT, etag);
}

/// The tag of an answer, where the service gives it one.
pub fn current<T>(response: &Response<T>) -> Option<&Etag> {
    response.metadata().get(CURRENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_when_it_is_the_one_that_was_sent() {
        let (first, second): (Etag, Etag) = ("a-1".parse().unwrap(), "a-2".parse().unwrap());
        let mut request = Request::new(());
        assert!(!is_known(&request, &first));
        set_known(&mut request, first.clone());
        assert!(is_known(&request, &first));
        assert!(!is_known(&request, &second));
    }

    #[test]
    fn an_answer_has_the_tag_it_was_given() {
        let mut response = Response::new(());
        assert_eq!(current(&response), None);
        set_current(&mut response, "a-1".parse().unwrap());
        assert_eq!(current(&response).unwrap(), "a-1");
    }
}
