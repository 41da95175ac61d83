-- What imports have booked, by key and source, so that importing again books the difference and nothing twice.
-- granularity: day, month or total; period as in day_rows and month_rows, 0 for the total. history_id: the key's history
-- when the row was first booked. key_position: the key's place in keys, which no later key gets, while an imported key may
-- have the id of one that was deleted. No reference: rows outlive their key, like histories do, and are taken back when one
-- of the same uuid is imported anew.

CREATE TABLE import_rows (
    key_position    INTEGER NOT NULL,
    key_uuid        TEXT    NOT NULL,
    source          TEXT    NOT NULL,
    granularity     TEXT    NOT NULL CHECK (granularity IN ('day', 'month', 'total')),
    period          INTEGER NOT NULL,
    history_id      INTEGER NOT NULL,
    rx_bytes        INTEGER NOT NULL,
    tx_bytes        INTEGER NOT NULL,
    max_connections INTEGER NOT NULL,
    sessions        INTEGER NOT NULL,
    PRIMARY KEY (key_position, source, granularity, period)
) STRICT, WITHOUT ROWID;
CREATE INDEX import_rows_by_uuid ON import_rows (key_uuid, source);
