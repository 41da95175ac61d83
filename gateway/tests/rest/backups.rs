//! Backups of the core's configuration in what shapes cannot say.

use serde_json::json;

use crate::ask::{Answer, Client, with_keys};

const NAME: &str = "20250805_115900__create__config.json";

async fn restore(client: &Client, body: &str) -> Answer {
    client.send("POST", &format!("/api/backups/{NAME}/restore"), body).await
}

#[tokio::test]
async fn backups_are_listed_under_both_names_of_each_field() {
    let (_agent, client) = with_keys(1);
    let body = client.get("/api/backups").await.ok();
    let expected = json!({
        "filename": NAME, "size": 2048, "created": "2025-08-05T11:59:00Z", "name": NAME, "mtime": "2025-08-05T11:59:00Z",
    });
    assert_eq!(body["backups"][0], expected);
    let created: Vec<&str> = (0..3)
        .map(|index| body["backups"][index]["created"].as_str().unwrap())
        .collect();
    assert!(created.is_sorted_by(|newer, older| newer > older), "{created:?}");
}

#[tokio::test]
async fn a_preview_counts_what_it_lists() {
    let (_agent, client) = with_keys(1);
    let body = client.get(&format!("/api/backups/{NAME}/preview")).await.ok();
    let expected = json!({
        "users": [{"id": "00000000-0000-4000-8000-00000000000c", "email": "old", "flow": "xtls-rprx-vision"}],
        "inbounds": [
            {"protocol": "vless", "port": 10_001, "tag": "inbound-old", "listen": ""},
            {"protocol": "vless", "port": null, "tag": "", "listen": "/run/xray.sock"},
            {"protocol": "dokodemo-door", "port": 9436, "tag": "api", "listen": "127.0.0.1"},
        ],
        "users_count": 1, "ports": [9436, 10_001], "protocols": ["dokodemo-door", "vless"], "inbounds_count": 3,
    });
    assert_eq!(body["preview"], expected);
}

#[tokio::test]
async fn a_restore_that_nobody_means_changes_nothing() {
    let (agent, client) = with_keys(3);
    let expected = json!({
        "ok": true, "preview": true,
        "current": {"users_count": 3, "config_exists": true},
        "backup": {"users_count": 1, "inbounds_count": 3},
        "warning": "Nothing was changed; send \"confirm\": true to restore this backup",
    });
    for body in [
        "",
        " ",
        "null",
        "{}",
        r#"{"preview":true}"#,
        r#"{"confirm":false,"restart_xray":true}"#,
    ] {
        assert_eq!(restore(&client, body).await.ok(), expected, "{body}");
    }
    assert_eq!(agent.n_restarts(), 0);
}

#[tokio::test]
async fn a_restore_tells_what_became_of_it() {
    let (agent, client) = with_keys(3);
    let expected = json!({
        "ok": true, "restored_from": NAME, "restored": true, "backup_name": NAME,
        "pre_restore_backup": "20250805_120000__restore__config.json",
        "restart_result": {"ok": true, "message": "restarted"},
        "message": "Backup restored successfully",
        "created_keys": 1, "skipped": ["The client `x` has no uuid."],
    });
    for body in [
        r#"{"preview":false}"#,
        r#"{"confirm":true}"#,
        r#"{"preview":true,"confirm":true}"#,
    ] {
        assert_eq!(restore(&client, body).await.ok(), expected, "{body}");
    }
    assert_eq!(
        agent.n_restarts(),
        3,
        "a restart is part of it unless the body says otherwise"
    );

    let unasked = restore(&client, r#"{"preview":false,"restart_xray":false}"#).await.ok();
    assert_eq!(
        unasked["restart_result"],
        json!({"ok": true, "message": "not asked for"})
    );
    assert_eq!(agent.n_restarts(), 3);

    agent.set_unmanaged();
    agent.remove_configuration();
    let unmanaged = restore(&client, r#"{"confirm":true}"#).await.ok();
    assert_eq!(unmanaged["restart_result"]["ok"], false);
    assert_eq!(
        unmanaged["pre_restore_backup"],
        json!(null),
        "there was nothing to save"
    );
}

#[tokio::test]
async fn the_name_comes_before_the_body() {
    let (_agent, client) = with_keys(1);
    let refused = client.send("POST", "/api/backups/..%2fx/restore", "{").await;
    assert_eq!(refused.error(), (400, "invalid_filename".to_owned()));
}

#[tokio::test]
async fn a_name_of_another_form_is_the_agents_to_refuse() {
    let (_agent, client) = with_keys(1);
    let refused = client.get("/api/backups/config.json/preview").await;
    assert_eq!(refused.error(), (400, "invalid_filename".to_owned()));
}

#[tokio::test]
async fn a_backup_is_deleted_once() {
    let (_agent, client) = with_keys(1);
    let path = format!("/api/backups/{NAME}");
    assert_eq!(
        client.send("DELETE", &path, "").await.ok(),
        json!({"ok": true, "message": "backup_deleted"})
    );
    let again = client.send("DELETE", &path, "").await;
    assert_eq!(again.error(), (404, "backup_not_found".to_owned()));
    assert_eq!(
        client.get("/api/backups").await.ok()["backups"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}
