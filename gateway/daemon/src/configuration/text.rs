//! Values that come as text from the environment and natively from TOML: one reader for both.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serializer};

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
pub fn string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Value::deserialize(deserializer)?.into_text())
}

/// A value with a text form: numbers, booleans, time zones.
pub fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
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
pub fn choice<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    T::deserialize(string(deserializer)?.into_deserializer())
}

/// A list, or one text separated by commas.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(split(&string(deserializer)?))
}

/// The parts of a text separated by commas.
pub fn split(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Writes a value in its text form, which [`parsed`] reads.
pub fn shown<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
