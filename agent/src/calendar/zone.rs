//! A zone's calendar.

use chrono::{DateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use super::period::{Day, Hour, Minute, Month};

/// Zones change their clocks by quarters of an hour; where a day's first moment is missing, the next one that is there
/// is found in such steps.
const STEP: TimeDelta = TimeDelta::minutes(15);

/// The longest that a zone has skipped: a day.
const STEPS_MAX: usize = 2 * 24 * 4;

/// Tells to which periods a moment belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    zone: Tz,
}

impl Calendar {
    /// The calendar of a zone.
    pub fn new(zone: Tz) -> Self {
        Self { zone }
    }

    /// Its zone.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The minute of a moment, the same in every zone.
    pub fn minute(&self, at: DateTime<Utc>) -> Minute {
        Minute::of(at)
    }

    /// The hour of a moment: since the zone's clock showed a full one.
    pub fn hour(&self, at: DateTime<Utc>) -> Hour {
        let local = at.with_timezone(&self.zone);
        Hour(at.timestamp() - i64::from(local.minute() * 60 + local.second()))
    }

    /// The calendar day of a moment.
    pub fn day(&self, at: DateTime<Utc>) -> Day {
        Day::of(at.with_timezone(&self.zone).date_naive())
    }

    /// The calendar month of a moment.
    pub fn month(&self, at: DateTime<Utc>) -> Month {
        self.day(at).month()
    }

    /// A day's first moment. Of a midnight that comes twice it is the first; where midnight is skipped it is the next
    /// moment that there is. A day that a zone has skipped begins where the next one does.
    pub fn day_start(&self, day: Day) -> DateTime<Utc> {
        let midnight = day.date().and_time(NaiveTime::MIN);
        let mut steps = (0..STEPS_MAX).scan(midnight, |local, _| {
            let this = *local;
            *local = local.checked_add_signed(STEP)?;
            Some(this)
        });
        let start = steps.find_map(|local| self.zone.from_local_datetime(&local).earliest());
        start.map_or_else(|| midnight.and_utc(), |start| start.to_utc())
    }

    /// A month's first moment.
    pub fn month_start(&self, month: Month) -> DateTime<Utc> {
        self.day_start(month.first_day())
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::TZ_VARIANTS;
    use proptest::prelude::*;

    use super::*;

    fn calendar(zone: &str) -> Calendar {
        Calendar::new(zone.parse().unwrap())
    }

    fn hours_of(zone: &str, day: &str) -> i64 {
        let (calendar, day) = (calendar(zone), day.parse::<Day>().unwrap());
        (calendar.day_start(day.plus_days(1)) - calendar.day_start(day)).num_hours()
    }

    #[test]
    fn a_day_has_the_hours_that_its_zone_gives_it() {
        let days = [
            ("UTC", "2026-03-29", 24),
            ("Europe/Berlin", "2026-03-29", 23),
            ("Europe/Berlin", "2026-10-25", 25),
            ("America/New_York", "2026-03-08", 23),
            ("America/New_York", "2026-11-01", 25),
            // Midnight was skipped: the day began at one.
            ("America/Sao_Paulo", "2018-11-04", 23),
            // A day was skipped.
            ("Pacific/Apia", "2011-12-30", 0),
            ("Pacific/Apia", "2011-12-31", 24),
        ];
        for (zone, day, hours) in days {
            assert_eq!(hours_of(zone, day), hours, "{zone} {day}");
        }
    }

    #[test]
    fn hours_begin_where_the_zones_clock_is_full() {
        let starts = [
            ("UTC", "2026-07-01T10:59:59Z", "2026-07-01T10:00:00Z"),
            ("Asia/Kolkata", "2026-07-01T10:29:59Z", "2026-07-01T09:30:00Z"),
            ("Asia/Kathmandu", "2026-07-01T10:20:00Z", "2026-07-01T10:15:00Z"),
            // An offset of half an hour in winter, of a whole one in summer.
            ("Australia/Lord_Howe", "2026-07-01T10:10:00Z", "2026-07-01T09:30:00Z"),
            ("Australia/Lord_Howe", "2026-01-01T10:10:00Z", "2026-01-01T10:00:00Z"),
        ];
        for (zone, at, start) in starts {
            assert_eq!(
                calendar(zone).hour(at.parse().unwrap()).to_string(),
                start,
                "{zone} {at}"
            );
        }
    }

    #[test]
    fn midnight_separates_days_and_months() {
        let cases = [
            ("Europe/Berlin", "2026-12-31T22:59:59Z", "2026-12-31", "2026-12"),
            ("Europe/Berlin", "2026-12-31T23:00:00Z", "2027-01-01", "2027-01"),
            ("America/New_York", "2024-03-01T04:59:59Z", "2024-02-29", "2024-02"),
        ];
        for (zone, at, day, month) in cases {
            let (calendar, at) = (calendar(zone), at.parse().unwrap());
            assert_eq!(
                [calendar.day(at).to_string(), calendar.month(at).to_string()],
                [day, month]
            );
        }
    }

    fn zones() -> impl Strategy<Value = Calendar> {
        proptest::sample::select(TZ_VARIANTS.to_vec()).prop_map(Calendar::new)
    }

    /// Seconds from 1990 to 2060.
    fn moments() -> impl Strategy<Value = DateTime<Utc>> {
        (631_152_000..2_840_140_800_i64).prop_map(|second| DateTime::from_timestamp(second, 0).unwrap())
    }

    /// Clocks that were put back over midnight showed two dates in turn; no zone does that by more than two hours.
    const TURN: TimeDelta = TimeDelta::hours(2);

    proptest! {
        #[test]
        fn a_moment_is_in_its_day(calendar in zones(), at in moments()) {
            let day = calendar.day(at);
            let (start, end) = (calendar.day_start(day), calendar.day_start(day.plus_days(1)));
            prop_assert!(start <= at, "{:?} {at} is before its day, {start}", calendar.zone());
            prop_assert!(at < end + TURN, "{:?} {at} is after its day, {end}", calendar.zone());
            prop_assert_eq!(calendar.day(start), day);
        }

        #[test]
        fn hours_nest_in_days_and_minutes_in_hours(calendar in zones(), at in moments()) {
            let (minute, hour) = (calendar.minute(at), calendar.hour(at));
            prop_assert!(hour.start() <= minute.start() && minute.start() <= at);
            prop_assert!(at - hour.start() < TimeDelta::hours(1));
            prop_assert_eq!(calendar.hour(minute.start()), hour);
            prop_assert_eq!(calendar.day(minute.start()), calendar.day(at));
        }

        #[test]
        fn days_go_forward(calendar in zones(), at in moments(), later in 0..40_000_000_i64) {
            let after = at + TURN + TimeDelta::seconds(later);
            prop_assert!(calendar.day(at) <= calendar.day(after));
            prop_assert!(calendar.month(at) <= calendar.month(after));
        }
    }
}
