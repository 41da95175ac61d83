//! Values of this configuration's own that come as text from the environment and natively from TOML.

use portmeter_daemon::configuration::text::{split, string};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Interfaces, PortSet};

impl<'de> Deserialize<'de> for PortSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        string(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for PortSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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

impl Serialize for Interfaces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Named(names) => serializer.collect_seq(names),
        }
    }
}
