//! Pages of keys: the token that names a place in the order of creation.
//!
//! A place is no key's for a second time, so a page begins where the one before has ended, whatever was made or removed in
//! between. A token ends with a check over itself and the ledger's name: one that this ledger did not give is refused
//! rather than taken for another place.

use uuid::Uuid;

use super::ServiceError;

/// Hexadecimal digits of the place and of the check.
const PLACE_DIGITS: usize = 16;
const CHECK_DIGITS: usize = 8;

/// The token for what follows a place.
pub(super) fn token(ledger_id: Uuid, place: i64) -> String {
    format!("{place:016x}{:08x}", check(ledger_id, place))
}

/// The place that a token names; the beginning for none.
pub(super) fn place(ledger_id: Uuid, token: &str) -> Result<i64, ServiceError> {
    if token.is_empty() {
        return Ok(0);
    }
    parse(ledger_id, token).ok_or_else(|| {
        ServiceError::invalid(
            "page_token",
            "page_token is none that this service gives: begin again without one",
        )
    })
}

fn parse(ledger_id: Uuid, token: &str) -> Option<i64> {
    let is_lower_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if token.len() != PLACE_DIGITS + CHECK_DIGITS || !token.bytes().all(is_lower_hex) {
        return None;
    }
    let (digits, given) = token.split_at(PLACE_DIGITS);
    let place = i64::from_str_radix(digits, 16).ok()?;
    let given = u32::from_str_radix(given, 16).ok()?;
    (check(ledger_id, place) == given).then_some(place)
}

/// FNV-1a: it catches what was mistyped or comes from elsewhere. A token guards nothing, so nobody needs to forge one.
fn check(ledger_id: Uuid, place: i64) -> u32 {
    let bytes = ledger_id.into_bytes().into_iter().chain(place.to_be_bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_place_in_its_ledger_alone() {
        let (ledger, other) = (Uuid::new_v4(), Uuid::new_v4());
        for at in [1, 20, i64::MAX] {
            let given = token(ledger, at);
            assert_eq!(place(ledger, &given).unwrap(), at);
            assert!(place(other, &given).is_err());
            for (position, digit) in given.char_indices() {
                let changed = if digit == '0' { "1" } else { "0" };
                let mut spoiled = given.clone();
                spoiled.replace_range(position..=position, changed);
                assert!(place(ledger, &spoiled).is_err(), "{spoiled}");
            }
        }
        assert_eq!(place(ledger, "").unwrap(), 0);
        for bad in ["0", "1", "x", "é", &"0".repeat(24), &token(ledger, 10).to_uppercase()] {
            assert!(place(ledger, bad).is_err(), "{bad}");
        }
    }
}
