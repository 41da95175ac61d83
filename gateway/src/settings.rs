//! `/api/settings`: what can be set while the agent runs, and what a panel keeps here of its own.
//!
//! The agent knows what may be set; a body goes to it as it came, so that no digit of a number gets lost on the way. An
//! answer is what the agent knows and, beside it, what it keeps for its callers, section by section.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{GetSettingsRequest, LogSettings, Settings, UpdateSettingsRequest};
use prost_types::FieldMask;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::panel_request::PanelText;

/// Shows all settings, and what callers keep beside them. Never a secret.
#[utoipa::path(
    get,
    path = "/api/settings",
    responses((status = 200, body = Answer))
)]
pub(crate) async fn show(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let settings = gateway.settings().get_settings(GetSettingsRequest {}).await?;
    let settings = settings.into_inner().settings;
    let settings = settings.ok_or_else(|| Failure::incomplete("settings"))?;
    Ok(answer::json(&Answer {
        ok: true,
        settings: Shown::of(&settings)?,
        restart_required: None,
    }))
}

/// Changes the given settings alone.
///
/// Settings that are not known are kept as they came, 64 kB of them at most. What decides which programs run, which files
/// are written and where the service listens is read-only here: another value is refused. `restart_required` names what
/// comes into force at the next start.
#[utoipa::path(
    post,
    path = "/api/settings",
    request_body = Object,
    responses((status = 200, body = Answer))
)]
pub(crate) async fn save(State(gateway): State<Gateway>, PanelText(body): PanelText) -> Result<Response, PanelFailure> {
    let request = UpdateSettingsRequest {
        settings: Some(Settings {
            extra_json: body,
            ..Settings::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["extra_json".to_owned()],
        }),
    };
    let saved = gateway.settings().update_settings(request).await?.into_inner();
    let settings = saved.settings.ok_or_else(|| Failure::incomplete("settings"))?;
    Ok(answer::json(&Answer {
        ok: true,
        settings: Shown::of(&settings)?,
        restart_required: Some(&saved.restart_required),
    }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = SettingsShown)]
struct Answer<'a> {
    ok: bool,
    settings: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    restart_required: Option<&'a [String]>,
}

/// Fields whose values are written as they came.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// All settings.
#[derive(Serialize, ToSchema)]
#[schema(as = PanelSettings)]
struct Shown<'a> {
    #[schema(value_type = Ui)]
    ui: Section<'a, Ui<'a>>,
    #[schema(value_type = Xray)]
    xray: Section<'a, Xray<'a>>,
    #[schema(value_type = Collector)]
    collector: Section<'a, Collector<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Log, nullable = false, required = false)]
    log: Option<Section<'a, Log<'a>>>,
    version: u32,
    #[schema(value_type = Paths)]
    paths: Section<'a, Paths<'a>>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: Fields<'a>,
}

/// What is known of a section, and what is kept for callers beside it.
#[derive(Serialize)]
struct Section<'a, T> {
    #[serde(flatten)]
    known: T,
    #[serde(flatten)]
    others: Fields<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SettingsUi)]
struct Ui<'a> {
    theme: &'a str,
    lang: &'a str,
    realtime_mode: &'a str,
    eco_poll_sec: u32,
    live_push_sec: u32,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SettingsXray)]
struct Xray<'a> {
    service_name: &'a str,
    config_path: &'a str,
    inbound_tag: &'a str,
    server_host: &'a str,
    server_port: u32,
    sni: &'a str,
    fp: &'a str,
    flow: &'a str,
    reality_pbk: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SettingsCollector)]
struct Collector<'a> {
    enabled: bool,
    usage_dir: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SettingsLog)]
struct Log<'a> {
    level: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SettingsPaths)]
struct Paths<'a> {
    data_dir: &'a str,
    usage_dir: &'a str,
    access_log: &'a str,
}

impl<'a> Shown<'a> {
    fn of(settings: &'a Settings) -> Result<Self, Failure> {
        let incomplete = || Failure::incomplete("settings");
        let ui = settings.ui.as_ref().ok_or_else(incomplete)?;
        let xray = settings.xray.as_ref().ok_or_else(incomplete)?;
        let collector = settings.collector.as_ref().ok_or_else(incomplete)?;
        let paths = settings.paths.as_ref().ok_or_else(incomplete)?;
        let mut others = match settings.extra_json.as_str() {
            "" => Fields::new(),
            text => fields(text)?,
        };
        let mut beside = |name: &str| others.remove(name).map_or(Ok(Fields::new()), |raw| fields(raw.get()));
        Ok(Self {
            ui: Section {
                known: Ui {
                    theme: &ui.theme,
                    lang: &ui.lang,
                    realtime_mode: &ui.realtime_mode,
                    eco_poll_sec: ui.eco_poll_sec,
                    live_push_sec: ui.live_push_sec,
                },
                others: beside("ui")?,
            },
            xray: Section {
                known: Xray {
                    service_name: &xray.service_name,
                    config_path: &xray.config_path,
                    inbound_tag: &xray.inbound_tag,
                    server_host: &xray.server_host,
                    server_port: xray.server_port,
                    sni: &xray.sni,
                    fp: &xray.fp,
                    flow: &xray.flow,
                    reality_pbk: &xray.reality_pbk,
                },
                others: beside("xray")?,
            },
            collector: Section {
                known: Collector {
                    enabled: collector.enabled,
                    usage_dir: &collector.usage_dir,
                },
                others: beside("collector")?,
            },
            log: match &settings.log {
                Some(LogSettings { level }) => Some(Section {
                    known: Log { level },
                    others: beside("log")?,
                }),
                None => None,
            },
            paths: Section {
                known: Paths {
                    data_dir: &paths.data_dir,
                    usage_dir: &paths.usage_dir,
                    access_log: &paths.access_log,
                },
                others: beside("paths")?,
            },
            version: settings.version,
            others,
        })
    }
}

/// The fields of a JSON object.
fn fields(text: &str) -> Result<Fields<'_>, Failure> {
    serde_json::from_str(text).map_err(|_| Failure::incomplete("extra_json"))
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::{CollectorSettings, PathSettings, UiSettings, XraySettings};

    use super::*;

    fn settings(extra_json: &str) -> Settings {
        Settings {
            ui: Some(UiSettings {
                theme: "dark".to_owned(),
                ..UiSettings::default()
            }),
            xray: Some(XraySettings::default()),
            collector: Some(CollectorSettings::default()),
            paths: Some(PathSettings::default()),
            log: None,
            version: 3,
            extra_json: extra_json.to_owned(),
        }
    }

    #[test]
    fn what_is_kept_stands_beside_what_is_known_with_every_digit() {
        let extra = r#"{"ui":{"mine":12345678901234567890.10,"deep":{"a":[ 1 ]}},"xray":{"x":null},"other":1e2}"#;
        let settings = settings(extra);
        let text = serde_json::to_string(&Shown::of(&settings).unwrap()).unwrap();
        for part in [
            r#""live_push_sec":0,"deep":{"a":[ 1 ]},"mine":12345678901234567890.10}"#,
            r#""reality_pbk":"","x":null}"#,
            r#""version":3"#,
            r#""other":1e2}"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&value["ui"]["theme"], value.as_object().unwrap().len()),
            (&"dark".into(), 6)
        );
    }

    #[test]
    fn an_answer_without_its_parts_is_none() {
        assert!(Shown::of(&Settings::default()).is_err());
        for extra in ["5", "{", r#"{"ui":5}"#] {
            assert!(Shown::of(&settings(extra)).is_err(), "{extra}");
        }
        assert!(Shown::of(&settings("")).is_ok());
    }
}
