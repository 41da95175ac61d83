//! Whoever reaches the listener without the key, or means ill with it: an error each, in the right family, with memory
//! bounded and others served meanwhile.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portmeter_gateway::{Access, RouteLine, route_lines};
use portmeter_tests::agent::{API_KEY, Agent, GRPC_ADDRESS, REST_ADDRESS};
use portmeter_tests::namespace::Namespace;
use portmeter_tests::raw::{self, Reply, connect, exchange, get, memory_bytes, request};
use portmeter_tests::wait::{self, patient};
use tonic::Code;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("nothing_answers_without_the_key", nothing_answers_without_the_key),
    ("paths_lead_nowhere", paths_lead_nowhere),
    ("ambiguous_requests_are_refused", ambiguous_requests_are_refused),
    ("bodies_of_every_kind", bodies_of_every_kind),
    ("wrong_keys_lock_nobody_out", wrong_keys_lock_nobody_out),
    ("ten_thousand_quiet_connections", ten_thousand_quiet_connections),
];

const MEGABYTE: u64 = 1024 * 1024;

/// A key of the right length that is not the right one.
const WRONG_KEY: &str = "b-key-for-the-stories";

/// What DESIGN promises to answer without the key.
const OPEN_PATHS: [&str; 7] = ["/", "/api", "/api/", "/api/ping", "/livez", "/readyz", "/sub/{token}"];

/// Pages and documents that are open too, with their files.
const OPEN_PREFIXES: [&str; 3] = ["/ui", "/api/docs", "/api/openapi.json"];

fn nothing_answers_without_the_key() -> Result<()> {
    let host = Namespace::new("server")?;
    let _agent = Agent::new(&host)?
        .variable("PORTMETER_HTTP__FAILED_KEYS_PER_MINUTE", "0")
        .started_in_place()?;
    for RouteLine { method, path, access } in route_lines() {
        let is_open = OPEN_PATHS.contains(&path) || OPEN_PREFIXES.iter().any(|prefix| path.starts_with(prefix));
        ensure!((access == Access::Open) == is_open, "{method} {path} is {access:?}");
        if is_open {
            continue;
        }
        let method = if method == "ANY" { "POST" } else { method };
        let concrete = concrete(path);
        for key in [None, Some(WRONG_KEY), Some(&API_KEY[1..]), Some("")] {
            for body in [&b""[..], b"{}", b"["] {
                let reply = exchange(&host, REST_ADDRESS, &request(method, concrete.as_bytes(), key, body))?;
                reply
                    .expect_error(401, access == Access::Panel)
                    .with_context(|| format!("{method} {path} with the key {key:?}"))?;
            }
        }
    }
    Ok(())
}

/// A path of this route.
fn concrete(path: &str) -> String {
    let segments = path
        .split('/')
        .map(|segment| if segment.starts_with('{') { "1" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn paths_lead_nowhere() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    agent.rest().create_key("customer")?;
    let long = [b"/api/users/".as_slice(), &vec![b'a'; 100_000]].concat();
    for (path, statuses, is_panel) in [
        (&b"/../etc/passwd"[..], &[404][..], false),
        (b"/api/../../etc/passwd", &[404], false),
        (b"/api/keys/../keys", &[404], false),
        (b"/api/keys/%2e%2e/keys", &[404], false),
        (b"/api/keys/..%2f..%2fetc%2fpasswd", &[404], false),
        (b"/api/keys/%00", &[404], false),
        (b"/api/keys/%ff%fe", &[404], false),
        (b"/api/keys/%zz", &[404], false),
        (b"/api/backups/..%2f..%2fapi.key/preview", &[400, 404], true),
        (b"/api/backups/%2e%2e%2fledger.db/preview", &[400, 404], true),
        (b"/api/backups/%00/preview", &[400, 404], true),
        (b"//api/keys", &[404], false),
        (b"/api//keys", &[404], false),
        (b"/sub/..%2f..%2fapi.key", &[404], false),
        (b"/ui/../api.key", &[404], false),
        (b"/ui/%2e%2e/%2e%2e/api.key", &[404], false),
        (b"/api/keys/a\0b", &[400], false),
        (b"/api/keys/\xff", &[400, 404], false),
        (b"api/keys", &[400], false),
        (&long, &[431], true),
    ] {
        let shown = String::from_utf8_lossy(&path[..path.len().min(60)]).into_owned();
        let reply = exchange(&host, REST_ADDRESS, &get(path, Some(API_KEY))).context(shown.clone())?;
        let status = reply.status().with_context(|| format!("{shown}: {reply:?}"))?;
        ensure!(statuses.contains(&status), "{shown}: {reply:?}");
        reply.expect_error(status, is_panel).context(shown)?;
        ensure!(!reply.0.contains(API_KEY) && !reply.0.contains("root:"), "{reply:?}");
    }
    ensure!(agent.rest().is_ready(), "served as before");
    Ok(())
}

fn ambiguous_requests_are_refused() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    let hidden = "DELETE /api/keys/1 HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = |headers: &str, body: &str| format!("POST /api/keys HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}");
    let key = format!("X-API-Key: {API_KEY}\r\n");
    let chunked = "0\r\n\r\n";
    for (what, bytes) in [
        (
            "a length and chunks",
            post(
                &format!("{key}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
                &format!("{chunked}{hidden}"),
            ),
        ),
        (
            "chunks and a length",
            post(
                &format!("{key}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
                &format!("{chunked}{hidden}"),
            ),
        ),
        (
            "two lengths",
            post(
                &format!("{key}Content-Length: 2\r\nContent-Length: 40\r\n"),
                &format!("{{}}{hidden}"),
            ),
        ),
        (
            "the same length twice",
            post(&format!("{key}Content-Length: 2\r\nContent-Length: 2\r\n"), "{}"),
        ),
        (
            "a list of lengths",
            post(&format!("{key}Content-Length: 2, 2\r\n"), "{}"),
        ),
        ("a signed length", post(&format!("{key}Content-Length: +2\r\n"), "{}")),
        (
            "an unknown encoding",
            post(
                &format!("{key}Transfer-Encoding: xchunked\r\n"),
                &format!("{chunked}{hidden}"),
            ),
        ),
        (
            "a space before the colon",
            post(&format!("{key}Content-Length : 2\r\n"), "{}"),
        ),
        (
            "a folded line",
            post(&format!("{key}X-Folded: a\r\n b\r\nContent-Length: 2\r\n"), "{}"),
        ),
        (
            "a bare line feed",
            format!("GET /api/keys HTTP/1.1\nHost: x\n{}\n\n", key.trim_end()),
        ),
        (
            "one bare line feed",
            post(&format!("{key}X-A: b\nContent-Length: 2\r\n"), "{}"),
        ),
        ("a bare carriage return", post(&format!("{key}X-A: b\rX-B: c\r\n"), "")),
        ("no version", format!("GET /api/keys\r\n{key}\r\n")),
        ("another protocol", "\u{16}\u{3}\u{1}\0\u{5}hello\r\n\r\n".to_owned()),
    ] {
        let reply = exchange(&host, REST_ADDRESS, bytes.as_bytes()).context(what)?;
        ensure!(reply.answers() == 1, "{what}: {reply:?}");
        reply.expect_error(400, false).context(what)?;
    }
    let huge = format!(
        "GET /api/live/now HTTP/1.1\r\nHost: x\r\nX-Huge: {}\r\n\r\n",
        "a".repeat(1_000_000)
    );
    exchange(&host, REST_ADDRESS, huge.as_bytes())?.expect_error(431, true)?;
    let many = "X-Many: a\r\n".repeat(2_000);
    let many = format!("GET /api/keys HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    exchange(&host, REST_ADDRESS, many.as_bytes())?.expect_error(431, false)?;
    ensure!(agent.rest().keys()?.is_empty(), "nothing was done");
    Ok(())
}

fn bodies_of_every_kind() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    let process = agent.process_id()?;
    let before = memory_bytes(process)?;
    let deep = "[".repeat(100_000);
    let nested = format!("{{\"name\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    for (path, is_panel) in [(&b"/api/keys"[..], false), (b"/api/users/kick", true)] {
        for (body, status) in [
            (deep.as_bytes(), 413),
            (&deep.as_bytes()[..60_000], 400),
            (nested.as_bytes(), 400),
            (b"\xff\xfe{\0}\0", 400),
            (b"<key/>", 400),
            (b"name=x", 400),
            (b"\0\0\0", 400),
        ] {
            let reply = exchange(&host, REST_ADDRESS, &request("POST", path, Some(API_KEY), body))?;
            reply.expect_error(status, is_panel)?;
        }
        for key in [API_KEY, WRONG_KEY] {
            let reply = hundred_megabytes(&host, path, key)?;
            // Whoever sends on and on may be cut off before the answer is read.
            if let Some(status) = reply.status() {
                ensure!(status == if key == API_KEY { 413 } else { 401 }, "{reply:?}");
            }
        }
    }
    for content_type in [
        "text/xml",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "\u{e9}",
    ] {
        let head = format!(
            "POST /api/keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {API_KEY}\r\nContent-Type: {content_type}\r\n\
             Content-Length: 8\r\n\r\n--x\r\n--x"
        );
        exchange(&host, REST_ADDRESS, head.as_bytes())?.expect_error(400, false)?;
    }
    let grown = memory_bytes(process)?.saturating_sub(before);
    ensure!(grown < 24 * MEGABYTE, "the agent has grown by {grown} bytes");
    ensure!(agent.rest().keys()?.is_empty(), "nothing was made");
    Ok(())
}

/// Sends a body of 100 MB as far as the server takes it.
fn hundred_megabytes(host: &Namespace, path: &[u8], key: &str) -> Result<Reply> {
    let mut stream = connect(host, REST_ADDRESS)?;
    let length = 100 * MEGABYTE;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {key}\r\nContent-Length: {length}\r\n\r\n",
        str::from_utf8(path)?
    );
    stream.write_all(head.as_bytes())?;
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..length / 65_536 {
        if stream.write_all(&piece).is_err() {
            break;
        }
    }
    raw::read_to_end(&mut stream)
}

fn wrong_keys_lock_nobody_out() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::new(&host)?
        .variable("PORTMETER_HTTP__FAILED_KEYS_PER_MINUTE", "20")
        .started_in_place()?;
    let ask = |path: &[u8], key| exchange(&host, REST_ADDRESS, &get(path, key));
    for _ in 0..20 {
        ask(b"/api/keys", Some(WRONG_KEY))?.expect_error(401, false)?;
    }
    let reply = ask(b"/api/keys", Some(WRONG_KEY))?;
    reply.expect_error(429, false)?;
    ensure!(reply.0.contains("\r\nretry-after: "), "{reply:?}");
    ask(b"/api/live/now", Some("another-wrong-key-of-some-length"))?.expect_error(429, true)?;
    // Nothing guessed, nothing refused; and the right key is let in from the very same address.
    ask(b"/api/keys", None)?.expect_error(401, false)?;
    ensure!(
        ask(b"/api/keys", Some(API_KEY))?.status() == Some(200),
        "the right key is let in"
    );
    ensure!(
        ask(b"/livez", Some(WRONG_KEY))?.status() == Some(200),
        "what is open stays open"
    );

    let guesser = agent.grpc_over_tcp(Some(WRONG_KEY))?;
    for _ in 0..20 {
        ensure!(guesser.keys_refused_with() == Some(Code::Unauthenticated), "wrong");
    }
    ensure!(guesser.keys_refused_with() == Some(Code::ResourceExhausted), "too many");
    agent.grpc_over_tcp(Some(API_KEY))?.keys()?;
    let refused = agent.grpc_over_tcp(None)?.keys_refused_with();
    ensure!(refused == Some(Code::Unauthenticated), "{refused:?}");

    // Thousands of them cost little.
    let before = memory_bytes(agent.process_id()?)?;
    for _ in 0..3_000 {
        ask(b"/api/keys", Some(WRONG_KEY))?.expect_error(429, false)?;
    }
    let grown = memory_bytes(agent.process_id()?)?.saturating_sub(before);
    ensure!(grown < 8 * MEGABYTE, "the agent has grown by {grown} bytes");
    Ok(())
}

/// How many connections are opened and left alone, at each listener.
const QUIET_CONNECTIONS: u64 = 10_000;

fn ten_thousand_quiet_connections() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    let files = raw::raise_open_files()?;
    ensure!(
        files > QUIET_CONNECTIONS + 1_000,
        "only {files} open files are allowed here"
    );
    agent.rest().create_keys(3)?;
    let before = memory_bytes(agent.process_id()?)?;
    let mut kept = Kept::new(&host)?;
    let mut latencies = Vec::new();
    let mut quiet = Vec::new();
    for number in 0..QUIET_CONNECTIONS {
        let mut stream = connect(&host, REST_ADDRESS)?;
        // Some say nothing, some begin a head, some a body.
        let part: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET /api/keys HTTP/1.1\r\nHost: x\r\nX-Slow: ",
            _ => b"POST /api/keys HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{",
        };
        stream.write_all(part)?;
        quiet.push(stream);
        if number % 20 == 0 {
            let start = Instant::now();
            let keys = agent.rest().keys()?;
            latencies.push(start.elapsed());
            ensure!(keys.len() == 3, "{keys:?}");
            kept.ask()
                .with_context(|| format!("the kept connection, with {number} quiet ones"))?;
        }
    }
    latencies.sort_unstable();
    let p99 = latencies[latencies.len() * 99 / 100];
    ensure!(p99 < patient(Duration::from_millis(250)), "p99 is {p99:?}");
    let grown = memory_bytes(agent.process_id()?)?.saturating_sub(before);
    ensure!(grown < 40 * MEGABYTE, "the agent has grown by {grown} bytes");
    quiet_grpc(&host, &agent)?;
    println!("{QUIET_CONNECTIONS} quiet connections: p99 of others {p99:?}, agent grown by {grown} bytes");
    drop(quiet);
    wait::until("the agent serves as before", || Ok(agent.rest().is_ready()))
}

/// The same at the gRPC listener: who has the key keeps the connection, and another one is let in.
fn quiet_grpc(host: &Namespace, agent: &Agent<'_>) -> Result<()> {
    let earlier = agent.grpc_over_tcp(Some(API_KEY))?;
    earlier.keys()?;
    let mut quiet = Vec::new();
    for _ in 0..2_000 {
        quiet.push(connect(host, GRPC_ADDRESS)?);
    }
    ensure!(earlier.keys()?.len() == 3, "the earlier connection");
    ensure!(
        agent.grpc_over_tcp(Some(API_KEY))?.keys()?.len() == 3,
        "a new connection"
    );
    Ok(())
}

/// A client with the key that keeps its connection.
struct Kept(TcpStream);

impl Kept {
    fn new(host: &Namespace) -> Result<Self> {
        let mut kept = Self(connect(host, REST_ADDRESS)?);
        kept.ask()?;
        Ok(kept)
    }

    fn ask(&mut self) -> Result<()> {
        use std::io::{BufRead as _, BufReader, Read as _};
        let request = format!("GET /api/keys HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n\r\n");
        self.0.write_all(request.as_bytes())?;
        let mut reader = BufReader::new(&self.0);
        let (mut status, mut length) = (String::new(), 0);
        reader.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        ensure!(status.starts_with("HTTP/1.1 200 "), "{status:?}");
        Ok(())
    }
}
