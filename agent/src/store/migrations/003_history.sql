-- The history: what each key moved, by minute, hour, day, month and billing cycle.
--
-- A period's rows are keyed by (period, history): all writes of a moment fall on neighbouring pages, a period that has
-- had its time is one range, and a key's periods are found one by one. A key has a new history from each reset on, so
-- rows from before a reset, and of deleted keys, stay for the sums over all keys and are otherwise not looked for.
--
-- minute: minutes since 1970. hour: the second since 1970 at which the local hour began. day, month: days and months
-- from 1970-01 to the calendar date in the ledger's time zone at the time of booking.

ALTER TABLE ledger ADD COLUMN read_at_micros INTEGER;

ALTER TABLE keys ADD COLUMN cycle_rule      TEXT;
ALTER TABLE keys ADD COLUMN cycle_time_zone TEXT;

-- Life-long figures. is_connected: whether connections were open at the last sample; history_…: since the last reset.
ALTER TABLE key_totals ADD COLUMN max_connections              INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key_totals ADD COLUMN sessions                     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key_totals ADD COLUMN last_activity_micros         INTEGER;
ALTER TABLE key_totals ADD COLUMN is_connected                 INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key_totals ADD COLUMN history_max_connections      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key_totals ADD COLUMN history_last_activity_micros INTEGER;

-- A key's history and its life-long figures when it began. The key's last one is the one that is shown. No reference to
-- keys: histories outlive them.
CREATE TABLE histories (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id             TEXT    NOT NULL,
    began_at_micros    INTEGER NOT NULL,
    rx_bytes           INTEGER NOT NULL DEFAULT 0,
    rx_packets         INTEGER NOT NULL DEFAULT 0,
    tx_bytes           INTEGER NOT NULL DEFAULT 0,
    tx_packets         INTEGER NOT NULL DEFAULT 0,
    connections_opened INTEGER NOT NULL DEFAULT 0,
    sessions           INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX histories_by_key ON histories (key_id);

-- sequence: the commit that last changed the row.
CREATE TABLE minute_rows (
    minute                INTEGER NOT NULL,
    history_id            INTEGER NOT NULL,
    rx_bytes              INTEGER NOT NULL,
    rx_packets            INTEGER NOT NULL,
    tx_bytes              INTEGER NOT NULL,
    tx_packets            INTEGER NOT NULL,
    connections_opened    INTEGER NOT NULL,
    max_connections       INTEGER NOT NULL,
    sessions              INTEGER NOT NULL,
    last_activity_seconds INTEGER,
    sequence              INTEGER NOT NULL,
    PRIMARY KEY (minute, history_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE hour_rows (
    hour                  INTEGER NOT NULL,
    history_id            INTEGER NOT NULL,
    rx_bytes              INTEGER NOT NULL,
    rx_packets            INTEGER NOT NULL,
    tx_bytes              INTEGER NOT NULL,
    tx_packets            INTEGER NOT NULL,
    connections_opened    INTEGER NOT NULL,
    max_connections       INTEGER NOT NULL,
    sessions              INTEGER NOT NULL,
    last_activity_seconds INTEGER,
    PRIMARY KEY (hour, history_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE day_rows (
    day                   INTEGER NOT NULL,
    history_id            INTEGER NOT NULL,
    rx_bytes              INTEGER NOT NULL,
    rx_packets            INTEGER NOT NULL,
    tx_bytes              INTEGER NOT NULL,
    tx_packets            INTEGER NOT NULL,
    connections_opened    INTEGER NOT NULL,
    max_connections       INTEGER NOT NULL,
    sessions              INTEGER NOT NULL,
    last_activity_seconds INTEGER,
    PRIMARY KEY (day, history_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE month_rows (
    month                 INTEGER NOT NULL,
    history_id            INTEGER NOT NULL,
    rx_bytes              INTEGER NOT NULL,
    rx_packets            INTEGER NOT NULL,
    tx_bytes              INTEGER NOT NULL,
    tx_packets            INTEGER NOT NULL,
    connections_opened    INTEGER NOT NULL,
    max_connections       INTEGER NOT NULL,
    sessions              INTEGER NOT NULL,
    last_activity_seconds INTEGER,
    PRIMARY KEY (month, history_id)
) STRICT, WITHOUT ROWID;

-- By billing cycle, whose begin and end are seconds since 1970. A key's, whatever history it has.
CREATE TABLE cycle_rows (
    key_id                TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    start                 INTEGER NOT NULL,
    end                   INTEGER NOT NULL,
    rx_bytes              INTEGER NOT NULL,
    rx_packets            INTEGER NOT NULL,
    tx_bytes              INTEGER NOT NULL,
    tx_packets            INTEGER NOT NULL,
    connections_opened    INTEGER NOT NULL,
    max_connections       INTEGER NOT NULL,
    sessions              INTEGER NOT NULL,
    last_activity_seconds INTEGER,
    PRIMARY KEY (key_id, start)
) STRICT, WITHOUT ROWID;

-- All keys together, for live views: bytes moved, and the highest at one sample.
CREATE TABLE minute_totals (
    minute          INTEGER NOT NULL PRIMARY KEY,
    total_bytes     INTEGER NOT NULL DEFAULT 0,
    max_connections INTEGER NOT NULL DEFAULT 0,
    max_online_keys INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Commits that changed a figure or a key, and the earliest minute that each touched. The newest is always kept.
CREATE TABLE commits (
    sequence            INTEGER NOT NULL PRIMARY KEY,
    committed_at_micros INTEGER NOT NULL,
    first_minute        INTEGER
) STRICT;

-- Deleted keys with their last totals, for who follows the bookings; kept as long as these.
CREATE TABLE deleted_keys (
    key_id               TEXT    NOT NULL PRIMARY KEY,
    sequence             INTEGER NOT NULL,
    rx_bytes             INTEGER NOT NULL,
    rx_packets           INTEGER NOT NULL,
    tx_bytes             INTEGER NOT NULL,
    tx_packets           INTEGER NOT NULL,
    connections_opened   INTEGER NOT NULL,
    max_connections      INTEGER NOT NULL,
    sessions             INTEGER NOT NULL,
    last_activity_micros INTEGER
) STRICT, WITHOUT ROWID;

-- What happened, append-only.
CREATE TABLE events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at_micros INTEGER NOT NULL,
    type      TEXT    NOT NULL,
    severity  TEXT    NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    service   TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    message   TEXT    NOT NULL,
    actor     TEXT    NOT NULL
) STRICT;

-- What keys had before there was a history is booked to the day of this step, so that totals are the sums of days.
INSERT INTO histories (key_id, began_at_micros) SELECT id, created_at_micros FROM keys ORDER BY position;
INSERT INTO day_rows
    SELECT CAST(unixepoch() / 86400 AS INTEGER), histories.id, totals.rx_bytes, totals.rx_packets,
           totals.tx_bytes, totals.tx_packets, totals.connections_opened, 0, 0, NULL
    FROM key_totals AS totals JOIN histories ON histories.key_id = totals.key_id
    WHERE totals.rx_packets + totals.tx_packets + totals.connections_opened > 0;
INSERT INTO month_rows
    SELECT (CAST(strftime('%Y') AS INTEGER) - 1970) * 12 + CAST(strftime('%m') AS INTEGER) - 1, history_id, rx_bytes,
           rx_packets, tx_bytes, tx_packets, connections_opened, 0, 0, NULL
    FROM day_rows;
