//! `/api/collector`: what brings the kernel's counters into day rows, paused, resumed and run by hand.
//!
//! The panel's old server had scripts and a cron table for it. Here it is a part of the agent: no script is named, no table
//! is found or changed, and the fields that tell of them say so.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{Collector, GetCollectorRequest, RunCollectorRequest, SetCollectorEnabledRequest};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::openapi::bodies::{CollectorOrder, CollectorSwitch};
use crate::panel_request::{OptionalPanelFields, PanelFields};

/// Shows whether counters are brought into day rows, and how far the days have come.
#[utoipa::path(
    get,
    path = "/api/collector/status",
    responses((status = 200, body = Shown))
)]
pub(crate) async fn status(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let answer = gateway.collector().get_collector(GetCollectorRequest {}).await?;
    let collector = present(answer.into_inner().collector)?;
    Ok(answer::json(&Shown::of(&collector)))
}

/// Pauses or resumes the collector, and keeps that over restarts. A script's name is taken and means nothing.
#[utoipa::path(
    post,
    path = "/api/collector/toggle",
    request_body = CollectorSwitch,
    responses((status = 200, body = CollectorToggled))
)]
pub(crate) async fn toggle(
    State(gateway): State<Gateway>,
    PanelFields(fields): PanelFields,
) -> Result<Response, PanelFailure> {
    let is_enabled = fields.flag("enabled")?;
    fields.text("script")?;
    let request = SetCollectorEnabledRequest { is_enabled };
    let answer = gateway.collector().set_collector_enabled(request).await?;
    let enabled = present(answer.into_inner().collector)?.is_enabled;
    Ok(answer::json(&CollectorToggled {
        ok: true,
        enabled,
        message: match enabled {
            true => "Collector enabled",
            false => "Collector disabled; traffic is still counted and will be booked when it is enabled",
        },
        cron_modified: false,
        jobs_modified: 0,
    }))
}

#[derive(Serialize, ToSchema)]
struct CollectorToggled {
    ok: bool,
    enabled: bool,
    message: &'static str,
    cron_modified: bool,
    jobs_modified: u32,
}

/// Books now what was counted.
///
/// Everything is booked, whatever `include_today` says: a day that is over is complete with it, and today's figures are
/// only fresher.
#[utoipa::path(
    post,
    path = "/api/collector/run",
    request_body = Option<CollectorOrder>,
    responses((status = 200, body = CollectorRan))
)]
pub(crate) async fn run(
    State(gateway): State<Gateway>,
    OptionalPanelFields(fields): OptionalPanelFields,
) -> Result<Response, PanelFailure> {
    fields.optional_flag("include_today")?;
    let ran = gateway.collector().run_collector(RunCollectorRequest {}).await?;
    let booked_bytes = ran.into_inner().booked_bytes;
    Ok(answer::json(&CollectorRan {
        ok: true,
        success: true,
        message: "Collector run completed",
        output: format!("{booked_bytes} bytes were booked"),
        scripts_run: 1,
        return_code: 0,
    }))
}

#[derive(Serialize, ToSchema)]
struct CollectorRan {
    ok: bool,
    success: bool,
    message: &'static str,
    output: String,
    scripts_run: u32,
    return_code: i32,
}

/// The state, and parts of it once more where a newer front end reads them.
#[derive(Serialize, ToSchema)]
#[schema(as = CollectorShown)]
struct Shown<'a> {
    ok: bool,
    status: Status<'a>,
    enabled: bool,
    #[schema(required)]
    lag_days: Option<u32>,
    cron: Cron,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CollectorStatus)]
struct Status<'a> {
    enabled: bool,
    #[schema(required)]
    lag_days: Option<u32>,
    #[schema(required, format = "date")]
    newest_date: Option<&'a str>,
    #[schema(required)]
    disabled_reason: Option<&'a str>,
    cron: Cron,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CollectorCron)]
struct Cron {
    found: bool,
}

impl<'a> Shown<'a> {
    fn of(collector: &'a Collector) -> Self {
        let (enabled, lag_days) = (collector.is_enabled, collector.lag_days);
        let reason = Some(collector.disabled_reason.as_str());
        Self {
            ok: true,
            status: Status {
                enabled,
                lag_days,
                newest_date: collector.newest_day.as_deref(),
                disabled_reason: reason.filter(|reason| !reason.is_empty()),
                cron: Cron { found: false },
            },
            enabled,
            lag_days,
            cron: Cron { found: false },
        }
    }
}

fn present(collector: Option<Collector>) -> Result<Collector, Failure> {
    collector.ok_or_else(|| Failure::incomplete("collector"))
}
