//! The routes of the core in what shapes cannot say: drift, a configuration that is not there, ports that answer.

use portmeter_gateway::{GatewayConfig, PanelAuth};
use portmeter_proto::reason::Reason;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::agent::Agent;
use crate::ask::{Client, config, with_keys};

/// A client that nobody knows.
const STRANGER: &str = "00000000-0000-4000-8000-00000000000c";

#[tokio::test]
async fn drift_is_shown_both_ways_until_it_is_repaired() {
    let (agent, client) = with_keys(3);
    let uuids: Vec<String> = (0..3).map(|index| agent.key(index).uuid).collect();
    agent.edit_key(2, |key| key.is_active = false);
    let well = client.get("/api/system/xray/validate-sync").await.ok();
    assert_eq!(well["validation"]["synchronized"], true);
    assert_eq!(
        well["validation"]["key_uuids"],
        json!(uuids[..2]),
        "a disabled key is not wanted"
    );

    agent.edit_key(1, |key| key.port = None);
    agent.add_stranger(STRANGER);
    let validation = &client.get("/api/system/xray/validate-sync").await.ok()["validation"];
    let expected = json!({
        "synchronized": false, "key_uuids": uuids[..2], "config_uuids": [uuids[0], STRANGER],
        "missing_in_config": [uuids[1]], "extra_in_config": [STRANGER], "total_keys": 2, "total_config_clients": 2,
    });
    assert_eq!(*validation, expected);
    let status = client.get("/api/system/config-status").await.ok();
    assert_eq!(
        [
            &status["synchronized"],
            &status["keys_json_count"],
            &status["config_json_count"],
            &status["keys_json_uuids"],
            &status["config_json_uuids"],
        ],
        [
            &json!(false),
            &json!(2),
            &json!(2),
            &json!(uuids[..2]),
            &json!([uuids[0], STRANGER])
        ]
    );

    agent.edit_key(1, |key| key.port = Some(10_002));
    client
        .send("POST", "/api/system/xray/sync-config", "ignored")
        .await
        .ok();
    let well = client.get("/api/system/config-status").await.ok();
    assert_eq!(well["synchronized"], true);
}

#[tokio::test]
async fn the_port_table_is_the_same_wherever_it_is_shown() {
    let (_agent, client) = with_keys(3);
    let status = &client.get("/api/system/xray/config-status").await.ok()["config_status"];
    let ports = client.get("/api/system/ports").await.ok();
    assert_eq!(status["port_assignments"], ports["port_assignments"]);
    assert_eq!(
        [
            &status["total_inbounds"],
            &status["vless_inbounds"],
            &status["api_inbounds"],
            &status["config_valid"],
        ],
        [&json!(2), &json!(1), &json!(1), &json!(true)]
    );
}

#[tokio::test]
async fn without_a_configuration_there_are_no_inbounds() {
    let (agent, client) = with_keys(1);
    agent.remove_configuration();
    let status = &client.get("/api/system/xray/config-status").await.ok()["config_status"];
    assert_eq!(
        (&status["total_inbounds"], &status["config_valid"]),
        (&json!(0), &json!(false))
    );
    assert_eq!(status["port_assignments"]["used_ports"]["10001"]["key_name"], "key 0");
    let shown = client.get("/api/xray/config").await;
    assert_eq!(shown.error(), (400, "Cannot load config: there is none yet".to_owned()));
    let ports = client.get("/api/ports/status").await.ok();
    assert_eq!(ports["ports"].as_array().unwrap().len(), 1, "this listener is left");
}

#[tokio::test]
async fn the_configuration_is_shown_as_it_is() {
    let (_agent, client) = with_keys(1);
    let answer = client.get("/api/xray/config").await;
    let config = &answer.ok()["config"];
    let sections: Vec<&String> = config.as_object().unwrap().keys().collect();
    assert_eq!(sections, ["log", "inbounds", "outbounds"]);
    let reality = &config["inbounds"][0]["streamSettings"]["realitySettings"];
    assert_eq!(*reality, json!({"privateKey": "***"}));
}

#[tokio::test]
async fn a_restart_says_why_it_did_not_happen_and_nothing_else() {
    let (agent, client) = with_keys(1);
    client.send("POST", "/api/xray/restart", "").await.ok();
    assert_eq!(agent.n_restarts(), 1);
    agent.set_unmanaged();
    let refused = client.send("POST", "/api/xray/restart", "").await;
    assert_eq!(refused.error(), (500, "xray.mode is none".to_owned()));
    agent.set_failure(Some((Reason::Internal, "see /var/lib/portmeter")));
    let failed = client.send("POST", "/api/xray/restart", "").await;
    assert_eq!(failed.error(), (500, "Internal server error".to_owned()));
}

#[tokio::test]
async fn reality_is_that_of_the_first_inbound() {
    let (agent, client) = with_keys(2);
    let expected = json!({
        "ok": true, "port": 10_001, "pbk": "Z84J2IelR9ch3k8VtlVhhs5ycBUlXA7wHBWcBrjqnAw", "sni": "www.microsoft.com",
        "sid": "6ba85179e30d4fc2", "fp": "chrome", "flow": "xtls-rprx-vision", "server_host": "vpn.example.com",
    });
    assert_eq!(client.get("/api/xray/reality").await.ok(), expected);
    agent.edit_key(0, |key| key.port = None);
    let without_port = client.get("/api/xray/reality").await.ok();
    assert_eq!(without_port["port"], 443, "the panel's own setting stands for it");
    let (_agent, client) = with_keys(0);
    let nothing = client.get("/api/xray/reality").await;
    assert_eq!(nothing.error(), (400, "VLESS inbound not found".to_owned()));
}

#[tokio::test]
async fn a_port_runs_when_something_listens_on_it() {
    let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let ports = [10_001, 9_436];
    let agent = Agent::with_keys(1);
    agent.set_inbound_ports(&ports);
    let config = GatewayConfig {
        listen: api.local_addr().unwrap(),
        public_url: None,
        ..config(PanelAuth::Key)
    };
    let client = Client::with_config(&agent, config);
    let body = client.get("/api/ports/status").await.ok();
    let expected: Value = json!([
        {
            "port": port(&api), "name": "REST API", "service": "portmeter", "type": "api", "host": "127.0.0.1",
            "protocol": "http", "status": "running",
        },
        {
            "port": ports[0], "name": "inbound-0", "service": "xray", "type": "inbound", "host": "127.0.0.1",
            "protocol": "vless", "status": "running",
        },
        {
            "port": ports[1], "name": "api", "service": "xray", "type": "inbound", "host": "127.0.0.1",
            "protocol": "dokodemo-door", "status": "stopped",
        },
    ]);
    assert_eq!(body["ports"], expected);
    let url = format!("http://127.0.0.1:{}", port(&api));
    assert_eq!(
        body["current"],
        json!({"port": port(&api), "host": "127.0.0.1", "url": url})
    );
}
