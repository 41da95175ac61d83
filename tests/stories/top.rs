//! `portmeter top` in a real terminal: what a person sees is what passes, whatever becomes of the agent, the window or the
//! program.

mod table;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portmeter_proto::v1::Granularity;
use portmeter_tests::agent::{API_KEY, Agent, GRPC_ADDRESS};
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::rest::Key;
use portmeter_tests::terminal::Terminal;
use portmeter_tests::traffic::held::HeldConnections;
use portmeter_tests::traffic::paced::Paced;
use portmeter_tests::wait;

use crate::Story;
use crate::refusals::run_to_refusal;
use table::{figure, headings, is_near, names};

pub(crate) const STORIES: &[Story] = &[
    ("rates_are_those_of_the_traffic", rates_are_those_of_the_traffic),
    ("an_agent_that_goes_and_comes_back", an_agent_that_goes_and_comes_back),
    ("sizes_orders_and_filters", sizes_orders_and_filters),
    ("the_terminal_is_left_as_it_was", the_terminal_is_left_as_it_was),
    ("to_the_shell_and_back", to_the_shell_and_back),
    (
        "without_colours_and_without_unicode",
        without_colours_and_without_unicode,
    ),
    ("only_where_it_can_be_drawn", only_where_it_can_be_drawn),
];

/// Bytes per second to the server and to the client.
const RATES: (u64, u64) = (250_000, 1_000_000);

/// How far a rate on the screen may be from the traffic's.
const TOLERANCE: f64 = 0.05;

/// How long rates are compared.
const COMPARED: Duration = Duration::from_secs(10);

/// A window that is large enough for everything.
const WINDOW: (u16, u16) = (120, 20);

/// `portmeter top` for an agent.
fn top(agent: &Agent<'_>, words: &[&str]) -> Command {
    let mut top = agent.wrapped(&["top", "--instance", agent.instance()]);
    top.args(words);
    top
}

fn address(key: &Key) -> SocketAddr {
    SocketAddr::new(SERVER_V4.into(), key.port)
}

fn rates_are_those_of_the_traffic() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let (alice, bob) = (agent.rest().create_key("alice")?, agent.rest().create_key("bob")?);
    let paced = Paced::start(&pair.server, &pair.client, address(&alice), RATES)?;
    let _held = HeldConnections::open(&pair.server, &pair.client, address(&bob), 3)?;
    // As from elsewhere: over TCP, with the API key.
    let mut top = agent.wrapped(&["top", "--address", GRPC_ADDRESS]);
    top.env("PORTMETER_API_KEY", API_KEY);
    let terminal = Terminal::open(&pair.server, WINDOW, &top)?;
    wait_for_rates(&terminal)?;

    let (begin, mut seen) = (paced.mark(), Vec::new());
    wait::until("rates were compared for a while", || {
        let screen = terminal.screen()?;
        let rates = (figure(&screen, "alice", "RX B/s"), figure(&screen, "alice", "TX B/s"));
        if let (Some(rx), Some(tx)) = rates {
            seen.push((rx, tx));
        }
        Ok(begin.elapsed() >= COMPARED)
    })?;
    let (rx, tx) = begin.rates_until(&paced.mark());
    let mean = |of: fn(&(f64, f64)) -> f64| seen.iter().map(of).sum::<f64>() / seen.len() as f64;
    let (seen_rx, seen_tx) = (mean(|rates| rates.0), mean(|rates| rates.1));
    println!(
        "rx {seen_rx:.0} of {rx:.0} B/s ({:+.2} %), tx {seen_tx:.0} of {tx:.0} B/s ({:+.2} %), {} screens",
        (seen_rx / rx - 1.0) * 100.0,
        (seen_tx / tx - 1.0) * 100.0,
        seen.len()
    );
    ensure!(
        is_near(seen_rx, rx, TOLERANCE) && is_near(seen_tx, tx, TOLERANCE),
        "the screen had {seen_rx} and {seen_tx}, the traffic {rx} and {tx}"
    );
    let screen = terminal.screen()?;
    ensure!(figure(&screen, "bob", "CONN") == Some(3.0), "{screen:#?}");
    ensure!(
        names(&screen) == ["alice", "bob"],
        "the busiest comes first: {screen:#?}"
    );
    let graph = screen.iter().find(|line| line.contains("alice")).context("no alice")?;
    ensure!(graph.contains('█'), "no graph in {graph}");

    paced.stop()?;
    totals_become_those_of_the_ledger(&agent, &alice, &terminal)
}

/// The totals on the screen are those that gRPC tells, once nothing moves any more.
fn totals_become_those_of_the_ledger(agent: &Agent<'_>, key: &Key, terminal: &Terminal) -> Result<()> {
    let grpc = agent.grpc()?;
    let told = |granularity| -> Result<f64> {
        let periods = grpc.periods(&key.id, granularity)?;
        let tally = periods.last().and_then(|period| period.tally).context("no period")?;
        Ok((tally.rx_bytes + tally.tx_bytes) as f64)
    };
    let (day, month) = (told(Granularity::Day)?, told(Granularity::Month)?);
    terminal.wait_for("the screen has the day's and the month's total", |screen| {
        let is_shown =
            |heading, told| figure(screen, "alice", heading).is_some_and(|shown| is_near(shown, told, 0.005));
        is_shown("TODAY", day) && is_shown("MONTH", month) && is_shown("TOTAL", day)
    })?;
    Ok(())
}

fn wait_for_rates(terminal: &Terminal) -> Result<()> {
    let (rx, tx) = RATES;
    let (rx, tx) = (rx as f64, tx as f64);
    terminal.wait_for("the rates on the screen are those of the traffic", |screen| {
        let is_shown =
            |heading, rate| figure(screen, "alice", heading).is_some_and(|shown| is_near(shown, rate, TOLERANCE));
        is_shown("RX B/s", rx) && is_shown("TX B/s", tx)
    })?;
    Ok(())
}

fn an_agent_that_goes_and_comes_back() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let alice = agent.rest().create_key("alice")?;
    let paced = Paced::start(&pair.server, &pair.client, address(&alice), RATES)?;
    let terminal = Terminal::open(&pair.server, WINDOW, &top(&agent, &[]))?;
    for is_killed in [true, false] {
        wait_for_rates(&terminal)?;
        terminal.wait_for_text("live")?;
        if is_killed {
            agent.kill()?;
        } else {
            agent.stop()?;
        }
        let screen = terminal.wait_for_text("RECONNECTING")?;
        ensure!(
            figure(&screen, "alice", "TX B/s").is_some_and(|rate| rate > 0.0),
            "the last figures are gone: {screen:#?}"
        );
        let coloured = terminal.coloured_screen()?;
        let row = coloured
            .lines()
            .find(|line| line.contains("alice"))
            .context("no alice")?;
        ensure!(
            table::attributes(row).contains(&2),
            "old figures are not faint: {row:?}"
        );
        agent.start()?;
        let screen = terminal.wait_for("the agent is found again", |screen| {
            screen
                .first()
                .is_some_and(|title| title.contains("live") && !title.contains("RECONNECTING"))
        })?;
        ensure!(names(&screen) == ["alice"], "{screen:#?}");
    }
    wait_for_rates(&terminal)?;
    paced.stop()?;
    terminal.press(&["q"])?;
    let ended = terminal.ended()?;
    ensure!(ended.status == 0, "{ended:?}");
    Ok(())
}

fn sizes_orders_and_filters() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    for name in ["carol", "alice", "bob"] {
        agent.rest().create_key(name)?;
    }
    let terminal = Terminal::open(&pair.server, WINDOW, &top(&agent, &[]))?;
    let ordered = |what: &str, heading: &str, expected: &[&str]| {
        terminal.wait_for(what, |screen| {
            headings(screen).is_some_and(|line| line.contains(heading)) && names(screen) == expected
        })
    };
    ordered("equal rates are by port", "RX+TX ▼", &["carol", "alice", "bob"])?;
    terminal.press(&["2"])?;
    ordered("by name", "NAME ▲", &["alice", "bob", "carol"])?;
    terminal.press(&["r"])?;
    ordered("by name, the other way around", "NAME ▼", &["carol", "bob", "alice"])?;
    terminal.press(&["Left"])?;
    ordered("by port", "PORT ▲", &["carol", "alice", "bob"])?;

    terminal.press(&["/"])?;
    terminal.write("Ali")?;
    terminal.wait_for_text("filter: Ali_")?;
    terminal.press(&["Enter"])?;
    ordered("the filter is kept", "PORT ▲", &["alice"])?;
    terminal.wait_for_text("1 of 3 keys")?;
    terminal.press(&["Escape"])?;
    ordered("the filter is gone", "PORT ▲", &["carol", "alice", "bob"])?;

    let shown = |what: &str, (columns, lines): (u16, u16), present: &[&str], absent: &[&str]| -> Result<()> {
        terminal.resize(columns, lines)?;
        terminal.wait_for(what, |screen| {
            let text = screen.join("\n");
            present.iter().all(|part| text.contains(part))
                && !absent.iter().any(|part| text.contains(part))
                && screen.len() <= usize::from(lines)
                && screen.iter().all(|line| line.chars().count() <= usize::from(columns))
        })?;
        Ok(())
    };
    shown("a wide window", (200, 30), &["TOTAL", "RX+TX", "carol", "bob"], &[])?;
    shown(
        "a narrow window",
        (40, 10),
        &["NAME", "TX B/s", "carol", "bob"],
        &["TOTAL", "RX+TX", "TODAY"],
    )?;
    shown(
        "hardly a window",
        (20, 3),
        &["NAME", "carol", "alice"],
        &["TX B/s", "bob"],
    )?;
    shown(
        "a window again",
        WINDOW,
        &["TOTAL", "portmeter top", "carol", "bob"],
        &[],
    )?;
    // A new key comes by itself.
    agent.rest().create_key("dave")?;
    terminal.wait_for_text("dave")?;
    terminal.press(&["q"])?;
    ensure!(terminal.ended()?.status == 0, "q is no failure");
    Ok(())
}

/// Ends what runs on a terminal.
type End = fn(&Terminal) -> Result<()>;

/// However it ends.
fn the_terminal_is_left_as_it_was() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    agent.rest().create_key("alice")?;
    let endings: [(&str, End); 6] = [
        ("q", |terminal| terminal.press(&["q"])),
        ("Ctrl-C", |terminal| terminal.press(&["C-c"])),
        ("SIGTERM", |terminal| signal(terminal, Signal::SIGTERM)),
        ("SIGINT", |terminal| signal(terminal, Signal::SIGINT)),
        ("SIGHUP", |terminal| signal(terminal, Signal::SIGHUP)),
        ("SIGQUIT", |terminal| signal(terminal, Signal::SIGQUIT)),
    ];
    for (name, end) in endings {
        let terminal = Terminal::open(&pair.server, WINDOW, &top(&agent, &[]))?;
        terminal.wait_for_text("alice")?;
        ensure!(terminal.is_drawn_on()? && !terminal.has_cursor()?, "it is not drawn on");
        end(&terminal)?;
        let ended = terminal.ended().with_context(|| name.to_owned())?;
        ensure!(ended.status == 0 && ended.before == ended.after, "{name}: {ended:?}");
        ensure!(
            !terminal.is_drawn_on()? && terminal.has_cursor()?,
            "{name}: still drawn on"
        );
        // Typed characters show, and a line goes to who reads it.
        terminal.write("hello")?;
        terminal.press(&["Enter"])?;
        terminal.wait_for(&format!("{name}: what is typed shows"), |screen| {
            screen.iter().filter(|line| *line == "hello").count() == 2
        })?;
    }
    Ok(())
}

fn signal(terminal: &Terminal, signal: Signal) -> Result<()> {
    Ok(kill(Pid::from_raw(terminal.process_id()?), signal)?)
}

/// Ctrl-Z and `fg`, in a shell that has jobs.
fn to_the_shell_and_back() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    agent.rest().create_key("alice")?;
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "shell: ");
    let terminal = Terminal::open(&pair.server, WINDOW, &shell)?;
    terminal.wait_for_text("shell:")?;
    let program = top(&agent, &[]);
    let words = std::iter::once(program.get_program()).chain(program.get_args());
    let line: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    terminal.write(&line.join(" "))?;
    terminal.press(&["Enter"])?;
    terminal.wait_for_text("alice")?;
    terminal.press(&["C-z"])?;
    terminal.wait_for_text("Stopped")?;
    ensure!(
        !terminal.is_drawn_on()? && terminal.has_cursor()?,
        "the shell has no terminal"
    );
    terminal.write("fg")?;
    terminal.press(&["Enter"])?;
    terminal.wait_for("it is drawn again", |screen| {
        screen.first().is_some_and(|title| title.starts_with("portmeter top"))
            && screen.iter().any(|line| line.contains("alice"))
    })?;
    terminal.press(&["q"])?;
    terminal.wait_for("the shell is back", |screen| {
        screen
            .iter()
            .rev()
            .find(|line| !line.is_empty())
            .is_some_and(|line| line.starts_with("shell:"))
    })?;
    ensure!(!terminal.is_drawn_on()?, "still drawn on");
    terminal.write("exit")?;
    terminal.press(&["Enter"])?;
    let ended = terminal.ended()?;
    ensure!(ended.status == 0, "{ended:?}");
    Ok(())
}

fn without_colours_and_without_unicode() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let alice = agent.rest().create_key("alice")?;
    let _paced = Paced::start(&pair.server, &pair.client, address(&alice), RATES)?;
    let coloured = |top: &Command| -> Result<String> {
        let terminal = Terminal::open(&pair.server, WINDOW, top)?;
        wait_for_rates(&terminal)?;
        terminal.coloured_screen()
    };
    let mut plain = top(&agent, &[]);
    let shown = coloured(&plain)?;
    ensure!(
        table::has_colours(&shown) && shown.contains('█'),
        "no colours in {shown:?}"
    );
    plain.env("NO_COLOR", "1").env("LC_ALL", "C");
    let shown = coloured(&plain)?;
    ensure!(!table::has_colours(&shown), "colours in {shown:?}");
    ensure!(shown.is_ascii() && shown.contains('@'), "more than ASCII in {shown:?}");
    Ok(())
}

fn only_where_it_can_be_drawn() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let said = run_to_refusal(&mut top(&agent, &[]))?;
    ensure!(
        said.contains("draws on a terminal") && said.contains("--json"),
        "{said}"
    );
    let mut dumb = top(&agent, &[]);
    dumb.env("TERM", "dumb");
    let terminal = Terminal::open(&pair.server, WINDOW, &dumb)?;
    terminal.wait_for_text("draws on a terminal")?;
    ensure!(terminal.ended()?.status == 1, "a refusal is a failure");
    // Nobody there: a sentence, and no screen that waits.
    let mut nobody = agent.wrapped(&["top", "--instance", "nobody"]);
    nobody.env("TERM", "xterm");
    let terminal = Terminal::open(&pair.server, WINDOW, &nobody)?;
    terminal.wait_for_text("no agent answers")?;
    ensure!(terminal.ended()?.status == 1, "an agent that is not there is a failure");
    Ok(())
}
