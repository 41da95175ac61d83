//! The schema, as numbered migrations that only go forward. SQLite's `user_version` holds the number.

use rusqlite_migration::{M, Migrations};

/// Marks a file as a Portmeter ledger (`PRAGMA application_id`): "PMTR".
pub(super) const APPLICATION_ID: i32 = 0x504d_5452;

/// Schema versions this build knows: the number of migrations.
pub(super) const VERSION: usize = STEPS.len();

const STEPS: &[M<'static>] = &[
    M::up(include_str!("migrations/001_keys_and_checkpoints.sql")),
    M::up(include_str!("migrations/002_connections.sql")),
    M::up(include_str!("migrations/003_history.sql")),
    M::up(include_str!("migrations/004_imports.sql")),
    M::up(include_str!("migrations/005_xray.sql")),
    M::up(include_str!("migrations/006_panel.sql")),
];

/// Every migration, in order.
pub(super) const fn migrations() -> Migrations<'static> {
    Migrations::from_slice(STEPS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn migrations_are_well_formed() {
        super::migrations().validate().unwrap();
    }
}
