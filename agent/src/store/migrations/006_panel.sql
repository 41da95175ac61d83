-- What panels show beside a key's name; empty when there is none.
ALTER TABLE keys ADD COLUMN alias TEXT NOT NULL DEFAULT '';

-- Creations that may be asked for again: the id that the caller gave, and what came of it. Kept for 24 hours.
CREATE TABLE key_requests (
    request_id TEXT    NOT NULL PRIMARY KEY,
    key_id     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    at_micros  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- details: a JSON object of texts, or NULL.
ALTER TABLE events ADD COLUMN key_id  TEXT;
ALTER TABLE events ADD COLUMN details TEXT;
CREATE INDEX events_by_time ON events (at_micros);
UPDATE events SET type = 'collector' WHERE type = 'ledger';

-- Settings that differ from their defaults, by path (`ui.theme`), as JSON; and what callers keep beside them, as one object
-- at the path `extra`.
CREATE TABLE settings (
    path  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE settings_version (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    version  INTEGER NOT NULL
) STRICT;
INSERT INTO settings_version VALUES (1, 1);

-- How often a key asked for a domain on a day, where that is recorded. day: days from 1970-01-01 to the calendar date.
CREATE TABLE domain_rows (
    day         INTEGER NOT NULL,
    key_id      TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    domain      TEXT    NOT NULL,
    connections INTEGER NOT NULL,
    PRIMARY KEY (day, key_id, domain)
) STRICT, WITHOUT ROWID;

-- How far the core's access log was read.
CREATE TABLE domain_log (
    only_row       INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    inode          INTEGER NOT NULL,
    position_bytes INTEGER NOT NULL
) STRICT;
