-- REALITY identities: the server's, whose key_id is NULL, and what keys have of their own. What is NULL in a key's row is
-- the server's, and in the server's the configuration's. private_key: 32 bytes, a secret. server_names: a JSON array.

CREATE TABLE reality_identities (
    key_id           TEXT    UNIQUE REFERENCES keys (id) ON DELETE CASCADE,
    private_key      BLOB    CHECK (length(private_key) = 32),
    short_id         TEXT,
    old_short_id     TEXT,
    old_until_micros INTEGER,
    dest             TEXT,
    server_names     TEXT,
    CHECK ((old_short_id IS NULL) = (old_until_micros IS NULL)),
    CHECK (key_id IS NOT NULL OR (private_key IS NOT NULL AND short_id IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX server_identity ON reality_identities (key_id IS NULL) WHERE key_id IS NULL;

-- The secret in a key's subscription address, 128 random bits in hexadecimal; none while the key is disabled.
ALTER TABLE keys ADD COLUMN subscription_token TEXT;
CREATE UNIQUE INDEX keys_by_subscription_token ON keys (subscription_token);
UPDATE keys SET subscription_token = lower(hex(randomblob(16))) WHERE is_active = 1;

-- At most one row: what a restore has taken over of others' parts of the core's configuration, until it stands in the file.
CREATE TABLE restored_document (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    document TEXT    NOT NULL
) STRICT;
