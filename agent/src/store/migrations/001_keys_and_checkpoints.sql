-- Times are microseconds since 1970 in UTC. Figures are IP-layer bytes and packets, rx from the client, tx to it.

PRAGMA application_id = 0x504d5452;

-- Names this ledger; map lives carry it, so that no other ledger books what this one has booked.
CREATE TABLE ledger (
    id                TEXT    NOT NULL PRIMARY KEY,
    created_at_micros INTEGER NOT NULL
) STRICT;

-- `position` is the order of creation.
CREATE TABLE keys (
    position          INTEGER PRIMARY KEY AUTOINCREMENT,
    id                TEXT    NOT NULL UNIQUE,
    uuid              TEXT    NOT NULL UNIQUE,
    name              TEXT    NOT NULL,
    is_active         INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    created_at_micros INTEGER NOT NULL
) STRICT;

CREATE TABLE port_assignments (
    port               INTEGER NOT NULL PRIMARY KEY CHECK (port BETWEEN 1 AND 65535),
    key_id             TEXT    NOT NULL UNIQUE REFERENCES keys (id) ON DELETE CASCADE,
    assigned_at_micros INTEGER NOT NULL
) STRICT;

-- One row: when the table of assignments was made and last changed.
CREATE TABLE port_table (
    only_row            INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    created_at_micros   INTEGER NOT NULL,
    last_updated_micros INTEGER NOT NULL
) STRICT;

-- A life of the kernel maps that this ledger has booked. Maps do not outlive a boot.
CREATE TABLE map_lives (
    id      TEXT NOT NULL PRIMARY KEY,
    boot_id TEXT NOT NULL
) STRICT;

-- The counter up to which a port is booked, written in the same transaction as what was booked.
CREATE TABLE checkpoints (
    map_life   TEXT    NOT NULL REFERENCES map_lives (id) ON DELETE CASCADE,
    port       INTEGER NOT NULL,
    rx_bytes   INTEGER NOT NULL,
    rx_packets INTEGER NOT NULL,
    tx_bytes   INTEGER NOT NULL,
    tx_packets INTEGER NOT NULL,
    PRIMARY KEY (map_life, port)
) STRICT, WITHOUT ROWID;

-- What was booked to a key in its life.
CREATE TABLE key_totals (
    key_id     TEXT    NOT NULL PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    rx_bytes   INTEGER NOT NULL DEFAULT 0,
    rx_packets INTEGER NOT NULL DEFAULT 0,
    tx_bytes   INTEGER NOT NULL DEFAULT 0,
    tx_packets INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- What a reset of a key's current figures stored: its total at that moment.
CREATE TABLE key_baselines (
    key_id     TEXT    NOT NULL PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    rx_bytes   INTEGER NOT NULL DEFAULT 0,
    rx_packets INTEGER NOT NULL DEFAULT 0,
    tx_bytes   INTEGER NOT NULL DEFAULT 0,
    tx_packets INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- What a port carried while no key had it: before the first, between two.
CREATE TABLE port_totals (
    port       INTEGER NOT NULL PRIMARY KEY,
    rx_bytes   INTEGER NOT NULL DEFAULT 0,
    rx_packets INTEGER NOT NULL DEFAULT 0,
    tx_bytes   INTEGER NOT NULL DEFAULT 0,
    tx_packets INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- One row: the totals of deleted keys, so that the ledger's sum never shrinks.
CREATE TABLE deleted_key_totals (
    only_row   INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    rx_bytes   INTEGER NOT NULL DEFAULT 0,
    rx_packets INTEGER NOT NULL DEFAULT 0,
    tx_bytes   INTEGER NOT NULL DEFAULT 0,
    tx_packets INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO deleted_key_totals (only_row) VALUES (1);
