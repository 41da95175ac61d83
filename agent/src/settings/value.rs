//! A setting's value, and what it may be.

use serde_json::Value as Json;

use crate::xray::link::{ServerHost, is_host_name};

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Whole(u32),
    /// Yes or no.
    Switch(bool),
}

/// What values a leaf takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of some texts.
    Choice(&'static [&'static str]),
    /// A whole number.
    Whole {
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
    /// True or false.
    Switch,
    /// A name or address that clients can connect to.
    Host,
    /// The name of a host, no address.
    HostName,
    /// A line of text.
    Line {
        /// Most characters.
        most: usize,
    },
}

impl Kind {
    /// The value in the form in which it is kept; `None` where it cannot be one of this kind.
    pub fn accept(self, value: Value) -> Option<Value> {
        match (self, value) {
            (Self::Choice(choices), Value::Text(text)) => choices.contains(&&*text).then_some(Value::Text(text)),
            (Self::Whole { least, most }, Value::Whole(number)) => {
                (least..=most).contains(&number).then_some(Value::Whole(number))
            }
            (Self::Switch, Value::Switch(is_on)) => Some(Value::Switch(is_on)),
            (Self::Host, Value::Text(text)) => {
                let host = text.parse::<ServerHost>().ok()?;
                Some(Value::Text(host.as_str().to_owned()))
            }
            (Self::HostName, Value::Text(text)) => is_host_name(&text).then_some(Value::Text(text)),
            (Self::Line { most }, Value::Text(text)) => {
                let is_line = text.chars().count() <= most && !text.chars().any(char::is_control);
                is_line.then_some(Value::Text(text))
            }
            _ => None,
        }
    }

    /// What a caller is told to send.
    pub fn rule(self) -> String {
        match self {
            Self::Choice(choices) => {
                let named: Vec<String> = choices.iter().map(|choice| in_words(choice)).collect();
                match named.split_last() {
                    Some((last, others)) if !others.is_empty() => format!("send {} or {last}", others.join(", ")),
                    _ => format!("send {}", named.join("")),
                }
            }
            Self::Whole { least, most } => format!("send a whole number from {least} to {most}"),
            Self::Switch => "send true or false".to_owned(),
            Self::Host => "send a host name or an IP address, without port, brackets or path".to_owned(),
            Self::HostName => "send the name of a host".to_owned(),
            Self::Line { most } => format!("send a text of at most {most} characters in one line"),
        }
    }
}

fn in_words(choice: &str) -> String {
    match choice {
        "" => "an empty text".to_owned(),
        choice => choice.to_owned(),
    }
}

impl Value {
    /// The value in a JSON text; `None` for what none can be: `null`, a list, a number that is no whole one or too large.
    pub fn from_json(text: &str) -> Option<Self> {
        match serde_json::from_str(text).ok()? {
            Json::String(text) => Some(Self::Text(text)),
            Json::Bool(is_on) => Some(Self::Switch(is_on)),
            Json::Number(number) => Some(Self::Whole(u32::try_from(number.as_u64()?).ok()?)),
            _ => None,
        }
    }

    /// The value as JSON.
    pub fn to_json(&self) -> String {
        match self {
            Self::Text(text) => Json::from(text.as_str()).to_string(),
            Self::Whole(number) => number.to_string(),
            Self::Switch(is_on) => is_on.to_string(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
