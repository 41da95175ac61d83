//! A cable of two tun devices, as of a tunnel: packets without a link header, carried by this process, which counts
//! what it carries.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::count::Counts;
use crate::namespace::Namespace;
use crate::packet::{Packet, Tally};

/// Room for the longest packet.
const PACKET_CAPACITY: usize = 64 * 1024;

/// Two joined tuns; removed when dropped.
#[derive(Debug)]
pub struct TunCable<'lab> {
    ends: [(&'lab Namespace, String); 2],
    forwarders: Vec<JoinHandle<()>>,
    carried: Arc<Mutex<Tally>>,
}

impl<'lab> TunCable<'lab> {
    /// Makes both tuns and carries packets between them, one at a time and none longer than the device's.
    pub fn new(left: (&'lab Namespace, &str), right: (&'lab Namespace, &str), server: &[IpAddr]) -> Result<Self> {
        let left_device = Arc::new(tun(left.0, left.1)?);
        let right_device = Arc::new(tun(right.0, right.1)?);
        let carried = Arc::new(Mutex::new(Tally::new(server)));
        let forwarders = vec![
            forward(left.0, Arc::clone(&left_device), Arc::clone(&right_device), &carried)?,
            forward(right.0, right_device, left_device, &carried)?,
        ];
        Ok(Self {
            ends: [left, right].map(|(host, name)| (host, name.to_owned())),
            forwarders,
            carried,
        })
    }

    /// Everything that was carried until now.
    pub fn counts(&self) -> Counts {
        self.carried
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .counts()
            .clone()
    }
}

impl Drop for TunCable<'_> {
    fn drop(&mut self) {
        for (host, name) in &self.ends {
            if let Err(error) = host.run(&format!("ip link del {name}")) {
                eprintln!("tun {name} stays behind: {error:#}");
                // Its forwarder would never end.
                return;
            }
        }
        for forwarder in self.forwarders.drain(..) {
            let _ = forwarder.join();
        }
    }
}

fn tun(host: &Namespace, name: &str) -> Result<SyncDevice> {
    let build = || DeviceBuilder::new().name(name).layer(Layer::L3).build_sync();
    host.enter(build).with_context(|| format!("making tun {name}"))
}

/// Counts a packet before it is handed on: who has received it can be sure that it is counted.
fn forward(
    host: &Namespace,
    from: Arc<SyncDevice>,
    to: Arc<SyncDevice>,
    carried: &Arc<Mutex<Tally>>,
) -> Result<JoinHandle<()>> {
    let carried = Arc::clone(carried);
    host.spawn_thread(move || {
        let mut packet = vec![0; PACKET_CAPACITY];
        while let Ok(length) = from.recv(&mut packet) {
            if let Some(packet) = Packet::from_ip(&packet[..length]) {
                carried.lock().unwrap_or_else(PoisonError::into_inner).add(&packet);
            }
            if to.send(&packet[..length]).is_err() {
                return;
            }
        }
    })
}
