//! The panel's tests: the agent's self-checks in the words of a page that used to run pytest.
//!
//! A warning has passed: nothing is wrong. There are no test files here; a check's name stands where a file's path was.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::reason::Reason;
use portmeter_proto::v1::{Check, CheckStatus, ListChecksRequest, ListChecksResponse, RunChecksRequest};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::failure::PanelFailure;
use crate::gateway::Gateway;
use crate::moment::{Moment, Zulu};
use crate::query::Query;

/// What a flag of a query may be; a Python client writes it in capitals.
const FLAGS: [(&str, bool); 6] = [
    ("false", false),
    ("true", true),
    ("0", false),
    ("1", true),
    ("False", false),
    ("True", true),
];

/// What a row takes; see [`answer::json_of_size`].
const ROW_BYTES: usize = 256;

/// Most characters of an unknown name that are told back.
const NAME_CHARACTERS_MAX: usize = 255;

/// The exit codes of the program that pages expect behind this: all is well, something failed, nothing of that name.
const ALL_PASSED: u8 = 0;
const SOME_FAILED: u8 = 1;
const NOT_FOUND: u8 = 4;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TestSummary)]
struct Summary {
    passed: usize,
    failed: usize,
    errors: usize,
    total: usize,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TestResult)]
struct Test {
    name: String,
    status: &'static str,
    output: String,
}

/// Runs the self-checks, all or the one that `path` names, and answers when they are done.
#[utoipa::path(
    get,
    path = "/api/tests/run",
    params(
        ("path" = Option<String>, Query, description = "Only the check with this name."),
        ("verbose" = Option<bool>, Query, description = "Whether what passed says what it found, too."),
    ),
    responses((status = 200, body = TestRun))
)]
pub(crate) async fn run(State(gateway): State<Gateway>, query: Query) -> Result<Response, PanelFailure> {
    let is_verbose = query.choice("verbose", &FLAGS)?;
    let name = query.text("path").filter(|name| !name.is_empty());
    let names = name.map(ToOwned::to_owned).into_iter().collect();
    let tests = match gateway.checks().run_checks(RunChecksRequest { names }).await {
        Ok(ran) => ran
            .into_inner()
            .checks
            .into_iter()
            .map(|check| test(check, is_verbose))
            .collect(),
        Err(status) if Reason::of(&status) == Reason::CheckNotFound => return Ok(written(&[unknown(name)], NOT_FOUND)),
        Err(status) => return Err(status.into()),
    };
    let tests: Vec<Test> = tests;
    let code = match tests.iter().all(|test| test.status == "passed") {
        true => ALL_PASSED,
        false => SOME_FAILED,
    };
    Ok(written(&tests, code))
}

fn written(tests: &[Test], return_code: u8) -> Response {
    let summary = summary(tests);
    let answer = TestRun {
        ok: true,
        results: summary,
        success: return_code == ALL_PASSED,
        return_code,
        summary,
        tests,
    };
    answer::json_of_size(&answer, (tests.len() + 1) * ROW_BYTES)
}

#[derive(Serialize, ToSchema)]
struct TestRun<'a> {
    ok: bool,
    results: Summary,
    success: bool,
    return_code: u8,
    summary: Summary,
    tests: &'a [Test],
}

fn summary(tests: &[Test]) -> Summary {
    let count = |status: &str| tests.iter().filter(|test| test.status == status).count();
    let (passed, failed) = (count("passed"), count("failed"));
    Summary {
        passed,
        failed,
        errors: tests.len() - passed - failed,
        total: tests.len(),
    }
}

fn test(check: Check, is_verbose: bool) -> Test {
    let status = word(check.status());
    let is_told = is_verbose || status != "passed";
    Test {
        output: if is_told { check.output } else { String::new() },
        name: check.name,
        status,
    }
}

/// What is said of a check that there is not: that it could not be run.
fn unknown(name: Option<&str>) -> Test {
    Test {
        name: name.unwrap_or_default().chars().take(NAME_CHARACTERS_MAX).collect(),
        status: word(CheckStatus::Error),
        output: "no check has this name; /api/tests/list has them all".to_owned(),
    }
}

fn word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::NotRun => "not_run",
        CheckStatus::Passed | CheckStatus::Warning => "passed",
        CheckStatus::Failed => "failed",
        CheckStatus::Error | CheckStatus::Unspecified => "error",
    }
}

/// Lists every self-check with its last result.
#[utoipa::path(
    get,
    path = "/api/tests/list",
    responses((status = 200, body = TestList))
)]
pub(crate) async fn list(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let checks = listed(&gateway).await?.checks;
    let answer = TestList {
        ok: true,
        tests: checks
            .iter()
            .map(|check| TestRow {
                name: &check.name,
                status: word(check.status()),
            })
            .collect(),
        test_files: checks
            .iter()
            .map(|check| TestFile {
                name: &check.name,
                path: &check.name,
            })
            .collect(),
    };
    Ok(answer::json_of_size(&answer, (checks.len() + 1) * ROW_BYTES))
}

#[derive(Serialize, ToSchema)]
struct TestList<'a> {
    ok: bool,
    tests: Vec<TestRow<'a>>,
    test_files: Vec<TestFile<'a>>,
}

#[derive(Serialize, ToSchema)]
struct TestRow<'a> {
    name: &'a str,
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
struct TestFile<'a> {
    name: &'a str,
    path: &'a str,
}

/// Shows whether self-checks can run, and when they last did.
#[utoipa::path(
    get,
    path = "/api/tests/status",
    responses((status = 200, body = TestState))
)]
pub(crate) async fn status(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let list = listed(&gateway).await?;
    let last_run = Moment::optional(list.last_run_at.as_ref(), "last_run_at")?;
    Ok(answer::json(&TestState {
        ok: true,
        status: match (list.is_running, list.checks.is_empty()) {
            (true, _) => "running",
            (false, true) => "not_ready",
            (false, false) => "ready",
        },
        last_run: last_run.map(Moment::zulu),
        pytest_available: false,
        tests_directory_exists: false,
        test_files_count: list.checks.len(),
    }))
}

#[derive(Serialize, ToSchema)]
struct TestState {
    ok: bool,
    status: &'static str,
    #[schema(required)]
    last_run: Option<Zulu>,
    pytest_available: bool,
    tests_directory_exists: bool,
    test_files_count: usize,
}

async fn listed(gateway: &Gateway) -> Result<ListChecksResponse, PanelFailure> {
    Ok(gateway.checks().list_checks(ListChecksRequest {}).await?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, status: CheckStatus) -> Check {
        Check {
            name: name.to_owned(),
            status: status.into(),
            output: format!("about {name}"),
            ..Check::default()
        }
    }

    #[test]
    fn a_warning_has_passed_and_whatever_else_is_an_error() {
        let all = [
            ("a", CheckStatus::Passed),
            ("b", CheckStatus::Warning),
            ("c", CheckStatus::Failed),
            ("d", CheckStatus::Error),
            ("e", CheckStatus::Unspecified),
        ];
        let tests: Vec<Test> = all
            .iter()
            .map(|(name, status)| test(check(name, *status), false))
            .collect();
        let words: Vec<&str> = tests.iter().map(|test| test.status).collect();
        assert_eq!(words, ["passed", "passed", "failed", "error", "error"]);
        let expected = Summary {
            passed: 2,
            failed: 1,
            errors: 2,
            total: 5,
        };
        assert_eq!(summary(&tests), expected);
    }

    #[test]
    fn only_what_has_not_passed_says_why_unless_all_are_to() {
        let outputs = |is_verbose| {
            [CheckStatus::Warning, CheckStatus::Failed].map(|status| test(check("a", status), is_verbose).output)
        };
        assert_eq!(outputs(false), ["", "about a"]);
        assert_eq!(outputs(true), ["about a", "about a"]);
    }
}
