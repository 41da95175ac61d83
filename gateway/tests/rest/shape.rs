//! Compares an answer with a shape of the contract and names every difference.
//!
//! Owns what the contract's words mean. It is written apart from the gateway's own code on purpose: sizes and times
//! are judged by other means than they are made by.

use chrono::{NaiveDate, NaiveDateTime};
use serde_json::{Map, Value};

/// The shapes that `@name` stands for.
pub(crate) type Shapes = Map<String, Value>;

/// Every difference between `value` and `shape`, each with the place it is at; empty when there is none.
pub(crate) fn differences(shape: &Value, value: &Value, shapes: &Shapes) -> Vec<String> {
    compare(shape, value, shapes, false)
}

/// The same where `value` may have fields that `shape` does not name.
pub(crate) fn broken_promises(shape: &Value, value: &Value, shapes: &Shapes) -> Vec<String> {
    compare(shape, value, shapes, true)
}

fn compare(shape: &Value, value: &Value, shapes: &Shapes, may_have_more: bool) -> Vec<String> {
    let mut found = Differences {
        shapes,
        may_have_more,
        found: Vec::new(),
    };
    found.compare("answer", shape, value);
    found.found
}

struct Differences<'a> {
    shapes: &'a Shapes,
    may_have_more: bool,
    found: Vec<String>,
}

impl Differences<'_> {
    fn compare(&mut self, place: &str, shape: &Value, value: &Value) {
        match (shape, value) {
            (Value::String(word), _) => self.compare_word(place, word, value),
            (Value::Array(shapes), Value::Array(values)) => {
                let [shape] = &shapes[..] else {
                    panic!("{place}: a list has one shape")
                };
                for (index, value) in values.iter().enumerate() {
                    self.compare(&format!("{place}[{index}]"), shape, value);
                }
            }
            (Value::Object(shapes), Value::Object(values)) => self.compare_objects(place, shapes, values),
            (Value::Number(_) | Value::Bool(_), _) if shape == value => {}
            _ => self.found.push(format!("{place}: {value} instead of {shape}")),
        }
    }

    fn compare_word(&mut self, place: &str, word: &str, value: &Value) {
        if let Some(name) = word.strip_prefix('@') {
            let name = match name.strip_suffix("|null") {
                Some(_) if value.is_null() => return,
                Some(name) => name,
                None => name,
            };
            let shape = self
                .shapes
                .get(name)
                .unwrap_or_else(|| panic!("no shape {name}"))
                .clone();
            return self.compare(place, &shape, value);
        }
        if !fits(word, value) {
            self.found.push(format!("{place}: {value} is no {word}"));
        }
    }

    fn compare_objects(&mut self, place: &str, shapes: &Map<String, Value>, values: &Map<String, Value>) {
        let only = shapes.iter().next().filter(|_| shapes.len() == 1);
        if let Some((kind, shape)) = only.and_then(|(name, shape)| Some((name.strip_prefix('*')?, shape))) {
            for (name, value) in values {
                if !is_name_of(kind, name) {
                    self.found.push(format!("{place}: `{name}` is no {kind}"));
                }
                self.compare(&format!("{place}.{name}"), shape, value);
            }
            return;
        }
        for (name, shape) in shapes {
            let (name, may_be_missing) = name.strip_suffix('?').map_or((&name[..], false), |name| (name, true));
            match values.get(name) {
                Some(value) => self.compare(&format!("{place}.{name}"), shape, value),
                None if may_be_missing => {}
                None => self.found.push(format!("{place}.{name}: missing")),
            }
        }
        let is_named = |name: &str| shapes.contains_key(name) || shapes.contains_key(&format!("{name}?"));
        for name in values.keys().filter(|name| !self.may_have_more && !is_named(name)) {
            self.found.push(format!("{place}.{name}: not in the contract"));
        }
        self.compare_sums(place, values);
        self.compare_sizes(place, shapes, values);
        self.compare_addresses(place, values);
    }

    /// Where there is no address there is no port either.
    fn compare_addresses(&mut self, place: &str, values: &Map<String, Value>) {
        let url = values.get("url").and_then(Value::as_str);
        if let (Some(url), Some(port)) = (url, values.get("port").and_then(Value::as_u64))
            && url.is_empty() != (port == 0)
        {
            self.found
                .push(format!("{place}: {url:?} does not go with port {port}"));
        }
    }

    /// Bytes of both directions together are the total.
    fn compare_sums(&mut self, place: &str, values: &Map<String, Value>) {
        let number = |name: &str| values.get(name).and_then(Value::as_u64);
        if let (Some(rx), Some(tx), Some(total)) = (number("rx_bytes"), number("tx_bytes"), number("total_bytes"))
            && rx + tx != total
        {
            self.found.push(format!("{place}: {rx} and {tx} are not {total}"));
        }
    }

    /// What is written out is the number beside it.
    fn compare_sizes(&mut self, place: &str, shapes: &Map<String, Value>, values: &Map<String, Value>) {
        for (name, text) in values {
            let Some(stem) = name.strip_suffix("_formatted") else {
                continue;
            };
            let number = values
                .get(&format!("{stem}_bytes"))
                .or_else(|| values.get(stem))
                .and_then(Value::as_u64);
            let decimals = match shapes.get(name) {
                Some(word) if word == "size1" => 1,
                None if self.may_have_more => continue,
                _ => 2,
            };
            match number {
                Some(number) if text.as_str() == Some(&size(number, decimals)) => {}
                Some(number) => self.found.push(format!("{place}.{name}: {text} is not {number} bytes")),
                None => self.found.push(format!("{place}.{name}: no number beside it")),
            }
        }
    }
}

/// Whether `value` is what `word` says.
fn fits(word: &str, value: &Value) -> bool {
    if let Some((word, other_words)) = word.split_once('|') {
        return fits(word, value) || fits(other_words, value);
    }
    if let Some(text) = word.strip_prefix('=') {
        return value == text;
    }
    let text = value.as_str();
    if let Some(beginning) = word.strip_prefix('^') {
        return text.is_some_and(|text| text.starts_with(beginning) && text != beginning);
    }
    match word {
        "null" => value.is_null(),
        "int" => value.is_u64(),
        "milliseconds" => value.as_u64().is_some_and(|time| is_recent(time as f64 / 1000.0)),
        "float" => value.is_f64() && value.as_f64() >= Some(0.0),
        "signed" => value.is_f64(),
        "bool" => value.is_boolean(),
        "string" => text.is_some(),
        "object" => value.is_object(),
        "text" => text.is_some_and(|text| !text.is_empty()),
        "uuid" => text.is_some_and(is_uuid),
        "vless" => text.is_some_and(is_vless),
        "sub_path" => text.is_some_and(is_subscription_path),
        "sub_url" => text.is_some_and(is_subscription_url),
        "host" => text.is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
        "url" => text.is_some_and(|text| text.starts_with("https://") || text.starts_with("http://")),
        "port_state" => matches!(text, Some("running" | "stopped")),
        "service_state" => matches!(text, Some("active" | "inactive" | "failed" | "unknown")),
        "test_status" => matches!(text, Some("not_run" | "passed" | "failed" | "error")),
        "test_readiness" => matches!(text, Some("ready" | "not_ready" | "running")),
        "iso" => text.is_some_and(is_iso),
        "zulu" => text.is_some_and(is_zulu),
        "date" => text.is_some_and(is_date),
        "month" => text.is_some_and(|text| is_date(&format!("{text}-01"))),
        "unix" => value.as_u64().is_some_and(|seconds| is_recent(seconds as f64)),
        "unix_ms" => value.as_u64().is_some_and(|ms| is_recent(ms as f64 / 1_000.0)),
        "event_type" => text.is_some_and(is_event_type),
        "event_severity" => text.is_some_and(is_event_severity),
        "unix_float" => value.is_f64() && value.as_f64().is_some_and(is_recent),
        "size1" => text.is_some_and(|text| is_size(text, 1)),
        "size2" => text.is_some_and(|text| is_size(text, 2)),
        _ => panic!("no word {word}"),
    }
}

/// Whether `name` can be a field of a map by `kind`.
fn is_name_of(kind: &str, name: &str) -> bool {
    match kind {
        "port" => name
            .parse::<u16>()
            .is_ok_and(|port| port > 0 && port.to_string() == name),
        "uuid" => is_uuid(name),
        "date" => is_date(name),
        "interface" | "email" | "type" | "severity" | "service" => !name.is_empty(),
        "event_type" => is_event_type(name),
        "event_severity" => is_event_severity(name),
        _ => panic!("no kind {kind}"),
    }
}

fn is_event_type(text: &str) -> bool {
    let types = "USER SYSTEM SETTINGS XRAY CONNECTION COLLECTOR SERVICE_HEALTH APP_ERROR PERFORMANCE UPDATE";
    types.split(' ').any(|one| one == text)
}

fn is_event_severity(text: &str) -> bool {
    ["INFO", "WARN", "ERROR"].contains(&text)
}

/// Lower-case hex digits in groups of 8, 4, 4, 4 and 12.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let is_hex = |group: &&str| group.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(is_hex)
}

/// One line with everything that clients look for.
fn is_vless(text: &str) -> bool {
    let has_all = ["@", "security=reality", "sni=", "pbk=", "sid=", "#"]
        .iter()
        .all(|part| text.contains(part));
    text.starts_with("vless://") && has_all && !text.contains(char::is_whitespace)
}

/// A token of 32 lower-case hex digits below `/sub/`.
fn is_subscription_path(text: &str) -> bool {
    let is_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let token = text.strip_prefix("/sub/");
    token.is_some_and(|token| token.len() == 32 && token.bytes().all(is_hex))
}

fn is_subscription_url(text: &str) -> bool {
    let path = text.find("/sub/").map(|position| &text[position..]);
    text.starts_with("https://") && path.is_some_and(is_subscription_path)
}

/// Six digits of fraction, no zone, and a date that exists.
fn is_iso(text: &str) -> bool {
    text.len() == "2025-08-05T12:00:00.000000".len()
        && text.as_bytes()[19] == b'.'
        && NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.6f").is_ok()
}

/// Whole seconds, a zone, and a date that exists.
fn is_zulu(text: &str) -> bool {
    text.len() == "2025-08-05T12:00:00Z".len() && NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ").is_ok()
}

fn is_date(text: &str) -> bool {
    text.len() == "2025-08-05".len() && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

/// Seconds since 1970, between 2025 and 2100: milliseconds would be far outside.
fn is_recent(seconds: f64) -> bool {
    (1_735_689_600.0..4_102_444_800.0).contains(&seconds)
}

fn is_size(text: &str, decimals: usize) -> bool {
    match text.split_once(' ') {
        Some((number, "B")) => number.parse::<u16>().is_ok_and(|number| number < 1024),
        Some((number, "KB" | "MB" | "GB" | "TB")) => {
            number.parse::<f64>().is_ok()
                && number
                    .split_once('.')
                    .is_some_and(|(_, places)| places.len() == decimals)
        }
        _ => false,
    }
}

/// Bytes as text, the plain way: divide by 1024 as long as there is a next unit to go to.
fn size(bytes: u64, decimals: usize) -> String {
    let (mut value, mut units) = (bytes as f64, ["B", "KB", "MB", "GB", "TB"].iter());
    let mut unit = units.next().unwrap();
    while value >= 1024.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, next);
    }
    if *unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{value:.decimals$} {unit}")
    }
}
