-- Incoming TCP connections whose handshake was completed, booked like bytes: same checkpoint, same transaction.

ALTER TABLE checkpoints        ADD COLUMN connections_opened INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key_totals         ADD COLUMN connections_opened INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key_baselines      ADD COLUMN connections_opened INTEGER NOT NULL DEFAULT 0;
ALTER TABLE port_totals        ADD COLUMN connections_opened INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deleted_key_totals ADD COLUMN connections_opened INTEGER NOT NULL DEFAULT 0;
