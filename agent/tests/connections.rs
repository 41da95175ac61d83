//! Connections that were counted wrongly are put right by the socket tables; ones that were not are left alone.
//!
//! The kernel programs are played by the test, which can miss an opening or a closing as they should never do; the
//! sockets and their tables are real.

use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use portmeter::connections::{Differences, Doubts, compare};
use portmeter::counters::{ConnectionCount, ConnectionCounter, Counter, CounterReader, MapLifeId};
use portmeter::network::sockets::{self, PortTables};
use proptest::prelude::*;

/// What programs that may miss something have counted at one port.
struct Programs {
    port: [u16; 1],
    count: Mutex<ConnectionCount>,
}

impl Programs {
    fn at(port: u16) -> Self {
        Self {
            port: [port],
            count: Mutex::default(),
        }
    }

    fn count(&self, change: impl FnOnce(&mut ConnectionCount)) {
        change(&mut self.count.lock().unwrap());
    }

    fn correct(&self, confirmed: Differences) {
        for (port, difference) in confirmed {
            self.correct_active_connections(port, difference).unwrap();
        }
    }
}

impl CounterReader for Programs {
    fn map_life(&self) -> MapLifeId {
        MapLifeId(uuid::Uuid::nil())
    }

    fn ports(&self) -> &[u16] {
        &self.port
    }

    fn read(&self, _: u16) -> Counter {
        Counter::default()
    }

    fn active_connections(&self, port: u16) -> Option<u64> {
        self.connection_count(port).map(ConnectionCount::active)
    }
}

impl ConnectionCounter for Programs {
    fn connection_count(&self, _: u16) -> Option<ConnectionCount> {
        Some(*self.count.lock().unwrap())
    }

    fn correct_active_connections(&self, _: u16, difference: i64) -> std::io::Result<()> {
        self.count(|count| count.offset -= difference);
        Ok(())
    }
}

#[test]
fn a_missed_closing_is_found_in_the_socket_tables() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    let programs = Programs::at(address.port());
    programs.count(|count| count.opened = 4);
    let mut doubts = Doubts::default();
    let mut round = || {
        let differences = compare(&programs, sockets::port_tables).unwrap();
        programs.correct(doubts.confirm(&differences));
        programs.active_connections(address.port())
    };
    assert_eq!(round(), Some(4), "one comparison is not enough");
    assert_eq!(round(), Some(3));
    assert_eq!(round(), Some(3), "a correction holds");
    drop(clients);
}

#[test]
fn what_moves_meanwhile_is_not_compared() {
    let programs = Programs::at(10_001);
    let moving = || {
        programs.count(|count| {
            count.opened += 1;
            count.closed += 1;
        });
        Ok(PortTables::default())
    };
    assert_eq!(compare(&programs, moving).unwrap(), Differences::new());
    let still = || Ok(PortTables::default());
    assert_eq!(compare(&programs, still).unwrap(), [(10_001, 0)].into());
}

/// What can happen to one port between two comparisons, and during one.
#[derive(Debug, Clone)]
enum Event {
    Open,
    Close,
    MissedOpen,
    MissedClose,
    Compare,
    OpenWhileCompared,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Open),
        4 => Just(Event::Close),
        1 => Just(Event::MissedOpen),
        1 => Just(Event::MissedClose),
        4 => Just(Event::Compare),
        2 => Just(Event::OpenWhileCompared),
    ]
}

/// A listening port: what is connected, and what the programs have of it.
struct World {
    programs: Programs,
    connected: u64,
    doubts: Doubts,
    corrected: u64,
}

impl World {
    fn tables(&self) -> PortTables {
        PortTables {
            listening: self.programs.port.into(),
            connected: [(self.programs.port[0], self.connected)].into(),
        }
    }

    fn compare(&mut self) {
        let differences = compare(&self.programs, || Ok(self.tables())).unwrap();
        self.believe(&differences);
    }

    fn believe(&mut self, differences: &Differences) {
        let confirmed = self.doubts.confirm(differences);
        self.corrected += confirmed
            .values()
            .map(|difference| difference.unsigned_abs())
            .sum::<u64>();
        self.programs.correct(confirmed);
    }

    fn play(&mut self, event: &Event) {
        match event {
            Event::Open => {
                self.connected += 1;
                self.programs.count(|count| count.opened += 1);
            }
            Event::Close if self.connected > 0 => {
                self.connected -= 1;
                self.programs.count(|count| count.closed += 1);
            }
            Event::MissedOpen => self.connected += 1,
            Event::MissedClose if self.connected > 0 => self.connected -= 1,
            Event::Close | Event::MissedClose => {}
            Event::Compare => self.compare(),
            Event::OpenWhileCompared => {
                // The tables were listed before the connection came, the programs have counted it.
                let listed = self.tables();
                self.connected += 1;
                let differences = compare(&self.programs, || {
                    self.programs.count(|count| count.opened += 1);
                    Ok(listed)
                });
                self.believe(&differences.unwrap());
            }
        }
    }
}

proptest! {
    #[test]
    fn two_quiet_comparisons_put_everything_right(events in proptest::collection::vec(event(), 0..60)) {
        let mut world = World {
            programs: Programs::at(10_001),
            connected: 0,
            doubts: Doubts::default(),
            corrected: 0,
        };
        for event in &events {
            world.play(event);
        }
        let is_missed = |event: &Event| matches!(event, Event::MissedOpen | Event::MissedClose);
        if !events.iter().any(is_missed) {
            prop_assert_eq!(world.corrected, 0, "what was counted rightly was corrected");
        }
        world.compare();
        world.compare();
        prop_assert_eq!(world.programs.active_connections(10_001), Some(world.connected));
    }
}
