//! `GET /sub/{token}`: what a client fetches again and again to learn its key's present link.
//!
//! The token is all that is asked for, so it is a secret: it goes to the agent and nowhere else, into no log, no span
//! and no error. A path that cannot be a token is answered like a token that nobody has.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, HeaderName, HeaderValue};
use portmeter_proto::v1::{GetSubscriptionRequest, GetSubscriptionResponse, SubscriptionFormat};
use utoipa::ToSchema;

use crate::answer;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::query::Query;
use crate::request::Segment;

/// How many hexadecimal digits a token has.
const TOKEN_DIGITS: usize = 32;

/// How often a client is to look for changes, in hours. Links change when somebody changes them, and the figures that
/// come with them are of interest a few times a day.
const UPDATE_INTERVAL_HOURS: HeaderValue = HeaderValue::from_static("12");

const USER_INFO: HeaderName = HeaderName::from_static("subscription-userinfo");
const TITLE: HeaderName = HeaderName::from_static("profile-title");
const UPDATE_INTERVAL: HeaderName = HeaderName::from_static("profile-update-interval");

/// A list of links, or complete configurations.
#[derive(ToSchema)]
#[schema(as = SubscriptionFormat, rename_all = "lowercase")]
#[allow(dead_code, reason = "the query is read by FORMATS")]
enum Format {
    Base64,
    Json,
}

/// The words of the query's `format`.
const FORMATS: [(&str, SubscriptionFormat); 2] = [
    ("base64", SubscriptionFormat::Base64),
    ("json", SubscriptionFormat::Json),
];

/// The path of the subscription with this token.
pub(crate) fn path(token: &str) -> String {
    format!("/sub/{token}")
}

/// What a client fetches again and again to learn its key's present link: the list of links in base64, or complete
/// configurations as JSON.
///
/// Without `format` it is JSON for who accepts `application/json` and not plain text.
#[utoipa::path(
    get,
    path = "/sub/{token}",
    params(("format" = inline(Option<Format>), Query, description = "Which of the two.")),
    responses(
        (status = 200, content((String = "text/plain"), (Value = "application/json"))),
        (status = 500, description = "The agent failed; its log says more."),
        (status = 503, description = "The agent cannot be reached or is not ready."),
    )
)]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    Segment(token): Segment,
    query: Query,
    headers: HeaderMap,
) -> Response {
    // No answer is to be kept by anybody between, not even that there is none.
    let mut response = find(&gateway, token, &query, &headers).await.into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn find(gateway: &Gateway, token: String, query: &Query, headers: &HeaderMap) -> Result<Response, Failure> {
    if !is_token(&token) {
        return Err(Failure::subscription_not_found());
    }
    // Whether somebody has the token comes before what else is wrong with the request.
    let format = match query.text("format") {
        Some(_) => query.choice("format", &FORMATS),
        None => Ok(format_of(headers)),
    };
    let request = GetSubscriptionRequest {
        token,
        format: format.as_ref().copied().unwrap_or_default().into(),
    };
    let subscription = gateway.keys().get_subscription(request).await?.into_inner();
    format?;
    respond(subscription)
}

fn respond(subscription: GetSubscriptionResponse) -> Result<Response, Failure> {
    let user_info = answer::header_value(&subscription.user_info, "user_info")?;
    let title = format!("base64:{}", BASE64_STANDARD.encode(&subscription.title));
    let title = answer::header_value(&title, "title")?;
    let mut response = answer::secret_file(&subscription.content_type, subscription.body.into())?;
    let headers = response.headers_mut();
    headers.insert(USER_INFO, user_info);
    headers.insert(TITLE, title);
    headers.insert(UPDATE_INTERVAL, UPDATE_INTERVAL_HOURS);
    Ok(response)
}

/// Whether `text` can be a token: a fixed number of lower-case hexadecimal digits.
fn is_token(text: &str) -> bool {
    text.len() == TOKEN_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// JSON for who takes JSON and not the plain text that the list is. Clients are not told apart by their names: which of
/// them reads what changes with their versions.
fn format_of(headers: &HeaderMap) -> SubscriptionFormat {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let types = accepted.flat_map(|value| value.split(','));
    let types: Vec<&str> = types
        .map(|part| part.split(';').next().unwrap_or_default().trim())
        .collect();
    let takes = |words: &[&str]| {
        types
            .iter()
            .any(|given| words.iter().any(|word| given.eq_ignore_ascii_case(word)))
    };
    if takes(&["application/json"]) && !takes(&["text/plain", "text/*", "*/*"]) {
        SubscriptionFormat::Json
    } else {
        SubscriptionFormat::Base64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_thirty_two_lower_case_digits() {
        assert!(is_token("0123456789abcdef0123456789abcdef"));
        for text in [
            "",
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcdef0",
            "0123456789ABCDEF0123456789abcdef",
            "0123456789abcdef0123456789abcdeg",
            "0123456789abcdef0123456789abcd/e",
            "0123456789abcdef0123456789abcdé",
        ] {
            assert!(!is_token(text), "{text}");
        }
    }

    #[test]
    fn json_is_for_those_who_take_nothing_else() {
        let format = |accepts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for accept in accepts {
                headers.append(ACCEPT, HeaderValue::from_static(accept));
            }
            format_of(&headers)
        };
        for accepts in [
            &["application/json"][..],
            &["Application/JSON; q=0.9"],
            &["image/png", "application/json"],
        ] {
            assert_eq!(format(accepts), SubscriptionFormat::Json, "{accepts:?}");
        }
        for accepts in [
            &[][..],
            &["*/*"],
            &["text/html"],
            &["application/json, text/plain, */*"],
            &["application/json", "text/*"],
            &["application/jsonp"],
        ] {
            assert_eq!(format(accepts), SubscriptionFormat::Base64, "{accepts:?}");
        }
    }
}
