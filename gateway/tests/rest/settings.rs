//! The stand-in's settings: some of the agent's rules, and what callers keep there.

use std::collections::BTreeMap;

use portmeter_proto::reason::Reason;
use portmeter_proto::v1::settings_service_server::SettingsService;
use portmeter_proto::v1::*;
use serde_json::Value;
use serde_json::value::RawValue;
use tonic::{Request, Response, Status};

use super::{Agent, State};

/// What is set; by section, and under no name what is in none.
#[derive(Default)]
pub(super) struct Kept {
    theme: Option<String>,
    eco_poll_sec: Option<u32>,
    server_host: Option<String>,
    sni: Option<String>,
    n_changes: u32,
    extra: BTreeMap<String, BTreeMap<String, Box<RawValue>>>,
}

impl State {
    fn settings(&self) -> Settings {
        let kept = &self.settings;
        let text = |kept: &Option<String>, default: &str| kept.clone().unwrap_or_else(|| default.to_owned());
        Settings {
            ui: Some(UiSettings {
                theme: text(&kept.theme, "dark"),
                lang: "ru".into(),
                realtime_mode: "eco".into(),
                eco_poll_sec: kept.eco_poll_sec.unwrap_or(300),
                live_push_sec: 5,
            }),
            xray: Some(XraySettings {
                service_name: "xray".into(),
                config_path: "config.json".into(),
                inbound_tag: "main".into(),
                server_host: text(&kept.server_host, "192.0.2.1"),
                server_port: 443,
                sni: text(&kept.sni, "www.microsoft.com"),
                fp: "chrome".into(),
                flow: "xtls-rprx-vision".into(),
                reality_pbk: "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08".into(),
            }),
            collector: Some(CollectorSettings {
                enabled: !self.collector.is_paused,
                usage_dir: "portmeter".into(),
            }),
            paths: Some(PathSettings {
                data_dir: "portmeter".into(),
                usage_dir: "portmeter".into(),
                access_log: "access.log".into(),
            }),
            log: None,
            version: 1 + kept.n_changes,
            extra_json: self.extra_json(),
        }
    }

    fn extra_json(&self) -> String {
        let mut whole = BTreeMap::new();
        for (section, fields) in &self.settings.extra {
            match section.as_str() {
                "" => whole.extend(fields.iter().map(|(name, raw)| (name.clone(), raw.clone()))),
                section => {
                    whole.insert(section.to_owned(), serde_json::value::to_raw_value(fields).unwrap());
                }
            }
        }
        match whole.is_empty() {
            true => String::new(),
            false => serde_json::to_string(&whole).unwrap(),
        }
    }

    /// Takes a leaf; `None` for one that nobody knows.
    fn set(&mut self, path: &str, raw: &RawValue) -> Option<Result<(), Status>> {
        let value: Value = serde_json::from_str(raw.get()).unwrap();
        let (text, number) = (value.as_str().map(str::to_owned), value.as_u64());
        let is_taken = match path {
            "ui.theme" => put(
                &mut self.settings.theme,
                text.filter(|text| ["dark", "light"].contains(&text.as_str())),
            ),
            "ui.eco_poll_sec" => put(
                &mut self.settings.eco_poll_sec,
                number
                    .and_then(|number| u32::try_from(number).ok())
                    .filter(|number| *number > 0),
            ),
            "xray.server_host" => put(&mut self.settings.server_host, text.filter(|text| !text.is_empty())),
            "xray.sni" => put(&mut self.settings.sni, text.filter(|text| !text.is_empty())),
            "xray.service_name" => text.is_some_and(|text| text == "xray"),
            "xray.config_path" => text.is_some_and(|text| text == "config.json"),
            "collector.usage_dir" | "paths.data_dir" | "paths.usage_dir" => {
                text.is_some_and(|text| text == "portmeter")
            }
            "collector.enabled" => value.as_bool().map(|is_on| self.collector.is_paused = !is_on).is_some(),
            _ => return None,
        };
        Some(match is_taken {
            true => Ok(()),
            false => Err(Reason::InvalidArgument.status(format!("{path}: send another value"))),
        })
    }
}

fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_taken = value.is_some();
    *place = value.or(place.take());
    is_taken
}

#[tonic::async_trait]
impl SettingsService for Agent {
    async fn get_settings(&self, _: Request<GetSettingsRequest>) -> Result<Response<GetSettingsResponse>, Status> {
        let settings = Some(self.call()?.settings());
        Ok(Response::new(GetSettingsResponse { settings }))
    }

    async fn update_settings(
        &self,
        request: Request<UpdateSettingsRequest>,
    ) -> Result<Response<UpdateSettingsResponse>, Status> {
        let mut state = self.call()?;
        let request = request.into_inner();
        assert_eq!(request.update_mask.unwrap().paths, ["extra_json"]);
        let text = request.settings.unwrap_or_default().extra_json;
        let whole: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).unwrap();
        let mut restart_required = Vec::new();
        for (name, raw) in whole {
            if !["ui", "xray", "collector", "paths", "log"].contains(&name.as_str()) {
                state.settings.extra.entry(String::new()).or_default().insert(name, raw);
                continue;
            }
            let fields = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(raw.get());
            let fields = fields.map_err(|_| Reason::InvalidArgument.status(format!("{name}: send an object")))?;
            for (field, raw) in fields {
                match state.set(&format!("{name}.{field}"), &raw) {
                    Some(set) => set?,
                    None => drop(
                        state
                            .settings
                            .extra
                            .entry(name.clone())
                            .or_default()
                            .insert(field.clone(), raw),
                    ),
                }
                if field == "sni" {
                    restart_required.push("xray.sni".to_owned());
                }
            }
        }
        state.settings.n_changes += 1;
        Ok(Response::new(UpdateSettingsResponse {
            settings: Some(state.settings()),
            restart_required,
        }))
    }
}
