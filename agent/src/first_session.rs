//! What a start tells its user: what is counted, where things are, and three commands that show real bytes.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

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
    /// The gRPC address.
    pub grpc: SocketAddr,
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
        line("REST", &format!("http://{http}"));
    }
    line("gRPC", &format!("{} and unix:{}", facts.grpc, facts.socket.display()));
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
    Some(format!(
        "\nTry it in a second terminal: make a key, send {SENT_BYTES} bytes to its port, see them counted.\n\n\
         curl -s -H \"{header}\" -d '{{\"name\":\"first\"}}' \\\n    http://{url}/api/keys; echo\n\n\
         bash -c 'for i in {{1..100}}; do\n    head -c 1000 /dev/zero >/dev/udp/127.0.0.1/{port}; done'\n\n\
         curl -s -H \"{header}\" \\\n    http://{url}/api/traffic/simple; echo\n\n\
         Ctrl-C stops the agent; the kernel goes on counting. What ends that too:\n\n{}\n",
        uninstall(facts)
    ))
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
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn fits_a_terminal() {
        let origin = Origin::File(PathBuf::from("/root/portmeter/data/api.key"));
        let facts = Facts {
            interfaces: vec!["lo".into(), "eth0".into()],
            hook: "TCX",
            ports: "10001-10100".into(),
            http: Some("0.0.0.0:8000".parse().unwrap()),
            grpc: "127.0.0.1:50051".parse().unwrap(),
            metrics: "127.0.0.1:9435".parse().unwrap(),
            xray: "26.10.10, run by this agent (process 7)".to_owned(),
            socket: Path::new("/run/portmeter/default/agent.sock"),
            api_key: &origin,
            next_port: Some(10_001),
            program: Path::new("/root/portmeter/target/release/portmeter"),
            data_folder: Path::new("/root/portmeter/data"),
            instance: "default",
        };
        let text = text(&facts);
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
