//! Connections that are cut off: at one port, in whatever state, and none besides.
//!
//! Real sockets in a network namespace of the test's own. They need root. Where that is missing they are reported as
//! ignored with the reason, except in CI (`CI=true`) and wherever `PORTMETER_REQUIRE_ROOT=1` asks for them.

mod blocked;
mod download;
mod space;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use caps::{CapSet, Capability};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use portmeter::kernel::KernelError;
use portmeter::network::cut::{self, Cut, CutError};

use download::Download;
use space::{resets_sent, states_at, until};

/// The port that is cut off.
const PORT: u16 = 10_001;
/// The one beside it.
const OTHER_PORT: u16 = 10_002;

/// Any address of either family, and so IPv4 as IPv6 has it.
const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

/// A test's name and the test.
type Test = (&'static str, fn() -> Result<()>);

const TESTS: [Test; 10] = [
    (
        "a_download_ends_within_a_second_and_no_other",
        a_download_ends_within_a_second_and_no_other,
    ),
    ("a_thousand_connections_end", a_thousand_connections_end),
    ("connections_that_are_closing_end", connections_that_are_closing_end),
    ("half_open_connections_end", half_open_connections_end),
    ("time_wait_is_left_alone", time_wait_is_left_alone),
    (
        "an_outgoing_connection_is_not_meant",
        an_outgoing_connection_is_not_meant,
    ),
    (
        "without_the_capability_nothing_ends",
        without_the_capability_nothing_ends,
    ),
    ("a_blocked_download_stands_still_by_links", blocked::blocked_by_links),
    (
        "a_blocked_download_stands_still_by_filters",
        blocked::blocked_by_filters,
    ),
    (
        "the_next_start_removes_filters_that_block",
        blocked::the_next_start_removes_filters_that_block,
    ),
];

fn main() -> ExitCode {
    let trials = TESTS.iter().map(|&(name, test)| {
        Trial::ignorable_test(name, move || {
            match (nix::unistd::geteuid().is_root(), space::may_leave_out()) {
                (true, _) => told(space::inside_one_of_its_own(test)),
                (false, true) => Ok(Completion::ignored_with(
                    "it needs root: network namespaces and BPF programs",
                )),
                (false, false) => Err("this test must not be left out here, and it needs root".into()),
            }
        })
    });
    // One after the other: a process that one test starts holds, for a moment, the sockets of all.
    let arguments = Arguments {
        test_threads: Some(1),
        ..Arguments::from_args()
    };
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// What only another kernel has leaves a test out.
fn told(ended: Result<()>) -> Result<Completion, Failed> {
    match ended {
        Ok(()) => Ok(Completion::Completed),
        Err(error) => match error.downcast_ref::<KernelError>() {
            Some(lacking @ KernelError::NoTcx) => Ok(Completion::ignored_with(lacking.to_string())),
            _ => Err(format!("{error:#}").into()),
        },
    }
}

fn a_download_ends_within_a_second_and_no_other() -> Result<()> {
    ensure!(
        cut::is_supported()?,
        "this kernel was built without CONFIG_INET_DIAG_DESTROY"
    );
    let ways: [(SocketAddr, SocketAddr); 3] = [
        ((Ipv4Addr::LOCALHOST, PORT).into(), (Ipv4Addr::LOCALHOST, PORT).into()),
        ((Ipv6Addr::LOCALHOST, PORT).into(), (Ipv6Addr::LOCALHOST, PORT).into()),
        // IPv4 at a listener of IPv6.
        ((ANY, PORT).into(), (Ipv4Addr::LOCALHOST, PORT).into()),
    ];
    for (listen, connect) in ways {
        let (listener, other) = (TcpListener::bind(listen)?, TcpListener::bind((ANY, OTHER_PORT))?);
        let download = Download::start(&listener, connect)?;
        let beside = Download::start(&other, (connect.ip(), OTHER_PORT).into())?;
        download.flows()?;
        beside.flows()?;
        let before = resets_sent()?;
        let asked = Instant::now();
        let cut = cut::destroy(PORT)?;
        ensure!(cut == Cut { ended: 1, left: 0 }, "at {connect}: {cut:?}");
        let ended = download.ended()?;
        ensure!(
            ended.saturating_duration_since(asked) < Duration::from_secs(1),
            "at {connect}: not in a second"
        );
        // More than one where something of the client's was still on its way.
        ensure!(resets_sent()? > before, "at {connect}: no reset");
        beside.flows()?;
        // Somebody still listens.
        let again = Download::start(&listener, connect)?;
        again.flows()?;
        ensure!(cut::destroy(PORT)?.ended == 1, "at {connect}: the one that came later");
        again.ended()?;
        beside.stop()?;
    }
    Ok(())
}

fn a_thousand_connections_end() -> Result<()> {
    const COUNT: usize = 1_000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let listener = TcpListener::bind((ANY, PORT))?;
    let addresses: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, PORT).into(), (Ipv6Addr::LOCALHOST, PORT).into()];
    let mut pairs = Vec::new();
    for address in addresses.into_iter().cycle().take(COUNT) {
        pairs.push(pair(&listener, address)?);
    }
    let before = resets_sent()?;
    let asked = Instant::now();
    let cut = cut::destroy(PORT)?;
    ensure!(
        asked.elapsed() < Duration::from_secs(1),
        "it took {:?}",
        asked.elapsed()
    );
    ensure!(cut == Cut { ended: COUNT, left: 0 }, "{cut:?}");
    ensure!(resets_sent()? == before + COUNT as u64, "not every client was told");
    for (client, server) in &mut pairs {
        for end in [client, server] {
            let error = end.read(&mut [0]).err().context("one end goes on")?;
            ensure!(space::is_cut(&error), "it ended with {error}");
        }
    }
    Ok(())
}

/// One for each state in which an end still has something to send or to wait for.
fn connections_that_are_closing_end() -> Result<()> {
    let listener = TcpListener::bind((ANY, PORT))?;
    let connect = || pair(&listener, (Ipv4Addr::LOCALHOST, PORT).into());

    // The client has ended its half.
    let close_wait = connect()?;
    close_wait.0.shutdown(Shutdown::Write)?;
    // The server has, and its socket is still held.
    let fin_wait2 = connect()?;
    fin_wait2.1.shutdown(Shutdown::Write)?;
    // The server is gone, and what it wrote is still to be sent, because this client reads nothing.
    let (_fin_wait1, server) = connect()?;
    fill(server)?;
    // The same, after the client has ended its half.
    let (last_ack, server) = connect()?;
    last_ack.shutdown(Shutdown::Write)?;
    fill(server)?;

    let expected = ["CLOSE-WAIT", "FIN-WAIT-1", "FIN-WAIT-2", "LAST-ACK"];
    until("every state is there", || Ok(states_at(PORT)? == expected))?;
    let cut = cut::destroy(PORT)?;
    ensure!(states_at(PORT)?.is_empty(), "left: {:?}", states_at(PORT)?);
    ensure!(cut == Cut { ended: 4, left: 0 }, "{cut:?}");
    Ok(())
}

/// The server never sees that its answer has come.
fn half_open_connections_end() -> Result<()> {
    let listener = TcpListener::bind((ANY, PORT))?;
    space::drop_acknowledgements_to(PORT)?;
    let addresses: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, PORT).into(), (Ipv6Addr::LOCALHOST, PORT).into()];
    let clients = addresses.map(TcpStream::connect);
    ensure!(clients.iter().all(Result::is_ok), "{clients:?}");
    ensure!(states_at(PORT)? == ["SYN-RECV", "SYN-RECV"], "{:?}", states_at(PORT)?);
    let cut = cut::destroy(PORT)?;
    ensure!(cut == Cut { ended: 2, left: 0 }, "{cut:?}");
    ensure!(states_at(PORT)?.is_empty(), "left: {:?}", states_at(PORT)?);
    drop(listener);
    Ok(())
}

fn time_wait_is_left_alone() -> Result<()> {
    let listener = TcpListener::bind((ANY, PORT))?;
    let (client, server) = pair(&listener, (Ipv4Addr::LOCALHOST, PORT).into())?;
    drop(server);
    // Not yet in TIME-WAIT by name, but without a socket already.
    until("the client has acknowledged", || Ok(states_at(PORT)? == ["FIN-WAIT-2"]))?;
    ensure!(
        cut::destroy(PORT)? == Cut::default(),
        "an entry without a socket is ended"
    );
    ensure!(states_at(PORT)? == ["FIN-WAIT-2"], "{:?}", states_at(PORT)?);
    drop(client);
    until("both ends are closed", || Ok(states_at(PORT)? == ["TIME-WAIT"]))?;
    let before = resets_sent()?;
    ensure!(cut::destroy(PORT)? == Cut::default(), "an entry in TIME-WAIT is ended");
    ensure!(states_at(PORT)? == ["TIME-WAIT"], "{:?}", states_at(PORT)?);
    ensure!(resets_sent()? == before, "a reset for nobody");
    Ok(())
}

/// A connection to the same port number of another host. It has this port as its remote end only.
fn an_outgoing_connection_is_not_meant() -> Result<()> {
    let address = space::another_host_at(PORT)?;
    let outgoing = Download::of(TcpStream::connect((address, PORT))?)?;
    outgoing.flows()?;
    ensure!(cut::destroy(PORT)? == Cut::default(), "there is nothing at this port");
    outgoing.flows()?;
    outgoing.stop()
}

fn without_the_capability_nothing_ends() -> Result<()> {
    let listener = TcpListener::bind((ANY, PORT))?;
    let (mut client, mut server) = pair(&listener, (Ipv4Addr::LOCALHOST, PORT).into())?;
    // Of this thread only, which ends with the test.
    caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN)?;
    let refused = cut::destroy(PORT);
    ensure!(matches!(refused, Err(CutError::NotPermitted)), "{refused:?}");
    server.write_all(b"!")?;
    client.read_exact(&mut [0])?;
    Ok(())
}

/// Both ends of a connection: the client's, the server's.
fn pair(listener: &TcpListener, address: SocketAddr) -> Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    Ok((client, listener.accept()?.0))
}

/// Writes until nothing goes any more, and closes.
fn fill(mut server: TcpStream) -> Result<()> {
    server.set_nonblocking(true)?;
    while server.write(&[0; 65_536]).is_ok() {}
    Ok(())
}
