//! What a start tells its user: what is counted, where things are, and three commands that show real bytes.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::api_key::Origin;
use crate::xray::core::{CoreFacts, CoreMode};

/// The facts of a start.
pub struct Facts<'a> {
    /// The counted interfaces' names.
    pub interfaces: Vec<String>,
    /// How they are counted, as people call it.
    pub hook: &'static str,
    /// The counted ports.
    pub ports: String,
    /// The REST address; `None` when the gateway runs elsewhere.
    pub http: Option<SocketAddr>,
    /// Its certificate, where it speaks TLS.
    pub http_tls: Option<TlsFacts>,
    /// The gRPC address.
    pub grpc: SocketAddr,
    /// Its certificate, where it speaks TLS.
    pub grpc_tls: Option<TlsFacts>,
    /// The Prometheus address.
    pub metrics: SocketAddr,
    /// Who runs the Xray core, and which.
    pub xray: String,
    /// The gRPC socket.
    pub socket: &'a Path,
    /// Where the API key is.
    pub api_key: &'a Origin,
    /// The port that the next key gets.
    pub next_port: Option<u16>,
    /// This program.
    pub program: &'a Path,
    /// The data folder.
    pub data_folder: &'a Path,
    /// The instance's name.
    pub instance: &'a str,
}

/// A listener's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// Its SHA-256 fingerprint as openssl writes it.
    pub fingerprint: String,
    /// The certificate's file, where it is self-signed.
    pub self_signed: Option<PathBuf>,
}

/// Bytes that the second command sends: 100 datagrams of 1,000 bytes, each with 28 bytes of IP and UDP header.
const SENT_BYTES: u32 = 100 * (1_000 + 28);

/// The text, in lines that fit a terminal of 80 columns unless a path is long.
pub fn text(facts: &Facts<'_>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<8} {value}");
    };
    line(
        "counting",
        &format!(
            "ports {} on {} ({})",
            facts.ports,
            facts.interfaces.join(", "),
            facts.hook
        ),
    );
    if let Some(http) = facts.http {
        line("REST", &format!("{}://{http}", scheme(facts)));
    }
    let with_tls = if facts.grpc_tls.is_some() { " (TLS)" } else { "" };
    let socket = facts.socket.display();
    line("gRPC", &format!("{}{with_tls} and unix:{socket}", facts.grpc));
    let mut fingerprints: Vec<&str> = Vec::new();
    for tls in [&facts.http_tls, &facts.grpc_tls].into_iter().flatten() {
        // Both listeners may have the same one.
        if !fingerprints.contains(&&*tls.fingerprint) {
            fingerprints.push(&tls.fingerprint);
            line("SHA-256", &tls.fingerprint);
        }
    }
    line("metrics", &format!("http://{}/metrics", facts.metrics));
    line("Xray", &facts.xray);
    match facts.api_key {
        Origin::Environment => line("API key", "as in PORTMETER_API_KEY"),
        Origin::File(path) => line("API key", &format!("in {}", path.display())),
    }
    format!(
        "Portmeter {}\n{text}{}",
        crate::VERSION,
        commands(facts).unwrap_or_default()
    )
}

/// The three commands; none where there is no REST or no free port.
fn commands(facts: &Facts<'_>) -> Option<String> {
    let (url, port) = (facts.http?, facts.next_port?);
    let url = SocketAddr::new(reachable(url), url.port());
    let header = match facts.api_key {
        Origin::Environment => "X-API-Key: $PORTMETER_API_KEY".to_owned(),
        Origin::File(path) => format!("X-API-Key: $(cat {})", quoted(path)),
    };
    let (scheme, trust) = (scheme(facts), trust(facts));
    Some(format!(
        "\nTry it in a second terminal: make a key, send {SENT_BYTES} bytes to its port, see them counted.\n\n\
         curl -s {trust}-H \"{header}\" -d '{{\"name\":\"first\"}}' \\\n    {scheme}://{url}/api/keys; echo\n\n\
         bash -c 'for i in {{1..100}}; do\n    head -c 1000 /dev/zero >/dev/udp/127.0.0.1/{port}; done'\n\n\
         curl -s {trust}-H \"{header}\" \\\n    {scheme}://{url}/api/traffic/simple; echo\n\n\
         Ctrl-C stops the agent; the kernel goes on counting. What ends that too:\n\n{}\n",
        uninstall(facts)
    ))
}

fn scheme(facts: &Facts<'_>) -> &'static str {
    if facts.http_tls.is_some() { "https" } else { "http" }
}

/// How curl gets to know the server: by its self-signed certificate; one of the operator's own is made out to another
/// name than the loopback address.
fn trust(facts: &Facts<'_>) -> String {
    match &facts.http_tls {
        None => String::new(),
        Some(TlsFacts { self_signed: None, .. }) => "-k ".to_owned(),
        Some(TlsFacts {
            self_signed: Some(path),
            ..
        }) => format!("--cacert {} \\\n    ", quoted(path)),
    }
}

/// The command that takes this agent out of the kernel.
fn uninstall(facts: &Facts<'_>) -> String {
    let (program, data) = (quoted(facts.program), quoted(facts.data_folder));
    match facts.instance {
        "default" => format!("{program} uninstall \\\n    --data-dir {data}"),
        instance => format!("{program} uninstall --instance {instance} \\\n    --data-dir {data}"),
    }
}

/// Who runs the core, for the start's text.
pub fn xray_line(core: &CoreFacts) -> String {
    let version = core.version.as_deref().and_then(|line| line.split_whitespace().nth(1));
    let version = version.unwrap_or("of unknown version");
    match (core.mode, core.process_id, &core.last_error) {
        (CoreMode::None, ..) => "not run by this agent (xray.mode is none, or there is no xray in PATH)".to_owned(),
        (CoreMode::Systemd, ..) => "run by systemd".to_owned(),
        (CoreMode::Supervised, Some(process), _) => format!("{version}, run by this agent (process {process})"),
        (CoreMode::Supervised, None, Some(error)) => format!("does not run: {error}"),
        (CoreMode::Supervised, None, None) => "does not run; the log says more".to_owned(),
    }
}

/// An address to connect to for one that was bound.
fn reachable(address: SocketAddr) -> std::net::IpAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// A path as a shell takes it, also inside double quotes within `$( )`.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(origin: &Origin) -> Facts<'_> {
        Facts {
            interfaces: vec!["lo".into(), "eth0".into()],
            hook: "TCX",
            ports: "10001-10100".into(),
            http: Some("0.0.0.0:8000".parse().unwrap()),
            http_tls: None,
            grpc: "127.0.0.1:50051".parse().unwrap(),
            grpc_tls: None,
            metrics: "127.0.0.1:9435".parse().unwrap(),
            xray: "26.10.10, run by this agent (process 7)".to_owned(),
            socket: Path::new("/run/portmeter/default/agent.sock"),
            api_key: origin,
            next_port: Some(10_001),
            program: Path::new("/root/portmeter/target/release/portmeter"),
            data_folder: Path::new("/root/portmeter/data"),
            instance: "default",
        }
    }

    fn origin() -> Origin {
        Origin::File(PathBuf::from("/root/portmeter/data/api.key"))
    }

    #[test]
    fn tells_how_the_server_is_known() {
        let origin = origin();
        let mut facts = facts(&origin);
        facts.http_tls = Some(TlsFacts {
            fingerprint: "AB:CD".to_owned(),
            self_signed: Some("/data/tls/certificate.pem".into()),
        });
        facts.grpc_tls = facts.http_tls.clone();
        let told = text(&facts);
        assert!(
            told.contains("https://127.0.0.1:8000/api/keys") && !told.contains("http://127.0.0.1:8000"),
            "{told}"
        );
        assert!(told.contains("curl -s --cacert /data/tls/certificate.pem"), "{told}");
        assert!(told.contains("127.0.0.1:50051 (TLS) and"), "{told}");
        assert_eq!(told.matches("SHA-256  AB:CD").count(), 1, "{told}");
    }

    #[test]
    fn fits_a_terminal() {
        let origin = origin();
        let text = text(&facts(&origin));
        assert!(text.lines().all(|line| line.chars().count() <= 96), "{text}");
        assert!(text.contains("http://127.0.0.1:8000/api/keys"), "{text}");
        assert!(text.contains("/dev/udp/127.0.0.1/10001"), "{text}");
        assert!(text.lines().count() <= 24, "{text}");
        assert!(
            text.ends_with("portmeter uninstall \\\n    --data-dir /root/portmeter/data\n"),
            "{text}"
        );
    }

    #[test]
    fn quotes_an_odd_path() {
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
