//! What the panel changes of its users: add, delete, kick, update-alias.
//!
//! What is wrong with a request is said before the agent is asked: the body, then whom it means, then the rest.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use portmeter_proto::reason::Reason;
use portmeter_proto::v1::{CreateKeyRequest, DeleteKeyRequest, Key, RegenerateKeyRequest, UpdateKeyRequest};
use serde::Serialize;
use utoipa::ToSchema;

use super::wanted::{Wanted, gone_or};
use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::openapi::bodies::{Done, UserAliasWanted, UserCreation, UserWanted};
use crate::panel_request::PanelFields;
use crate::request::Fields;

/// The longest email, in characters: that of a key's name.
const EMAIL_CHARACTERS_MAX: usize = 255;

/// Adds a user: a key whose name is the email, which nobody else may have.
#[utoipa::path(
    post,
    path = "/api/users/add",
    request_body = UserCreation,
    responses((status = 200, body = UserAdded), (status = 409, description = "Another user has the email."))
)]
pub(crate) async fn add(
    State(gateway): State<Gateway>,
    PanelFields(fields): PanelFields,
) -> Result<Response, PanelFailure> {
    let email = email(&fields)?;
    let request = CreateKeyRequest {
        name: email.to_owned(),
        is_name_unique: true,
        ..CreateKeyRequest::default()
    };
    let created = gateway.keys().create_key(request).await;
    let created = created.map_err(|status| match Reason::of(&status) {
        Reason::KeyNameTaken => Failure::user_exists(email),
        _ => status.into(),
    })?;
    let key = some(created.into_inner().key)?;
    Ok(answer::json(&UserAdded {
        ok: true,
        user: AddedUser {
            uuid: &key.uuid,
            email: &key.name,
        },
        uuid: &key.uuid,
    }))
}

#[derive(Serialize, ToSchema)]
struct UserAdded<'a> {
    ok: bool,
    user: AddedUser<'a>,
    #[schema(format = "uuid")]
    uuid: &'a str,
}

#[derive(Serialize, ToSchema)]
struct AddedUser<'a> {
    #[schema(format = "uuid")]
    uuid: &'a str,
    email: &'a str,
}

/// Deletes a user as `DELETE /api/keys/{key_id}` deletes the key.
#[utoipa::path(
    post,
    path = "/api/users/delete",
    request_body = UserWanted,
    responses((status = 200, body = Done), (status = 404, description = "No user is meant by these."))
)]
pub(crate) async fn delete(
    State(gateway): State<Gateway>,
    PanelFields(fields): PanelFields,
) -> Result<Response, PanelFailure> {
    let wanted = Wanted::of_fields(&fields)?;
    let key_id = found(&wanted, &gateway).await?.id;
    let deleted = gateway.keys().delete_key(DeleteKeyRequest { key_id }).await;
    deleted.map_err(|status| gone_or(status, || wanted.not_found()))?;
    Ok(answer::json_bytes(Bytes::from_static(br#"{"ok":true}"#)))
}

/// Gives a user another uuid: the old link stops working, everything else stays.
#[utoipa::path(
    post,
    path = "/api/users/kick",
    request_body = UserWanted,
    responses((status = 200, body = UserKicked), (status = 404, description = "No user is meant by these."))
)]
pub(crate) async fn kick(
    State(gateway): State<Gateway>,
    PanelFields(fields): PanelFields,
) -> Result<Response, PanelFailure> {
    let wanted = Wanted::of_fields(&fields)?;
    let key_id = found(&wanted, &gateway).await?.id;
    let kicked = gateway.keys().regenerate_key(RegenerateKeyRequest { key_id }).await;
    let kicked = kicked.map_err(|status| gone_or(status, || wanted.not_found()))?;
    let key = some(kicked.into_inner().key)?;
    Ok(answer::json(&UserKicked {
        ok: true,
        new_uuid: &key.uuid,
    }))
}

#[derive(Serialize, ToSchema)]
struct UserKicked<'a> {
    ok: bool,
    #[schema(format = "uuid")]
    new_uuid: &'a str,
}

/// Sets the name that is shown beside a user's email; without one there is none any more.
#[utoipa::path(
    post,
    path = "/api/users/update-alias",
    request_body = UserAliasWanted,
    responses((status = 200, body = UserAlias), (status = 404, description = "No user is meant by these."))
)]
pub(crate) async fn update_alias(
    State(gateway): State<Gateway>,
    PanelFields(fields): PanelFields,
) -> Result<Response, PanelFailure> {
    let wanted = Wanted::of_fields(&fields)?;
    let alias = fields.text("alias")?.unwrap_or_default().to_owned();
    let request = UpdateKeyRequest {
        key_id: found(&wanted, &gateway).await?.id,
        alias: Some(alias),
        ..UpdateKeyRequest::default()
    };
    let updated = gateway.keys().update_key(request).await;
    let updated = updated.map_err(|status| gone_or(status, || wanted.not_found()))?;
    let key = some(updated.into_inner().key)?;
    Ok(answer::json(&UserAlias {
        ok: true,
        email: &key.name,
        alias: &key.alias,
    }))
}

#[derive(Serialize, ToSchema)]
struct UserAlias<'a> {
    ok: bool,
    email: &'a str,
    alias: &'a str,
}

async fn found(wanted: &Wanted<'_>, gateway: &Gateway) -> Result<Key, Failure> {
    wanted.key(gateway).await?.ok_or_else(|| wanted.not_found())
}

fn some(key: Option<Key>) -> Result<Key, Failure> {
    key.ok_or_else(|| Failure::incomplete("key"))
}

/// The email of a user to be added, in the words of the panel where it is none: text on both sides of an `@`.
fn email(fields: &Fields) -> Result<&str, Failure> {
    let required = || Failure::bad_request("email_required");
    let email = fields.text("email").ok().flatten().unwrap_or_default().trim();
    if email.is_empty() {
        return Err(required());
    }
    let has_both_sides = |(left, right): (&str, &str)| !left.trim().is_empty() && !right.trim().is_empty();
    if !email.split_once('@').is_some_and(has_both_sides) {
        return Err(Failure::bad_request("invalid_email_format"));
    }
    if email.chars().count() > EMAIL_CHARACTERS_MAX {
        return Err(Failure::bad_request("email_too_long"));
    }
    Ok(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_has_text_on_both_sides() {
        let read = |text: String| -> Result<String, String> {
            let fields = Fields::parse(format!("{{\"email\":{text}}}").as_bytes()).unwrap();
            email(&fields).map(ToOwned::to_owned).map_err(Failure::into_text)
        };
        let quoted = |text: &str| read(serde_json::to_string(text).unwrap());
        for (text, expected) in [
            ("a@b", "a@b"),
            (" user@example.com\n", "user@example.com"),
            ("ü@é", "ü@é"),
            ("a@@b", "a@@b"),
        ] {
            assert_eq!(quoted(text), Ok(expected.to_owned()), "{text}");
        }
        for text in ["a", "@", "a@", "@b", " @ ", "a@ ", "a b"] {
            assert_eq!(quoted(text), Err("invalid_email_format".to_owned()), "{text}");
        }
        for text in ["5", "null", "[]", "\"\"", "\" \""] {
            assert_eq!(read(text.to_owned()), Err("email_required".to_owned()), "{text}");
        }
        let longest = format!("{}@b", "ы".repeat(EMAIL_CHARACTERS_MAX - 2));
        assert_eq!(quoted(&longest).unwrap(), longest);
        assert_eq!(quoted(&format!("{longest}b")), Err("email_too_long".to_owned()));
        assert_eq!(
            quoted(&"x".repeat(300)),
            Err("invalid_email_format".to_owned()),
            "the form comes first"
        );
    }
}
