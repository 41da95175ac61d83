//! Bodies that no type of the handlers stands for: those of requests, which are read field by field, and fixed answers.
//!
//! They are here for the document alone. What a request must hold is decided by the handler; the tests and
//! `cargo xtask schemathesis` hold both against each other.

#![allow(dead_code, reason = "these types describe bodies; nothing makes a value of them")]

use chrono::NaiveDate;
use serde::Serialize;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A key to be made.
#[derive(ToSchema)]
pub(crate) struct KeyCreation {
    /// Free text; white space around it is taken off. Names need not differ.
    #[schema(min_length = 1, max_length = 255, pattern = r"\S", example = "user@example.com")]
    name: String,
}

/// What is to be changed of a key.
#[derive(ToSchema)]
pub(crate) struct KeyUpdate {
    /// Whether the key is enabled.
    is_active: bool,
    /// The new name; left out, it stays.
    #[schema(min_length = 1, max_length = 255, pattern = r"\S", nullable = false)]
    name: Option<String>,
}

/// The bytes of an image.
pub(crate) struct Image;

impl PartialSchema for Image {
    fn schema() -> RefOr<Schema> {
        let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(binary))
            .into()
    }
}

impl ToSchema for Image {}

/// That something was done.
#[derive(ToSchema)]
pub(crate) struct Message {
    message: String,
}

/// That something was done, in the panel's dress.
#[derive(ToSchema)]
pub(crate) struct PanelMessage {
    /// Always true.
    ok: bool,
    message: String,
}

/// What the service says of itself.
#[derive(ToSchema)]
pub(crate) struct Banner {
    #[schema(example = "VPN Key Management API")]
    message: String,
    #[schema(example = "2.1.3")]
    version: String,
    #[schema(example = "running")]
    status: String,
}

/// That this process answers.
#[derive(ToSchema)]
pub(crate) struct Alive {
    #[schema(example = "alive")]
    status: String,
}

/// Whom the panel means.
pub(crate) struct UserWanted;

impl PartialSchema for UserWanted {
    /// One of the two, or both: an empty text is as good as none.
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let optional = || text().schema_type(SchemaType::from_iter([Type::String, Type::Null]));
        let either = ["email", "uuid"].map(|given| {
            let other = if given == "email" { "uuid" } else { "email" };
            ObjectBuilder::new()
                .schema_type(Type::Object)
                .property(given, text().min_length(Some(1)))
                .property(other, optional())
                .required(given)
                .build()
        });
        let [email, uuid] = either;
        AnyOfBuilder::new()
            .item(email)
            .item(uuid)
            .description(Some("Whom the panel means: one of the two, or both of the same user."))
            .into()
    }
}

impl ToSchema for UserWanted {}

/// Whether a restore is meant: `preview` false or `confirm` true. Otherwise nothing is changed.
#[derive(ToSchema)]
pub(crate) struct RestoreOrder {
    preview: Option<bool>,
    confirm: Option<bool>,
    /// Whether the core is restarted afterwards; true by default.
    restart_xray: Option<bool>,
}

/// A billing cycle to be set, or none.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum CycleWanted {
    /// A rule.
    Rule(CycleRuleWanted),
    /// No cycle.
    NoRule(NoCycleRule),
    /// No cycle.
    Nothing(Null),
}

/// A body that ends the cycle.
#[derive(Serialize, ToSchema)]
pub(crate) struct NoCycleRule {
    rule: Null,
}

/// JSON's `null`.
#[derive(Serialize)]
pub(crate) struct Null;

impl PartialSchema for Null {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Null).into()
    }
}

impl ToSchema for Null {}

/// When a cycle begins.
#[derive(Serialize, ToSchema)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub(crate) enum CycleRuleWanted {
    /// On a day of each month, or on its last day where that is shorter.
    Monthly {
        #[schema(minimum = 1, maximum = 31)]
        day: u32,
        /// A name of the time zone database; the ledger's by default.
        time_zone: Option<String>,
    },
    /// On a day of each week, 1 being Monday.
    Weekly {
        #[schema(minimum = 1, maximum = 7)]
        day: u32,
        /// A name of the time zone database; the ledger's by default.
        time_zone: Option<String>,
    },
    /// Every day.
    Daily {
        /// A name of the time zone database; the ledger's by default.
        time_zone: Option<String>,
    },
    /// Every so many days.
    EveryDays {
        #[schema(minimum = 1, maximum = 366)]
        days: u32,
        /// The first day of a cycle; today by default.
        first_date: Option<NaiveDate>,
        /// A name of the time zone database; the ledger's by default.
        time_zone: Option<String>,
    },
}

/// That something was done, and no more.
#[derive(ToSchema)]
#[schema(as = PanelDone)]
pub(crate) struct Done {
    /// Always true.
    ok: bool,
}

/// A user to be added.
#[derive(ToSchema)]
pub(crate) struct UserCreation {
    /// Text on both sides of an `@`; white space around it is taken off.
    #[schema(max_length = 255, pattern = r"\S@.*\S", example = "user@example.com")]
    email: String,
}

/// Whose alias is to be what. One of `email` and `uuid`, or both of the same user.
#[derive(ToSchema)]
pub(crate) struct UserAliasWanted {
    #[schema(min_length = 1)]
    email: Option<String>,
    #[schema(min_length = 1)]
    uuid: Option<String>,
    /// An empty one removes it.
    #[schema(max_length = 255)]
    alias: Option<String>,
}

/// Whether the collector is to run.
#[derive(ToSchema)]
pub(crate) struct CollectorSwitch {
    enabled: bool,
    /// Taken, and without a meaning here.
    script: Option<String>,
}

/// What a run is to book.
#[derive(ToSchema)]
pub(crate) struct CollectorOrder {
    /// Today's figures are booked either way.
    include_today: Option<bool>,
}

/// What is to be restarted.
#[derive(ToSchema)]
pub(crate) struct RestartOrder {
    /// `ui`, `xray` or `nextjs`.
    #[schema(pattern = "^(ui|xray|nextjs)$")]
    target: String,
}
