//! How long one sample of 10,000 ports takes: what the agent does every second, over real kernel maps.
//!
//! Run by `cargo xtask bench agent`, in a network namespace of its own; needs root. It loads the programs and makes the
//! maps through the same door as the agent, attaches nothing, and removes its pins. What is sampled goes where the
//! agent's samples go: to the rates, and to the ledger's minutes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use portmeter::config::HookChoice;
use portmeter::counters::CounterReader;
use portmeter::kernel::{Kernel, KernelOptions};
use portmeter::network::listeners::SocketProbe;
use portmeter::sampler::Sampler;
use portmeter::services::Rates;
use portmeter::state::AgentState;
use portmeter::store::OpenStore;

const PORT_COUNT: u16 = 10_000;
const FIRST_PORT: u16 = 10_001;
const INSTANCE: &str = "bench-sample";
/// Samples that are measured, after as many as it takes for their memory to be warm; an agent's may have gone cold in
/// the second since the last, so the first ones are shown too.
const SAMPLE_COUNT: usize = 1_000;
const GOAL: Duration = Duration::from_micros(500);

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ledger = OpenStore::open(folder.path())?;
    let kernel = Kernel::open(&KernelOptions {
        instance: INSTANCE,
        hook: HookChoice::Auto,
        ports: &(FIRST_PORT..FIRST_PORT + PORT_COUNT).collect(),
        ledger_id: ledger.ledger_id(),
        log: false,
    })?;
    let reader: Arc<dyn CounterReader> = kernel.counters();
    let store = ledger.start(Arc::clone(&reader), &kernel.origin(), Vec::new(), Box::new(SocketProbe))?;
    measure(&Sampler {
        reader,
        rates: Arc::new(Rates::default()),
        store: Arc::new(store),
        state: Arc::new(AgentState::new(INSTANCE.to_owned())),
    });
    kernel.remove_pins();
    Ok(())
}

fn measure(sampler: &Sampler) {
    let reader = &sampler.reader;
    let sample = || {
        let started = Instant::now();
        sampler.sample(&|port| reader.active_connections(port));
        started.elapsed()
    };
    let (first, second) = (sample(), sample());
    let mut durations: Vec<Duration> = (0..SAMPLE_COUNT).map(|_| sample()).collect();
    durations.sort();
    let (median, p99) = (durations[SAMPLE_COUNT / 2], durations[SAMPLE_COUNT * 99 / 100]);
    let verdict = if median <= GOAL { "met" } else { "NOT MET" };
    println!(
        "one sample of {} ports: {:.3} ms (median of {SAMPLE_COUNT}; p99 {:.3} ms; the very first {:.3} ms, the second \
         {:.3} ms)   goal <= {:.1} ms {verdict}",
        reader.ports().len(),
        milliseconds(median),
        milliseconds(p99),
        milliseconds(first),
        milliseconds(second),
        milliseconds(GOAL)
    );
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
