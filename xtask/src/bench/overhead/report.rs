//! From measurements to figures: each contender against the "nothing" right before it, medians over the rounds.

use super::contender::Contender;
use super::workload::Measured;
use crate::bench::lab::Offloads;
use crate::bench::statistics::{median, verdict};

const TCP_RATIO_MIN: f64 = 0.98;
const UDP_RATIO_MIN: f64 = 0.97;
const KERNEL_COST_MAX_NS: f64 = 100.0;

/// A contender's measurements, each with the one of nothing before it.
pub(super) struct Comparison {
    pub(super) contender: Contender,
    pairs: Vec<(Measured, Measured)>,
}

impl Comparison {
    pub(super) fn new(contender: Contender) -> Self {
        Self {
            contender,
            pairs: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, nothing: Measured, with: Measured) {
        self.pairs.push((nothing, with));
    }

    fn median(&self, figure: impl Fn(&Measured, &Measured) -> f64) -> f64 {
        let figures: Vec<f64> = self.pairs.iter().map(|(nothing, with)| figure(nothing, with)).collect();
        median(&figures)
    }

    fn tcp_ratio(&self) -> f64 {
        self.median(|nothing, with| with.tcp_megabits_per_second / nothing.tcp_megabits_per_second)
    }

    fn udp_ratio(&self) -> f64 {
        self.median(|nothing, with| with.udp_packets_per_second / nothing.udp_packets_per_second)
    }

    fn kernel_ns(&self) -> f64 {
        self.median(|nothing, with| with.cost.kernel_ns - nothing.cost.kernel_ns)
    }

    /// The last pair, for who waits or wants to look at the spread.
    pub(super) fn print_last(&self, round: usize) {
        let Some((nothing, with)) = self.pairs.last() else {
            return;
        };
        println!(
            "round {round}: {:<26} TCP {:>6.0} of {:>6.0} Mbit/s, UDP {:>4.0} of {:>4.0} thousand/s, {:>5.0} of {:>5.0} ns",
            self.contender.title(),
            with.tcp_megabits_per_second,
            nothing.tcp_megabits_per_second,
            with.udp_packets_per_second / 1e3,
            nothing.udp_packets_per_second / 1e3,
            with.cost.kernel_ns,
            nothing.cost.kernel_ns,
        );
    }
}

/// The medians, with goals where there are any.
pub(super) fn table(offloads: Offloads, comparisons: &[Comparison]) {
    let all = || comparisons.iter().flat_map(|comparison| &comparison.pairs);
    let nothing = |figure: fn(&Measured) -> f64| median(&all().map(|(nothing, _)| figure(nothing)).collect::<Vec<_>>());
    let value = if offloads == Offloads::On { "on" } else { "off" };
    println!(
        "\noffloads {value}; nothing: TCP {:.0} Mbit/s, UDP {:.0} thousand/s, {:.0} ns a packet",
        nothing(|one| one.tcp_megabits_per_second),
        nothing(|one| one.udp_packets_per_second) / 1e3,
        nothing(|one| one.cost.kernel_ns)
    );
    println!(
        "{:<26} {:>6} {:>6} {:>11} {:>13}   goals",
        "ratio to nothing", "TCP", "UDP", "kernel + ns", "processes ns"
    );
    for one in comparisons {
        row(one);
    }
    if let Some(ns) = beyond_nothing_ns(comparisons) {
        println!("Portmeter's XDP program adds {ns:.0} ns to what XDP that does nothing costs on veth");
    }
    println!();
}

fn row(one: &Comparison) {
    let (tcp, udp, kernel_ns) = (one.tcp_ratio(), one.udp_ratio(), one.kernel_ns());
    let processes_ns = one.median(|_, with| with.cost.processes_ns);
    let goals = format!(
        "TCP >= {TCP_RATIO_MIN} {}, UDP >= {UDP_RATIO_MIN} {}, + <= {KERNEL_COST_MAX_NS} ns {}",
        verdict(tcp >= TCP_RATIO_MIN),
        verdict(udp >= UDP_RATIO_MIN),
        verdict(kernel_ns <= KERNEL_COST_MAX_NS)
    );
    println!(
        "{:<26} {tcp:>6.3} {udp:>6.3} {kernel_ns:>11.0} {processes_ns:>13.0}   {}",
        one.contender.title(),
        if one.contender.is_portmeter() { &goals } else { "" }
    );
}

/// What Portmeter's XDP form adds to the cost of having any XDP program; `None` unless both were measured.
fn beyond_nothing_ns(comparisons: &[Comparison]) -> Option<f64> {
    let kernel_ns = |contender| {
        let one = comparisons.iter().find(|one| one.contender == contender)?;
        Some(one.kernel_ns())
    };
    Some(kernel_ns(Contender::PortmeterXdp)? - kernel_ns(Contender::XdpNothing)?)
}
