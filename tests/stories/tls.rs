//! TLS as an operator sets it up: a self-signed certificate, files that are replaced, and a gateway on another host that
//! the agent knows by its certificate.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use portmeter_tests::agent::{self, API_KEY, Agent, REST_ADDRESS};
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::raw::{exchange, get};
use portmeter_tests::rest::Rest;
use portmeter_tests::traffic::udp;
use portmeter_tests::{command, count, wait};

use crate::Story;
use crate::refusals::run_to_refusal;

pub(crate) const STORIES: &[Story] = &[
    ("a_self_signed_certificate", a_self_signed_certificate),
    (
        "certificates_are_replaced_while_it_runs",
        certificates_are_replaced_while_it_runs,
    ),
    ("a_gateway_on_another_host", a_gateway_on_another_host),
    ("strangers_are_not_let_in", strangers_are_not_let_in),
    ("certificates_that_cannot_be_used", certificates_that_cannot_be_used),
];

fn a_self_signed_certificate() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?
        .variable("PORTMETER_HTTP__TLS", "self-signed")
        .variable("PORTMETER_HTTP__LISTEN", "0.0.0.0:8000")
        .variable("PORTMETER_GRPC__TLS", "self-signed");
    start(&mut agent)?;
    let certificate = agent.data_folder().join("tls/certificate.pem");
    let fingerprint = fingerprint_of(&certificate)?;
    let greeting = agent.read_log("stdout");
    ensure!(greeting.contains(&format!("SHA-256  {fingerprint}\n")), "{greeting}");
    ensure!(greeting.contains("REST     https://0.0.0.0:8000"), "{greeting}");
    for name in ["key.pem", "certificate.pem"] {
        let mode = fs::metadata(certificate.with_file_name(name))?.permissions().mode();
        ensure!(mode & 0o777 == 0o600, "{name} has mode {mode:o}");
    }
    ensure!(
        shown_fingerprint(&pair.server)? == fingerprint,
        "what is shown is what is used"
    );

    // Known by its certificate under each of its names, from another host too.
    let known = ["--cacert".to_owned(), certificate.display().to_string()];
    for (host, name) in [
        (&pair.server, "127.0.0.1"),
        (&pair.server, "localhost"),
        (&pair.client, "10.77.0.1"),
    ] {
        let body = curl(host, &known, &format!("https://{name}:8000/api/keys"))?;
        ensure!(body == "[]", "{name}: {body}");
    }
    for version in ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"] {
        let options: Vec<String> = version.split(' ').chain(["-k"]).map(ToOwned::to_owned).collect();
        ensure!(
            curl(&pair.server, &options, "https://127.0.0.1:8000/api/keys")? == "[]",
            "{version}"
        );
    }
    // Whoever speaks no TLS is told so.
    let reply = exchange(&pair.server, REST_ADDRESS, &get(b"/api/keys", Some(API_KEY)))?;
    reply.expect_error(400, false)?;
    ensure!(reply.0.contains("https://"), "{reply:?}");

    // It is the same after a restart.
    agent.stop()?;
    start(&mut agent)?;
    ensure!(
        shown_fingerprint(&pair.server)? == fingerprint,
        "another certificate after a restart"
    );
    ensure!(agent.grpc()?.keys()?.is_empty(), "the unix socket is as it was");
    Ok(())
}

fn certificates_are_replaced_while_it_runs() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::new(&host)?;
    let files = Certificates::make(&agent, "first", &["127.0.0.1"])?;
    let mut agent = agent
        .variable("PORTMETER_HTTP__TLS", "files")
        .variable("PORTMETER_HTTP__TLS_CERTIFICATE", &files.text("agent.pem"))
        .variable("PORTMETER_HTTP__TLS_KEY", &files.text("agent-key.pem"));
    start(&mut agent)?;
    let first = shown_fingerprint(&host)?;
    ensure!(first == fingerprint_of(&files.path("agent.pem"))?, "the operator's own");

    let other = Certificates::make(&agent, "second", &["127.0.0.1"])?;
    // Half of a change is no change: the certificate alone does not fit the key.
    fs::copy(other.path("agent.pem"), files.path("agent.pem"))?;
    hang_up(&agent)?;
    wait::until("the log says that the new certificate cannot be used", || {
        Ok(agent
            .read_log("stderr")
            .contains("the earlier certificate stays in use"))
    })?;
    ensure!(shown_fingerprint(&host)? == first, "the earlier one stays");
    fs::copy(other.path("agent-key.pem"), files.path("agent-key.pem"))?;
    let second = fingerprint_of(&other.path("agent.pem"))?;
    wait::until("the new certificate is in use", || {
        Ok(shown_fingerprint(&host)? == second)
    })?;
    agent.stop()
}

fn hang_up(agent: &Agent<'_>) -> Result<()> {
    let process = nix::unistd::Pid::from_raw(i32::try_from(agent.process_id()?)?);
    Ok(nix::sys::signal::kill(process, Signal::SIGHUP)?)
}

fn a_gateway_on_another_host() -> Result<()> {
    let pair = Pair::new()?;
    let (mut agent, files) = agent_with_client_ca(&pair.server)?;
    agent.start()?;
    let _gateway = Gateway::start(&pair.client, &files.for_gateway())?;
    let apart = Rest::new(&pair.client, REST_ADDRESS, API_KEY);
    wait::until("the gateway is ready", || Ok(apart.is_ready()))?;

    let key = apart.create_key("customer")?;
    let address = SocketAddr::new(SERVER_V4.into(), key.port);
    udp::echoed(&pair.server, &pair.client, address, &[72; 10])?;
    for rest in [&apart, agent.rest()] {
        let shown = count::of(&rest.counts()?, key.port);
        ensure!(shown.rx_bytes == 1_000 && shown.tx_packets == 10, "{shown:?}");
        let history = rest.shown("/api/traffic/history")?["data"].clone();
        ensure!(history["total_rx_bytes"] == 1_000, "{history:#}");
        ensure!(rest.keys()? == [key.clone()], "{:?}", rest.keys()?);
    }

    agent.stop()?;
    let answer = apart.get("/api/keys")?;
    ensure!(
        answer.status == 503 && answer.body["detail"].is_string(),
        "without its agent: {answer:?}"
    );
    let answer = apart.get("/api/live/now")?;
    ensure!(
        answer.status == 503 && answer.body["code"] == 503 && answer.body["error"].is_string(),
        "without its agent: {answer:?}"
    );
    ensure!(apart.get("/livez")?.status == 200, "alive without its agent");
    agent.start()?;
    wait::until("the gateway has found the agent again", || Ok(apart.is_ready()))?;
    ensure!(apart.keys()? == [key], "{:?}", apart.keys()?);
    Ok(())
}

fn strangers_are_not_let_in() -> Result<()> {
    let pair = Pair::new()?;
    let (mut agent, files) = agent_with_client_ca(&pair.server)?;
    agent.start()?;
    let strange = Certificates::make(&agent, "strange", &["10.77.0.1"])?;
    let with = |authority: &Certificates, own: Option<&Certificates>| {
        let mut arguments = vec!["--agent-ca".to_owned(), authority.text("ca.pem")];
        if let Some(own) = own {
            let certificate = ["--agent-certificate".to_owned(), own.text("gateway.pem")];
            arguments.extend(certificate);
            arguments.extend(["--agent-key".to_owned(), own.text("gateway-key.pem")]);
        }
        arguments
    };
    for (what, address, arguments) in [
        ("no certificate", "https://10.77.0.1:50051", with(&files, None)),
        (
            "another authority's certificate",
            "https://10.77.0.1:50051",
            with(&files, Some(&strange)),
        ),
        (
            "an agent of another authority",
            "https://10.77.0.1:50051",
            with(&strange, Some(&files)),
        ),
        ("no TLS", "http://10.77.0.1:50051", Vec::new()),
    ] {
        let arguments = [vec!["--agent".to_owned(), address.to_owned()], arguments].concat();
        let _gateway = Gateway::start(&pair.client, &arguments)?;
        let apart = Rest::new(&pair.client, REST_ADDRESS, API_KEY);
        wait::until("the gateway answers", || Ok(apart.get("/livez").is_ok()))?;
        let answer = apart.get("/api/keys")?;
        ensure!(
            answer.status == 503 && answer.body["detail"].is_string(),
            "{what}: {answer:?}"
        );
    }
    // A certificate of the right authority is not enough: the key is asked for too.
    let _gateway = Gateway::start_with_key(&pair.client, &files.for_gateway(), "another-key-of-16-characters")?;
    let apart = Rest::new(&pair.client, REST_ADDRESS, "another-key-of-16-characters");
    wait::until("the gateway answers", || Ok(apart.get("/livez").is_ok()))?;
    let answer = apart.get("/api/keys")?;
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    ensure!(answer.status == 503 && detail.contains("API key"), "{answer:?}");
    ensure!(agent.rest().is_ready(), "the agent is as it was");
    Ok(())
}

fn certificates_that_cannot_be_used() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::new(&host)?;
    let (files, other) = (
        Certificates::make(&agent, "one", &["localhost"])?,
        Certificates::make(&agent, "two", &["localhost"])?,
    );
    let empty = agent.home().join("empty.pem");
    fs::write(&empty, "nothing\n")?;
    let empty = empty.display().to_string();
    for (certificate, key, named) in [
        (
            files.text("agent.pem"),
            other.text("agent-key.pem"),
            "does not belong to the certificate",
        ),
        (
            "/nonexistent.pem".to_owned(),
            files.text("agent-key.pem"),
            "/nonexistent.pem cannot be read",
        ),
        (
            files.text("agent.pem"),
            "/nonexistent.pem".to_owned(),
            "the key /nonexistent.pem cannot be read",
        ),
        (empty.clone(), files.text("agent-key.pem"), "holds no certificate"),
        (files.text("agent.pem"), empty, "holds no private key"),
        (
            files.text("agent-key.pem"),
            files.text("agent-key.pem"),
            "holds no certificate",
        ),
    ] {
        for words in [&["check-config"][..], &["run"]] {
            let mut command = agent.portmeter(words);
            command
                .env("PORTMETER_HTTP__TLS", "files")
                .env("PORTMETER_HTTP__TLS_CERTIFICATE", &certificate)
                .env("PORTMETER_HTTP__TLS_KEY", &key);
            let sentence = host.enter(|| run_to_refusal(&mut command))?;
            ensure!(sentence.contains(named), "{words:?}: no {named} in: {sentence}");
        }
    }
    let mut command = agent.portmeter(&["check-config"]);
    command.env("PORTMETER_HTTP__TLS", "files");
    let sentence = run_to_refusal(&mut command)?;
    ensure!(sentence.contains("http.tls_certificate"), "{sentence}");
    ensure!(!agent.data_folder().exists(), "a refused start has left a trace");
    let mut command = agent.portmeter(&["check-config"]);
    command
        .env("PORTMETER_GRPC__TLS", "files")
        .env("PORTMETER_GRPC__TLS_CERTIFICATE", files.text("agent.pem"))
        .env("PORTMETER_GRPC__TLS_KEY", files.text("agent-key.pem"))
        .env("PORTMETER_GRPC__CLIENT_CA", files.text("ca.pem"));
    ensure!(command::output(&mut command)?.contains("is good"), "what is good");
    Ok(())
}

/// An agent that asks whoever comes over the network for a certificate of the returned authority.
fn agent_with_client_ca(host: &Namespace) -> Result<(Agent<'_>, Certificates)> {
    let agent = Agent::new(host)?;
    let files = Certificates::make(&agent, "certificates", &["10.77.0.1", "agent.example"])?;
    let agent = agent
        .variable("PORTMETER_GRPC__LISTEN", "10.77.0.1:50051")
        .variable("PORTMETER_GRPC__TLS", "files")
        .variable("PORTMETER_GRPC__TLS_CERTIFICATE", &files.text("agent.pem"))
        .variable("PORTMETER_GRPC__TLS_KEY", &files.text("agent-key.pem"))
        .variable("PORTMETER_GRPC__CLIENT_CA", &files.text("ca.pem"));
    Ok((agent, files))
}

/// What `portmeter certificates make` has made.
struct Certificates(PathBuf);

impl Certificates {
    fn make(agent: &Agent<'_>, name: &str, hosts: &[&str]) -> Result<Self> {
        let folder = agent.home().join(name);
        let mut make = Command::new(agent::binary().context("the binary")?);
        make.args(["certificates", "make", "--folder"]).arg(&folder);
        for host in hosts {
            make.args(["--host", host]);
        }
        command::output(&mut make)?;
        Ok(Self(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The arguments of a gateway that the agent lets in.
    fn for_gateway(&self) -> Vec<String> {
        let mut arguments = vec!["--agent".to_owned(), "https://10.77.0.1:50051".to_owned()];
        for (flag, file) in [
            ("--agent-ca", "ca.pem"),
            ("--agent-certificate", "gateway.pem"),
            ("--agent-key", "gateway-key.pem"),
        ] {
            arguments.extend([flag.to_owned(), self.text(file)]);
        }
        arguments
    }
}

/// Starts an agent whose REST speaks TLS.
fn start(agent: &mut Agent<'_>) -> Result<()> {
    agent.begin_start()?;
    let insecure = ["-k".to_owned()];
    wait::until("the agent is ready", || {
        Ok(curl(agent.host(), &insecure, "https://127.0.0.1:8000/readyz").is_ok_and(|body| body.contains("ready")))
    })
}

/// What curl makes of an address, with the API key.
fn curl(host: &Namespace, options: &[String], url: &str) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args([
        "-sS",
        "--fail",
        "--max-time",
        "10",
        "-H",
        &format!("X-API-Key: {API_KEY}"),
    ]);
    curl.args(options).arg(url);
    host.enter(|| command::output(&mut curl))
}

/// A certificate's fingerprint as openssl tells it.
fn fingerprint_of(certificate: &Path) -> Result<String> {
    let mut openssl = Command::new("openssl");
    openssl
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate);
    let told = command::output(&mut openssl)?;
    let (_, fingerprint) = told.trim().split_once('=').context("no fingerprint")?;
    Ok(fingerprint.to_owned())
}

/// The fingerprint of the certificate that REST shows.
fn shown_fingerprint(host: &Namespace) -> Result<String> {
    let line = "openssl s_client -connect 127.0.0.1:8000 </dev/null 2>/dev/null | \
                openssl x509 -noout -fingerprint -sha256";
    let told = host.enter(|| command::output(Command::new("bash").args(["-c", line])))?;
    let (_, fingerprint) = told.trim().split_once('=').context("no fingerprint")?;
    Ok(fingerprint.to_owned())
}

/// `portmeter gateway`, ended when dropped.
struct Gateway(Child);

impl Gateway {
    fn start(host: &Namespace, arguments: &[String]) -> Result<Self> {
        Self::start_with_key(host, arguments, API_KEY)
    }

    fn start_with_key(host: &Namespace, arguments: &[String], key: &str) -> Result<Self> {
        let mut command = Command::new(agent::binary().context("the binary")?);
        command.args(["gateway", "--http", REST_ADDRESS]).args(arguments);
        command
            .env("PORTMETER_API_KEY", key)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self(host.spawn(&mut command)?))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
