//! Which fields a call changes: AIP-134's field masks, as a plain function of the message.

use portmeter_proto::details::InvalidField;
use portmeter_proto::v1::UpdateKeyRequest;

use crate::services::ServiceError;
use crate::store::KeyUpdate;

/// Every field that can be changed.
const FIELDS: [&str; 3] = ["name", "is_active", "alias"];

/// What a request changes. Without a mask that is what is present; with one it is what the mask names, and a named field
/// that is absent gets the value of an absent field: no alias, not active, an empty name, which is refused later.
pub(super) fn key_update(request: UpdateKeyRequest) -> Result<KeyUpdate, ServiceError> {
    let paths = request.update_mask.unwrap_or_default().paths;
    if paths.is_empty() {
        return Ok(KeyUpdate {
            name: request.name,
            is_active: request.is_active,
            alias: request.alias,
        });
    }
    let unknown: Vec<InvalidField> = paths.iter().filter_map(|path| fault(path)).collect();
    if !unknown.is_empty() {
        return Err(ServiceError::invalid_fields(unknown));
    }
    let is_masked = |field: &str| paths.iter().any(|path| path == field || path == "*");
    Ok(KeyUpdate {
        name: is_masked("name").then(|| request.name.unwrap_or_default()),
        is_active: is_masked("is_active").then(|| request.is_active.unwrap_or_default()),
        alias: is_masked("alias").then(|| request.alias.unwrap_or_default()),
    })
}

fn fault(path: &str) -> Option<InvalidField> {
    if path == "*" || FIELDS.contains(&path) {
        return None;
    }
    let path: String = path.chars().take(40).collect();
    Some(InvalidField {
        name: "update_mask",
        sentence: format!(
            "update_mask names \"{}\", which cannot be changed; {} and * can",
            path.escape_default(),
            FIELDS.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use prost_types::FieldMask;

    use super::*;

    fn request(paths: &[&str]) -> UpdateKeyRequest {
        UpdateKeyRequest {
            key_id: "id".to_owned(),
            name: Some("n".to_owned()),
            is_active: Some(true),
            alias: Some("a".to_owned()),
            update_mask: Some(FieldMask {
                paths: paths.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    fn update(name: Option<&str>, is_active: Option<bool>, alias: Option<&str>) -> KeyUpdate {
        KeyUpdate {
            name: name.map(str::to_owned),
            is_active,
            alias: alias.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_masked_is_changed_and_nothing_else() {
        let everything = update(Some("n"), Some(true), Some("a"));
        for (paths, expected) in [
            (&["name"][..], update(Some("n"), None, None)),
            (&["is_active"], update(None, Some(true), None)),
            (&["alias", "alias"], update(None, None, Some("a"))),
            (&["name", "is_active", "alias"], everything.clone()),
            (&["*"], everything.clone()),
            (&[], everything),
        ] {
            assert_eq!(key_update(request(paths)).unwrap(), expected, "{paths:?}");
        }
        let unmasked = UpdateKeyRequest {
            name: None,
            update_mask: None,
            ..request(&[])
        };
        assert_eq!(key_update(unmasked).unwrap(), update(None, Some(true), Some("a")));
    }

    #[test]
    fn a_masked_field_that_is_absent_gets_the_value_of_an_absent_one() {
        let absent = UpdateKeyRequest {
            name: None,
            is_active: None,
            alias: None,
            ..request(&["*"])
        };
        assert_eq!(key_update(absent).unwrap(), update(Some(""), Some(false), Some("")));
    }

    #[test]
    fn every_path_that_is_no_such_field_is_named() {
        let error = key_update(request(&["name", "key_id", "Alias", "\"é"])).unwrap_err();
        let fields = &error.details.invalid_fields;
        assert_eq!(fields.len(), 3);
        assert!(fields.iter().all(|field| field.name == "update_mask"));
        assert!(
            error.message.contains("\"key_id\"") && error.message.contains("\"Alias\""),
            "{error}"
        );
    }
}
