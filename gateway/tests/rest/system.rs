//! The header's routes and the panel's tests in what shapes cannot say.

use portmeter_gateway::PanelAuth;
use portmeter_proto::reason::Reason;
use portmeter_proto::v1::CheckStatus;
use serde_json::json;

use crate::agent::Agent;
use crate::ask::{Client, with_keys};

#[tokio::test]
async fn ping_answers_anybody_whatever_the_agent_does() {
    let (agent, client) = with_keys(1);
    agent.set_failure(Some((Reason::Unavailable, "gone")));
    for api_key in [None, Some("wrong")] {
        let answer = client.with_key(api_key).get("/api/ping").await.ok();
        assert_eq!((&answer["ok"], &answer["message"]), (&json!(true), &json!("pong")));
    }
}

#[tokio::test]
async fn the_target_is_in_the_body_or_else_in_the_query() {
    let (agent, client) = with_keys(1);
    for (target, body, service, restarted) in [
        ("", r#"{"target":"ui"}"#, "ui", "agent"),
        ("?target=nextjs", r#"{"target":"xray"}"#, "xray", "xray"),
        ("?target=xray", "", "xray", "xray"),
        ("?target=nextjs", "{}", "nextjs", "frontend"),
        ("?target=ui", r#"{"target":null}"#, "ui", "agent"),
    ] {
        let path = format!("/api/system/restart{target}");
        let answer = client.send("POST", &path, body).await.ok();
        assert_eq!(answer, json!({"ok": true, "message": "restarted", "service": service}));
        assert_eq!(agent.restarted().last().unwrap(), restarted, "{path} {body}");
    }
    assert_eq!(agent.restarted().len(), 5);
}

#[tokio::test]
async fn nothing_else_is_restarted() {
    let (agent, client) = with_keys(1);
    for (target, body, shown) in [
        ("", "", ""),
        ("", r#"{"target":"sshd"}"#, "sshd"),
        ("", r#"{"target":"agent"}"#, "agent"),
        ("?target=ui", r#"{"target":"xray.service"}"#, "xray.service"),
        ("?target=ui%00", "", "ui\0"),
        ("", r#"{"target":5}"#, ""),
        ("", r#"{"target":["ui"]}"#, ""),
    ] {
        let refused = client.send("POST", &format!("/api/system/restart{target}"), body).await;
        let text = format!("invalid_target: {shown}. Valid: ui, xray, nextjs");
        assert_eq!(refused.error(), (400, text), "{target} {body}");
    }
    assert!(agent.restarted().is_empty());
}

#[tokio::test]
async fn what_nobody_runs_cannot_be_restarted() {
    let (agent, client) = with_keys(1);
    agent.set_unmanaged();
    agent.remove_front_end();
    let restart = async |target: &str| {
        let body = json!({"target": target}).to_string();
        client.send("POST", "/api/system/restart", &body).await.error()
    };
    assert_eq!(restart("xray").await, (500, "xray.mode is none".to_owned()));
    assert_eq!(restart("nextjs").await, (500, "no unit is configured".to_owned()));
    let status = client.get("/api/system/status").await.ok();
    assert_eq!(
        status["xray"],
        json!({"active": false, "state": "unknown", "service": "xray"})
    );
    let nothing = json!({"active": false, "state": "inactive", "port": 0, "url": "", "status_code": 0});
    assert_eq!(status["nextjs"], nothing);
}

#[tokio::test]
async fn services_are_called_by_their_units() {
    let (_agent, client) = with_keys(1);
    let status = client.get("/api/system/status").await.ok();
    assert_eq!(
        status["ui"],
        json!({"active": true, "state": "active", "service": "portmeter.service"})
    );
    assert_eq!(status["xray"]["service"], "xray");
    assert_eq!(status["nextjs"]["port"], 3000);
}

#[tokio::test]
async fn shares_of_the_host() {
    let (_agent, client) = with_keys(1);
    let body = client.get("/api/system/resources").await.ok();
    assert_eq!(body["cpu"], json!({"percent": 12.5, "count": 2}));
    assert_eq!((&body["memory"]["percent"], &body["ram"]), (&json!(25.0), &json!(25.0)));
    assert_eq!(
        (&body["ram_total_gb"], &body["ram_used_gb"]),
        (&json!(4.0), &json!(1.0))
    );
    assert_eq!(body["disk"]["percent"], 33.3);
}

#[tokio::test]
async fn a_run_counts_and_says_why_something_failed() {
    let (_agent, client) = with_keys(1);
    let body = client.get("/api/tests/run").await.ok();
    let summary = json!({"passed": 2, "failed": 1, "errors": 0, "total": 3});
    assert_eq!((&body["results"], &body["summary"]), (&summary, &summary));
    assert_eq!((&body["success"], &body["return_code"]), (&json!(false), &json!(1)));
    let outputs = |body: &serde_json::Value| -> Vec<String> {
        let tests = body["tests"].as_array().unwrap().iter();
        tests.map(|test| test["output"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(outputs(&body), ["", "", "xray was looked at"]);
    for verbose in ["true", "1", "True"] {
        let body = client.get(&format!("/api/tests/run?verbose={verbose}")).await.ok();
        assert_eq!(outputs(&body)[0], "kernel was looked at");
    }
}

#[tokio::test]
async fn one_check_runs_alone_and_an_unknown_one_is_an_error_of_its_own() {
    let (agent, client) = with_keys(1);
    let one = client.get("/api/tests/run?path=clock").await.ok();
    assert_eq!(
        one["tests"],
        json!([{"name": "clock", "status": "passed", "output": ""}])
    );
    assert_eq!((&one["success"], &one["return_code"]), (&json!(true), &json!(0)));
    let listed = client.get("/api/tests/list").await.ok();
    let status = |name: &str, status: &str| json!({"name": name, "status": status});
    let expected = json!([
        status("kernel", "not_run"),
        status("clock", "passed"),
        status("xray", "not_run")
    ]);
    assert_eq!(listed["tests"], expected);
    assert_eq!(listed["test_files"][0], json!({"name": "kernel", "path": "kernel"}));

    let unknown = client.get("/api/tests/run?path=..%2Ftests%2Fa.py").await.ok();
    assert_eq!(
        unknown["summary"],
        json!({"passed": 0, "failed": 0, "errors": 1, "total": 1})
    );
    assert_eq!(
        (&unknown["success"], &unknown["return_code"]),
        (&json!(false), &json!(4))
    );
    let test = &unknown["tests"][0];
    assert_eq!(
        (&test["name"], &test["status"]),
        (&json!("../tests/a.py"), &json!("error"))
    );

    agent.set_check("xray", CheckStatus::Error);
    let all = client.get("/api/tests/run?path=").await.ok();
    assert_eq!(
        all["summary"],
        json!({"passed": 2, "failed": 0, "errors": 1, "total": 3})
    );
}

#[tokio::test]
async fn the_status_tells_of_a_run() {
    let (agent, client) = with_keys(1);
    let before = client.get("/api/tests/status").await.ok();
    assert_eq!(
        (&before["status"], &before["last_run"]),
        (&json!("ready"), &json!(null))
    );
    client.get("/api/tests/run").await.ok();
    agent.set_checks_running();
    let after = client.get("/api/tests/status").await.ok();
    assert_eq!(
        after,
        json!({
            "ok": true, "status": "running", "last_run": "2025-08-05T12:00:00Z", "pytest_available": false,
            "tests_directory_exists": false, "test_files_count": 3,
        })
    );
}

#[tokio::test]
async fn an_open_panel_needs_no_key_for_any_of_it() {
    let agent = Agent::with_keys(1);
    let client = Client::with_panel(&agent, PanelAuth::Open).with_key(None);
    for path in [
        "/api/system/status",
        "/api/system/resources",
        "/api/tests/run",
        "/api/tests/list",
        "/api/tests/status",
    ] {
        client.get(path).await.ok();
    }
}
