//! Conversions of the event service: domain values to messages and back.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use portmeter_proto::reason::Reason;
use portmeter_proto::v1;
use portmeter_proto::v1::get_event_statistics_response::{HourCount, ServiceCount, SeverityCount, TypeCount};
use prost_types::Timestamp;
use tonic::Status;
use uuid::Uuid;

use super::convert;
use crate::store::{Event, EventFilter, EventHour, EventKind, EventSeverity, EventStatistics, KeyId};

/// Which events a caller asks for.
pub(super) fn filter(request: &v1::ListEventsRequest) -> Result<EventFilter, Status> {
    let key_id = match request.key_id.as_str() {
        "" => None,
        id => Some(Uuid::try_parse(id).map_err(|_| invalid("key_id must be the id of a key"))?),
    };
    Ok(EventFilter {
        since: since(request.since.as_ref())?,
        kind: kind(request.r#type)?,
        severity: severity(request.severity)?,
        service: Some(request.service.clone()).filter(|service| !service.is_empty()),
        key_id: key_id.map(KeyId),
    })
}

/// The time from which on events are wanted.
pub(super) fn since(since: Option<&Timestamp>) -> Result<Option<DateTime<Utc>>, Status> {
    let Some(since) = since else { return Ok(None) };
    let nanoseconds = u32::try_from(since.nanos).ok();
    let time = nanoseconds.and_then(|nanoseconds| DateTime::from_timestamp(since.seconds, nanoseconds));
    time.map(Some).ok_or_else(|| invalid("since is no time"))
}

fn kind(wanted: i32) -> Result<Option<EventKind>, Status> {
    let wanted = v1::EventType::try_from(wanted).map_err(|_| invalid("type is none that there is"))?;
    Ok(EventKind::ALL.into_iter().find(|kind| event_type(*kind) == wanted))
}

fn severity(wanted: i32) -> Result<Option<EventSeverity>, Status> {
    let wanted = v1::EventSeverity::try_from(wanted).map_err(|_| invalid("severity is none that there is"))?;
    let mut all = EventSeverity::ALL.into_iter();
    Ok(all.find(|severity| event_severity(*severity) == wanted))
}

pub(super) fn event(event: Event) -> v1::Event {
    v1::Event {
        id: event.id,
        occurred_at: Some(convert::timestamp(event.at)),
        r#type: event_type(event.kind).into(),
        severity: event_severity(event.severity).into(),
        service: event.service,
        action: event.action,
        message: event.message,
        actor: event.actor,
        key_id: event.key_id.map(|id| id.0.to_string()),
        details: HashMap::from_iter(event.details),
    }
}

pub(super) fn statistics(found: EventStatistics) -> v1::GetEventStatisticsResponse {
    let type_count = |(kind, count)| TypeCount {
        r#type: event_type(kind).into(),
        count,
    };
    let severity_count = |(severity, count)| SeverityCount {
        severity: event_severity(severity).into(),
        count,
    };
    let service_count = |(service, count)| ServiceCount { service, count };
    v1::GetEventStatisticsResponse {
        total: found.total,
        types: found.kinds.into_iter().map(type_count).collect(),
        severities: found.severities.into_iter().map(severity_count).collect(),
        services: found.services.into_iter().map(service_count).collect(),
        hours: found.hours.into_iter().map(hour_count).collect(),
        recent_errors: found.recent_errors.into_iter().map(event).collect(),
    }
}

fn hour_count(hour: EventHour) -> HourCount {
    HourCount {
        start: Some(convert::timestamp(hour.start)),
        count: hour.count,
        error_count: hour.error_count,
        warning_count: hour.warning_count,
    }
}

fn event_type(kind: EventKind) -> v1::EventType {
    match kind {
        EventKind::User => v1::EventType::User,
        EventKind::System => v1::EventType::System,
        EventKind::Settings => v1::EventType::Settings,
        EventKind::Xray => v1::EventType::Xray,
        EventKind::Connection => v1::EventType::Connection,
        EventKind::Collector => v1::EventType::Collector,
        EventKind::ServiceHealth => v1::EventType::ServiceHealth,
        EventKind::AppError => v1::EventType::AppError,
        EventKind::Performance => v1::EventType::Performance,
        EventKind::Update => v1::EventType::Update,
    }
}

fn event_severity(severity: EventSeverity) -> v1::EventSeverity {
    match severity {
        EventSeverity::Info => v1::EventSeverity::Info,
        EventSeverity::Warning => v1::EventSeverity::Warning,
        EventSeverity::Error => v1::EventSeverity::Error,
    }
}

fn invalid(message: impl Into<String>) -> Status {
    Reason::InvalidArgument.status(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_filter_comes_back() {
        for kind in EventKind::ALL {
            let request = v1::ListEventsRequest {
                r#type: event_type(kind).into(),
                ..v1::ListEventsRequest::default()
            };
            assert_eq!(filter(&request).unwrap().kind, Some(kind));
        }
        for severity in EventSeverity::ALL {
            let request = v1::ListEventsRequest {
                severity: event_severity(severity).into(),
                ..v1::ListEventsRequest::default()
            };
            assert_eq!(filter(&request).unwrap().severity, Some(severity));
        }
        assert_eq!(
            filter(&v1::ListEventsRequest::default()).unwrap(),
            EventFilter::default()
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let request = |change: &dyn Fn(&mut v1::ListEventsRequest)| {
            let mut request = v1::ListEventsRequest::default();
            change(&mut request);
            filter(&request).unwrap_err().code()
        };
        let time = |seconds, nanos| Some(Timestamp { seconds, nanos });
        let told = [
            request(&|request| request.r#type = 99),
            request(&|request| request.severity = -1),
            request(&|request| request.key_id = "alice".to_owned()),
            request(&|request| request.since = time(i64::MAX, 0)),
            request(&|request| request.since = time(0, -1)),
        ];
        assert!(
            told.iter().all(|code| *code == tonic::Code::InvalidArgument),
            "{told:?}"
        );
    }
}
