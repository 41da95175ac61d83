//! Values that come as text from the environment and natively from TOML: one reader for both.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error, IntoDeserializer};
use serde::{Deserialize, Deserializer};

use super::{Interfaces, PortSet};

/// One value, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Boolean(bool),
    Integer(i64),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    /// The text that the environment would carry; a list is joined by commas.
    fn into_text(self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Text(value) => value,
            Self::List(values) => values.into_iter().map(Self::into_text).collect::<Vec<_>>().join(","),
        }
    }
}

/// Any value as text.
pub(super) fn string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Value::deserialize(deserializer)?.into_text())
}

/// A value with a text form: numbers, booleans, time zones.
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = string(deserializer)?;
    text.trim()
        .parse()
        .map_err(|error| D::Error::custom(format!("\"{text}\" cannot be used: {error}")))
}

/// One of an enumeration's names.
pub(super) fn choice<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    T::deserialize(string(deserializer)?.into_deserializer())
}

/// A list, or one text separated by commas.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(split(&string(deserializer)?))
}

fn split(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

impl<'de> Deserialize<'de> for PortSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        string(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Interfaces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = split(&string(deserializer)?);
        match names.as_slice() {
            [] => Err(D::Error::custom("no interface is given; name some, or write \"auto\"")),
            [name] if name == "auto" => Ok(Self::Auto),
            _ => Ok(Self::Named(names)),
        }
    }
}
