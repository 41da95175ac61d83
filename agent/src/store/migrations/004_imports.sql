-- What imports have booked, by key and source, so that importing again books the difference and nothing twice.
-- granularity: day, month or total; period as in day_rows and month_rows, 0 for the total. history_id: the key's history
-- at the first import.

CREATE TABLE import_rows (
    key_id          TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    source          TEXT    NOT NULL,
    granularity     TEXT    NOT NULL CHECK (granularity IN ('day', 'month', 'total')),
    period          INTEGER NOT NULL,
    history_id      INTEGER NOT NULL,
    rx_bytes        INTEGER NOT NULL,
    tx_bytes        INTEGER NOT NULL,
    max_connections INTEGER NOT NULL,
    sessions        INTEGER NOT NULL,
    PRIMARY KEY (key_id, source, granularity, period)
) STRICT, WITHOUT ROWID;
