//! The lab for keys itself, without the product: a core with a configuration written by hand, and clients of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::xray::{Client, Core, Link, Relay, SERVER_NAME, Site, core_process_ids, listening_ports};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_link_is_read_as_an_app_reads_it", a_link_is_read_as_an_app_reads_it),
    ("a_link_leads_to_the_site", a_link_leads_to_the_site),
    ("what_is_wrong_in_a_link_is_refused", what_is_wrong_in_a_link_is_refused),
    ("a_hello_that_is_late_is_refused", a_hello_that_is_late_is_refused),
    ("a_download_shows_when_it_is_cut", a_download_shows_when_it_is_cut),
];

/// RFC 7748, section 6.1: Bob's keys.
const PRIVATE_KEY: &str = "XasIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Os";
const PUBLIC_KEY: &str = "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08";
const UUID: &str = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
const SHORT_ID: &str = "0123abcd";
const PORT: u16 = 10_001;
const VISION: &str = "xtls-rprx-vision";

fn a_link_is_read_as_an_app_reads_it() -> Result<()> {
    let text = format!(
        "vless://{UUID}@[fd77::1]:{PORT}?security=reality&sni={SERVER_NAME}&fp=chrome&pbk={PUBLIC_KEY}&sid={SHORT_ID}\
         &type=tcp&flow={VISION}#a%20b%23%C3%BC%0A"
    );
    let link = Link::parse(&text)?;
    let expected = Link {
        host: "fd77::1".to_owned(),
        name: "a b#ü\n".to_owned(),
        ..self::link()
    };
    ensure!(link == expected, "{link:?}");
    for bad in [
        text.replace("&sid=", "&sid=00&sid="),
        text.replace("security=reality", "security=none"),
        text.replace("%20", " "),
        text.replace("pbk", "kbp"),
    ] {
        ensure!(Link::parse(&bad).is_err(), "{bad}");
    }
    Ok(())
}

fn a_link_leads_to_the_site() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let _server = Core::start(&pair.server, &server(&site, VISION, 0), &[PORT])?;
    ensure!(
        core_process_ids(&pair.server)?.len() == 1 && listening_ports(&pair.server)?.contains(&PORT),
        "the core is not found"
    );
    let client = Client::start(&pair.client, &link())?;
    for length in [0, 1, 1_000_000, 100_000_000] {
        client.fetch(length)?;
    }
    ensure!(!client.is_refused()?, "it works and is called refused");

    let download = client.download(1_000_000, 2)?;
    download.wait_for(100_000)?;
    let arrivals = download.finish()?;
    ensure!(arrivals.is_whole() && arrivals.bytes() == 2_000_000, "{arrivals:?}");
    let seconds = arrivals.duration().as_secs_f64();
    ensure!((1.8..10.0).contains(&seconds), "at that rate it took {seconds} s");
    Ok(())
}

fn what_is_wrong_in_a_link_is_refused() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    for (flow, other_flow) in [(VISION, ""), ("", VISION)] {
        let _server = Core::start(&pair.server, &server(&site, flow, 0), &[PORT])?;
        let right = Link {
            flow: flow.to_owned(),
            ..link()
        };
        let wrong = [
            Link {
                flow: other_flow.to_owned(),
                ..right.clone()
            },
            Link {
                short_id: "0123abce".to_owned(),
                ..right.clone()
            },
            Link {
                // Alice's of the same section.
                public_key: "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo".to_owned(),
                ..right.clone()
            },
            Link {
                uuid: UUID.replace('6', "7"),
                ..right.clone()
            },
            Link {
                port: PORT + 1,
                ..right.clone()
            },
        ];
        Client::start(&pair.client, &right)?.works()?;
        for link in wrong {
            let client = Client::start(&pair.client, &link)?;
            ensure!(client.is_refused()?, "accepted: {link:?}");
        }
    }
    Ok(())
}

/// The same delay is nothing where more is allowed.
fn a_hello_that_is_late_is_refused() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let delay = Duration::from_secs(3);
    let relay = Relay::start(&pair.client, SocketAddr::new(SERVER_V4.into(), PORT), delay)?;
    let late = Link {
        host: relay.address().ip().to_string(),
        port: relay.address().port(),
        ..link()
    };
    for (max_time_diff_ms, is_refused) in [(2_000, true), (600_000, false), (0, false)] {
        let _server = Core::start(&pair.server, &server(&site, VISION, max_time_diff_ms), &[PORT])?;
        Client::start(&pair.client, &link())?.works()?;
        let client = Client::start(&pair.client, &late)?;
        ensure!(
            client.is_refused()? == is_refused,
            "with {max_time_diff_ms} ms a hello that is {} s late is {}",
            delay.as_secs(),
            if is_refused { "accepted" } else { "refused" }
        );
    }
    Ok(())
}

fn a_download_shows_when_it_is_cut() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let server = Core::start(&pair.server, &server(&site, VISION, 0), &[PORT])?;
    let client = Client::start(&pair.client, &link())?;
    let download = client.download(1_000_000, 60)?;
    download.wait_for(500_000)?;
    drop(server);
    let arrivals = download.finish()?;
    ensure!(
        !arrivals.is_whole() && arrivals.bytes() >= 500_000,
        "{} bytes",
        arrivals.bytes()
    );
    ensure!(client.is_refused()?, "nobody is there and it is not refused");
    Ok(())
}

fn link() -> Link {
    Link {
        uuid: UUID.to_owned(),
        host: SERVER_V4.to_string(),
        port: PORT,
        server_name: SERVER_NAME.to_owned(),
        fingerprint: "chrome".to_owned(),
        public_key: PUBLIC_KEY.to_owned(),
        short_id: SHORT_ID.to_owned(),
        flow: VISION.to_owned(),
        name: "customer".to_owned(),
    }
}

fn server(site: &Site, flow: &str, max_time_diff_ms: u64) -> Value {
    json!({
        "log": {"loglevel": "info"},
        "inbounds": [{
            "port": PORT,
            "protocol": "vless",
            "settings": {"clients": [{"id": UUID, "flow": flow, "email": UUID}], "decryption": "none"},
            "streamSettings": {
                "network": "tcp",
                "security": "reality",
                "realitySettings": {
                    "dest": site.dest(),
                    "xver": 0,
                    "serverNames": [SERVER_NAME],
                    "privateKey": PRIVATE_KEY,
                    "shortIds": [SHORT_ID],
                    "maxTimeDiff": max_time_diff_ms,
                },
            },
        }],
        "outbounds": [{"protocol": "freedom"}],
    })
}
