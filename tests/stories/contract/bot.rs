//! The Telegram bots that sell keys: each generation asks in its own way, and all of them see the same.
//!
//! A bot knows a customer by the uuid. It compares texts, ignoring case, and takes nothing but status 200.

use anyhow::{Context, Result, ensure};
use portmeter_tests::network::Pair;
use portmeter_tests::rest::Key;
use portmeter_tests::xray::{Client, Link, Site, Supervised, ports_are_quiet};
use serde_json::{Value, json};

use super::ask::Caller;
use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_bot_sells_a_key_and_bills_it", a_bot_sells_a_key_and_bills_it),
    ("every_generation_sees_the_same", every_generation_sees_the_same),
    ("a_bot_resets_and_tidies_up", a_bot_resets_and_tidies_up),
];

const FETCHED_BYTES: u64 = 2_000_000;

/// A bot's view of the server.
struct Bot<'lab> {
    api: Caller<'lab>,
}

/// What a bot tells a customer of the traffic.
#[derive(Debug, Clone, PartialEq)]
struct Usage {
    upload: u64,
    download: u64,
    total: u64,
    connections: u64,
}

fn a_bot_sells_a_key_and_bills_it() -> Result<()> {
    with_bot(|pair, _agent, bot| {
        let sold = bot.sell("customer 42")?;
        let link = bot.link(&sold.id)?;
        ensure!(bot.link(&sold.uuid)? == link, "another link by uuid");
        Client::start(&pair.client, &Link::parse(&link)?)?.fetch(FETCHED_BYTES)?;
        ports_are_quiet(&pair.server, &pair.client, &[sold.port])?;

        // Months later it knows the uuid alone, and asks for the id before it asks for the history.
        let found = bot.find(&sold.uuid)?;
        ensure!(found == sold.id, "{found} is found, {} was sold", sold.id);
        let live = bot.usage_by_simple(&sold)?;
        ensure!(live.download >= FETCHED_BYTES && live.upload > 0, "{live:?}");
        for id in [&found, &sold.uuid] {
            ensure!(bot.billed(id, &sold)? == live.total, "{live:?} moved, by {id}");
        }
        ensure!(bot.monthly(&sold.uuid)? == live.total, "{live:?} moved this month");
        bot.the_day_adds_up(live.total)?;

        let gone = bot.says("DELETE", &format!("/api/keys/{}", sold.uuid))?;
        ensure!(gone.contains("deleted successfully"), "{gone}");
        ensure!(bot.api.get("/api/keys")? == json!([]), "a deleted key is listed");
        Ok(())
    })
}

/// The chain: ports/exact, or exact where that fails; a generation later simple, or exact.
fn every_generation_sees_the_same() -> Result<()> {
    with_bot(|pair, agent, bot| {
        let (busy, idle) = (bot.sell("busy")?, bot.sell("idle")?);
        Client::start(&pair.client, &agent.link(&busy)?)?.fetch(FETCHED_BYTES)?;
        ports_are_quiet(&pair.server, &pair.client, &[busy.port])?;
        for key in [&busy, &idle] {
            let told = [
                ("ports/exact", bot.usage_by_ports(key)?),
                ("port/exact", bot.usage_by_port(key)?),
                ("simple", bot.usage_by_simple(key)?),
                ("one key's simple", bot.usage_of_one(key)?),
                ("exact", bot.usage_by_exact(key)?),
                ("one key's exact", bot.usage_of_one_exact(key)?),
            ];
            for (generation, usage) in &told {
                ensure!(*usage == told[0].1, "{}: {generation} differs in {told:?}", key.name);
            }
            ensure!((told[0].1.total > FETCHED_BYTES) == (key == &busy), "{told:?}");
        }
        bot.the_summaries_count_two_ports()
    })
}

fn a_bot_resets_and_tidies_up() -> Result<()> {
    with_bot(|pair, agent, bot| {
        let key = bot.sell("customer")?;
        let client = Client::start(&pair.client, &agent.link(&key)?)?;
        for way in ["simple/reset", "port/reset", "reset"] {
            client.works()?;
            wait_until_counted(bot, &key)?;
            ports_are_quiet(&pair.server, &pair.client, &[key.port])?;
            let billed = bot.billed(&key.id, &key)?;
            for id in [&key.id, &key.uuid] {
                let said = bot.says("POST", &format!("/api/keys/{id}/traffic/{way}"))?;
                ensure!(said.contains("reset successfully"), "{way}: {said}");
            }
            ensure!(bot.usage_by_simple(&key)?.total == 0, "{way} leaves something");
            ensure!(bot.billed(&key.id, &key)? == billed, "{way} changes the history");
        }
        let before = bot.usage_by_simple(&key)?;
        let said = bot.says("POST", &format!("/api/keys/{}/traffic/history/reset", key.uuid))?;
        ensure!(said.contains("reset successfully"), "{said}");
        ensure!(bot.billed(&key.uuid, &key)? == 0, "a history that was reset has bytes");
        ensure!(
            bot.usage_by_simple(&key)? == before,
            "a history's reset changes the figures of now"
        );

        let said = bot.says("POST", "/api/traffic/history/cleanup?days_to_keep=1")?;
        ensure!(said.contains("cleaned up"), "{said}");
        let said = bot.says("POST", "/api/system/verify-reality")?;
        ensure!(said.contains("verified and updated successfully"), "{said}");
        let said = bot.says("POST", "/api/system/ports/reset")?;
        ensure!(said.contains("reset successfully"), "{said}");
        for path in ["/api/system/sync-config", "/api/system/xray/sync-config"] {
            let said = bot.says("POST", path)?;
            ensure!(said.contains("synchronized successfully"), "{path}: {said}");
        }
        bot.everything_is_in_step()?;
        client.works().context("the link of before all this")
    })
}

fn with_bot(work: impl FnOnce(&Pair, &Supervised<'_>, &Bot<'_>) -> Result<()>) -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let api = Caller::new(&pair.server);
    work(&pair, &agent, &Bot { api })
}

fn wait_until_counted(bot: &Bot<'_>, key: &Key) -> Result<()> {
    portmeter_tests::wait::until(
        "what was fetched is counted",
        || Ok(bot.usage_by_simple(key)?.total > 0),
    )
}

impl Bot<'_> {
    fn sell(&self, name: &str) -> Result<Key> {
        let made = self.api.post("/api/keys", &json!({ "name": name }))?;
        let text = |field: &str| made[field].as_str().with_context(|| format!("{field} in {made}"));
        ensure!(made["is_active"] == true && text("created_at")?.len() >= 19, "{made}");
        let port = made["port"].as_u64().context("a key without a port")?;
        Ok(Key {
            id: text("id")?.to_owned(),
            uuid: text("uuid")?.to_owned(),
            name: text("name")?.to_owned(),
            port: u16::try_from(port)?,
        })
    }

    /// The id of the key with this uuid: from the list, and from the key itself.
    fn find(&self, uuid: &str) -> Result<String> {
        let listed = self.api.get("/api/keys")?;
        let listed = listed.as_array().context("the keys are no array")?;
        let row = listed.iter().find(|key| key["uuid"] == uuid).context("not listed")?;
        let key = self.api.get(&format!("/api/keys/{uuid}"))?;
        ensure!(key == *row, "{key} is listed as {row}");
        Ok(key["id"].as_str().context("no id")?.to_owned())
    }

    /// The first line that is a link; newer bots take `vless_url`, which is the same.
    fn link(&self, key_id: &str) -> Result<String> {
        let shown = self.api.get(&format!("/api/keys/{key_id}/config"))?;
        let text = shown["client_config"].as_str().context("no client_config")?;
        let link = text
            .lines()
            .find(|line| line.starts_with("vless://"))
            .context("no link")?;
        ensure!(link.contains("sni=") && link.contains("sid="), "{link}");
        ensure!(shown["vless_url"] == link && shown["qr_code_data"] == link, "{shown}");
        Ok(link.to_owned())
    }

    fn usage_by_ports(&self, key: &Key) -> Result<Usage> {
        let told = self.api.get("/api/traffic/ports/exact")?;
        let row = &told["ports_traffic"]["ports_traffic"][&key.uuid];
        ensure!(row["port"] == key.port && row["key_name"] == key.name, "{row}");
        usage(&row["traffic"])
    }

    fn usage_by_port(&self, key: &Key) -> Result<Usage> {
        let told = self.api.get(&format!("/api/keys/{}/traffic/port/exact", key.uuid))?;
        is_about(&told["key"], key)?;
        usage(&told["port_traffic"])
    }

    fn usage_by_simple(&self, key: &Key) -> Result<Usage> {
        let told = self.api.get("/api/traffic/simple")?;
        let row = &told["data"]["ports"][key.port.to_string()];
        ensure!(row["uuid"] == key.uuid && row["port"] == key.port, "{told}");
        ensure!(row["traffic_rate"].is_number(), "{row}");
        usage(row)
    }

    fn usage_of_one(&self, key: &Key) -> Result<Usage> {
        let told = self.api.get(&format!("/api/keys/{}/traffic/simple", key.id))?;
        is_about(&told["key"], key)?;
        usage(&told["traffic"])
    }

    fn usage_by_exact(&self, key: &Key) -> Result<Usage> {
        let told = self.api.get("/api/traffic/exact")?;
        ensure!(told["total_keys"].is_u64() && told["active_keys"].is_u64(), "{told}");
        let rows = told["traffic_stats"]["keys_stats"]
            .as_array()
            .context("no keys_stats")?;
        let row = rows.iter().find(|row| row["uuid"] == key.uuid);
        legacy_usage(row.with_context(|| format!("{} is not in {told}", key.uuid))?)
    }

    fn usage_of_one_exact(&self, key: &Key) -> Result<Usage> {
        let told = self.api.get(&format!("/api/keys/{}/traffic/exact", key.uuid))?;
        is_about(&told["key"], key)?;
        legacy_usage(&told["traffic_bytes"])
    }

    /// What a paying customer's limit hangs on: the lifetime total, told in two places.
    fn billed(&self, key_id: &str, key: &Key) -> Result<u64> {
        let one = self.api.get(&format!("/api/keys/{key_id}/traffic/history"))?;
        let one = &one["data"];
        ensure!(one["key_uuid"] == key.uuid && one["port"] == key.port, "{one}");
        let days = one["daily_stats"].as_object().context("no daily_stats")?;
        let total = number(&one["total_traffic"]["total_bytes"])?;
        let of_days: u64 = days.values().filter_map(|day| day["total_bytes"].as_u64()).sum();
        ensure!(of_days == total, "the days make {of_days}, the total is {total}");
        let all = self.api.get("/api/traffic/history")?;
        let row = row_of(&all["data"]["keys"], &key.uuid)?.clone();
        ensure!(
            number(&row["total_traffic"]["total_bytes"])? == total,
            "{total} by itself, {row}"
        );
        Ok(total)
    }

    fn monthly(&self, uuid: &str) -> Result<u64> {
        let all = self.api.get("/api/traffic/monthly")?;
        let row = row_of(&all["data"]["keys"], uuid)?.clone();
        number(&row["monthly_traffic"]["total_bytes"])
    }

    fn the_day_adds_up(&self, total: u64) -> Result<()> {
        let dates = self.api.get("/api/usage/dates")?;
        let newest = dates["dates"][0].as_str().context("no day with data")?;
        let told = self.api.get(&format!("/api/traffic/daily/{newest}"))?;
        let day = &told["data"];
        ensure!(
            day["date"] == newest && day["total_bytes"] == total && day["active_keys"] == 1,
            "{total} bytes, {day}"
        );
        ensure!(
            day["total_sessions"].as_u64() >= Some(1) && day["total_formatted"].is_string(),
            "{day}"
        );
        Ok(())
    }

    fn the_summaries_count_two_ports(&self) -> Result<()> {
        let exact = self.api.get("/api/traffic/ports/exact")?;
        let summary = self.api.get("/api/system/traffic/summary")?;
        for told in [&exact["system_summary"], &summary["summary"]] {
            ensure!(
                told["active_ports"] == 2 && told["total_system_traffic"].as_u64() > Some(0),
                "{told}"
            );
            ensure!(
                told["interface_summary"]["eth0"]["total_formatted"].is_string(),
                "{told}"
            );
        }
        ensure!(
            exact["source"] == "port_monitor" && exact["ports_traffic"]["total_ports"] == 2,
            "{exact}"
        );
        let status = self.api.get("/api/traffic/status")?;
        ensure!(
            status["total_keys"] == 2
                && status["active_keys"] == 2
                && status["precise_monitor_available"] == true
                && status["simple_monitor_available"] == true
                && status["traffic_stats"].as_array().map(Vec::len) == Some(2),
            "{status}"
        );
        Ok(())
    }

    fn everything_is_in_step(&self) -> Result<()> {
        let ports = self.api.get("/api/system/ports")?;
        ensure!(ports["used_ports"] == 1 && ports["available_ports"] == 99, "{ports}");
        let status = self.api.get("/api/system/ports/status")?;
        ensure!(status["validation"]["valid"] == true, "{status}");
        let status = self.api.get("/api/system/config-status")?;
        ensure!(
            status["synchronized"] == true && status["keys_json_count"] == 1,
            "{status}"
        );
        let status = self.api.get("/api/system/xray/config-status")?;
        ensure!(status["config_status"]["vless_inbounds"] == 1, "{status}");
        let status = self.api.get("/api/system/xray/validate-sync")?;
        ensure!(status["validation"]["synchronized"] == true, "{status}");
        Ok(())
    }

    /// The message of a success, as bots compare it.
    fn says(&self, method: &str, path: &str) -> Result<String> {
        let said = self.api.shown(method, path, "")?;
        let message = said["message"]
            .as_str()
            .with_context(|| format!("no message in {said}"))?;
        Ok(message.to_lowercase())
    }
}

fn usage(row: &Value) -> Result<Usage> {
    ensure!(
        row["total_formatted"].is_string() && row["timestamp"].is_number(),
        "{row}"
    );
    let usage = Usage {
        upload: number(&row["rx_bytes"])?,
        download: number(&row["tx_bytes"])?,
        total: number(&row["total_bytes"])?,
        connections: number(&row["connections"])?,
    };
    ensure!(usage.upload + usage.download == usage.total, "{usage:?}");
    Ok(usage)
}

fn legacy_usage(row: &Value) -> Result<Usage> {
    ensure!(row["connection_ratio"].is_f64() && row["timestamp"].is_u64(), "{row}");
    Ok(Usage {
        upload: number(&row["uplink_bytes"])?,
        download: number(&row["downlink_bytes"])?,
        total: number(&row["total_bytes"])?,
        connections: number(&row["connections"])?,
    })
}

fn is_about(shown: &Value, key: &Key) -> Result<()> {
    ensure!(
        shown["uuid"] == key.uuid && shown["name"] == key.name,
        "{shown} is not {key:?}"
    );
    Ok(())
}

fn row_of<'a>(rows: &'a Value, uuid: &str) -> Result<&'a Value> {
    let row = rows
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["key_uuid"] == uuid));
    row.with_context(|| format!("{uuid} is not in {rows}"))
}

fn number(value: &Value) -> Result<u64> {
    value.as_u64().with_context(|| format!("{value} is no whole number"))
}
