//! `portmeter.v1.SettingsService`.

use std::collections::BTreeSet;

use portmeter_proto::reason::Reason;
use portmeter_proto::v1;
use portmeter_proto::v1::settings_service_server::SettingsService as Rpc;
use portmeter_proto::v1::{GetSettingsRequest, GetSettingsResponse, UpdateSettingsRequest, UpdateSettingsResponse};
use prost_types::FieldMask;
use tonic::{Request, Response, Status};

use crate::services::{ServiceError, Settings, SettingsService};
use crate::settings::{Asked, Effect, LEAVES, Leaf, Value, find};

/// The field of what is kept for callers.
const EXTRA: &str = "extra_json";

/// The adapter around the settings.
pub struct SettingsAdapter {
    settings: SettingsService,
}

impl SettingsAdapter {
    pub(super) fn new(settings: SettingsService) -> Self {
        Self { settings }
    }
}

#[tonic::async_trait]
impl Rpc for SettingsAdapter {
    async fn get_settings(&self, _: Request<GetSettingsRequest>) -> Result<Response<GetSettingsResponse>, Status> {
        let settings = self.settings.get().await?;
        Ok(Response::new(GetSettingsResponse {
            settings: Some(message(settings)),
        }))
    }

    async fn update_settings(
        &self,
        request: Request<UpdateSettingsRequest>,
    ) -> Result<Response<UpdateSettingsResponse>, Status> {
        let UpdateSettingsRequest { settings, update_mask } = request.into_inner();
        let asked = asked(&settings.unwrap_or_default(), update_mask.as_ref())?;
        let saved = self.settings.update(asked).await?;
        Ok(Response::new(UpdateSettingsResponse {
            settings: Some(message(saved.settings)),
            restart_required: saved.restart_required.into_iter().map(str::to_owned).collect(),
        }))
    }
}

/// The fields of the message, each with the path of its leaf and the form of its value.
macro_rules! fields {
    ($($path:literal: $section:ident.$field:ident $form:ident,)*) => {
        /// A leaf's field; `None` for a path that has none.
        fn field(settings: &v1::Settings, path: &str) -> Option<Value> {
            match path {
                $($path => {
                    let section = settings.$section.as_ref();
                    let value = section.map(|section| ToOwned::to_owned(&section.$field));
                    Some(Value::$form(value.unwrap_or_default()))
                })*
                _ => None,
            }
        }

        /// Puts a leaf's value into its field.
        fn set_field(settings: &mut v1::Settings, path: &str, value: Value) {
            match (path, value) {
                $(($path, Value::$form(value)) => settings.$section.get_or_insert_default().$field = value,)*
                (path, value) => debug_assert!(false, "{path} has no field for {value:?}"),
            }
        }
    };
}

fields! {
    "ui.theme": ui.theme Text,
    "ui.lang": ui.lang Text,
    "ui.realtime_mode": ui.realtime_mode Text,
    "ui.eco_poll_sec": ui.eco_poll_sec Whole,
    "ui.live_push_sec": ui.live_push_sec Whole,
    "xray.service_name": xray.service_name Text,
    "xray.config_path": xray.config_path Text,
    "xray.inbound_tag": xray.inbound_tag Text,
    "xray.server_host": xray.server_host Text,
    "xray.server_port": xray.server_port Whole,
    "xray.sni": xray.sni Text,
    "xray.fp": xray.fp Text,
    "xray.flow": xray.flow Text,
    "xray.reality_pbk": xray.reality_pbk Text,
    "collector.enabled": collector.enabled Switch,
    "collector.usage_dir": collector.usage_dir Text,
    "log.level": log.level Text,
    "paths.data_dir": paths.data_dir Text,
    "paths.usage_dir": paths.usage_dir Text,
    "paths.access_log": paths.access_log Text,
}

fn message(settings: Settings) -> v1::Settings {
    let mut message = v1::Settings {
        version: settings.version,
        extra_json: settings.extra_json,
        ..v1::Settings::default()
    };
    for (path, value) in settings.values {
        set_field(&mut message, path, value);
    }
    message
}

/// What a request asks for.
fn asked(settings: &v1::Settings, mask: Option<&FieldMask>) -> Result<Asked, ServiceError> {
    let (leaves, has_extra) = match mask.map(|mask| &mask.paths) {
        Some(paths) if !paths.is_empty() => named(paths)?,
        _ => populated(settings),
    };
    let mut asked = Asked::default();
    for leaf in &LEAVES {
        if leaves.contains(leaf.path)
            && let Some(value) = field(settings, leaf.path)
        {
            asked.leaf(leaf, value)?;
        }
    }
    if has_extra && !settings.extra_json.is_empty() {
        asked.json(&settings.extra_json)?;
    }
    Ok(asked)
}

/// The leaves that a mask names, and whether it names what is kept for callers. A section stands for all in it that can be
/// set, `*` for everything.
fn named(paths: &[String]) -> Result<(BTreeSet<&'static str>, bool), ServiceError> {
    let (mut leaves, mut has_extra) = (BTreeSet::new(), false);
    for path in paths {
        let is_everything = path == "*";
        let is_meant = |leaf: &&Leaf| {
            let is_in_section = is_everything || leaf.section() == path;
            leaf.path == path || (is_in_section && leaf.effect != Effect::ReadOnly)
        };
        let before = leaves.len();
        leaves.extend(LEAVES.iter().filter(is_meant).map(|leaf| leaf.path));
        has_extra |= is_everything || path == EXTRA;
        let is_known = find(path).is_some() || leaves.len() > before || is_everything || path == EXTRA;
        let is_section = LEAVES.iter().any(|leaf| leaf.section() == path);
        if !is_known && !is_section {
            let path: String = path.chars().take(80).collect();
            return Err(ServiceError::new(
                Reason::InvalidArgument,
                format!("update_mask: there is no setting \"{}\"", path.escape_debug()),
            ));
        }
    }
    Ok((leaves, has_extra))
}

/// Without a mask: what has another value than an absent field.
fn populated(settings: &v1::Settings) -> (BTreeSet<&'static str>, bool) {
    let empty = v1::Settings::default();
    let has_value = |leaf: &&Leaf| field(settings, leaf.path) != field(&empty, leaf.path);
    let leaves = LEAVES.iter().filter(has_value).map(|leaf| leaf.path).collect();
    (leaves, !settings.extra_json.is_empty())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask {
            paths: paths.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn every_leaf_has_its_field_and_every_field_its_leaf() {
        for leaf in &LEAVES {
            let empty = field(&v1::Settings::default(), leaf.path);
            let value = match empty.unwrap_or_else(|| panic!("{} has no field", leaf.path)) {
                Value::Text(_) => Value::from("text"),
                Value::Whole(_) => Value::Whole(7),
                Value::Switch(_) => Value::Switch(true),
            };
            let mut settings = v1::Settings::default();
            set_field(&mut settings, leaf.path, value.clone());
            assert_eq!(field(&settings, leaf.path), Some(value), "{}", leaf.path);
        }
        let files = prost_types::FileDescriptorSet::decode(portmeter_proto::FILE_DESCRIPTOR_SET).unwrap();
        let messages: Vec<_> = files.file.iter().flat_map(|file| &file.message_type).collect();
        let named = |name: &str| messages.iter().find(|message| message.name() == name).unwrap();
        let mut paths = BTreeSet::new();
        for section in &named("Settings").field {
            let Some(kind) = section.type_name().strip_prefix(".portmeter.v1.") else {
                continue;
            };
            for field in &named(kind).field {
                paths.insert(format!("{}.{}", section.name(), field.name()));
            }
        }
        let leaves: BTreeSet<String> = LEAVES.iter().map(|leaf| leaf.path.to_owned()).collect();
        assert_eq!(paths, leaves);
    }

    #[test]
    fn a_mask_says_what_is_meant() {
        let count = |paths: &[&str]| named(&mask(paths).paths).map(|(leaves, has_extra)| (leaves.len(), has_extra));
        let settable = LEAVES.iter().filter(|leaf| leaf.effect != Effect::ReadOnly).count();
        assert_eq!(count(&["*"]), Ok((settable, true)));
        assert_eq!(count(&["ui"]), Ok((5, false)));
        assert_eq!(count(&["paths"]), Ok((0, false)), "there is nothing to be set in it");
        assert_eq!(count(&["ui.theme", "ui", "extra_json"]), Ok((5, true)));
        assert_eq!(count(&["xray.service_name"]), Ok((1, false)), "named, it is compared");
        for path in ["", "ui.", "ui.nothing", "theme", "UI", "extra", "version", "ui.theme.x"] {
            let error = count(&["ui.theme", path]).unwrap_err();
            assert!(error.message.starts_with("update_mask: "), "{path}: {error}");
        }
    }

    #[test]
    fn without_a_mask_what_is_there_is_meant() {
        let mut settings = v1::Settings::default();
        set_field(&mut settings, "ui.eco_poll_sec", Value::Whole(9));
        settings.extra_json = r#"{"mine":1}"#.to_owned();
        for mask in [None, Some(mask(&[]))] {
            let asked = asked(&settings, mask.as_ref()).unwrap();
            let mut expected = Asked::default();
            expected
                .leaf(find("ui.eco_poll_sec").unwrap(), Value::Whole(9))
                .unwrap();
            expected.json(&settings.extra_json).unwrap();
            assert_eq!(asked, expected);
        }
    }
}
