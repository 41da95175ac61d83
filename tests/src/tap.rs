//! A cable of two tap devices with virtio headers, as between a rented server and its host, or of two tun devices with
//! them, as of a tunnel that carries large packets.
//!
//! Packets that arrive through such a device carry `gso_size` but a `gso_segs` of 0: the sender's offload
//! information crosses user space in a `virtio_net_hdr` that has no field for it.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::namespace::Namespace;

/// Room for the largest aggregated frame and its headers.
const FRAME_CAPACITY: usize = 68 * 1024;

/// Two joined taps or tuns; removed when dropped.
#[derive(Debug)]
pub struct TapCable<'lab> {
    ends: [(&'lab Namespace, String); 2],
    forwarders: Vec<JoinHandle<()>>,
}

impl<'lab> TapCable<'lab> {
    /// Makes both taps, brings them up and carries frames between them. Both ends accept segmentation offload.
    pub fn new(left: (&'lab Namespace, &str), right: (&'lab Namespace, &str)) -> Result<Self> {
        Self::of(Layer::L2, left, right)
    }

    /// The same of two tuns, whose packets have no link header.
    pub fn of_tuns(left: (&'lab Namespace, &str), right: (&'lab Namespace, &str)) -> Result<Self> {
        Self::of(Layer::L3, left, right)
    }

    fn of(layer: Layer, left: (&'lab Namespace, &str), right: (&'lab Namespace, &str)) -> Result<Self> {
        let left_device = Arc::new(device(layer, left.0, left.1)?);
        let right_device = Arc::new(device(layer, right.0, right.1)?);
        let forwarders = vec![
            forward(left.0, Arc::clone(&left_device), Arc::clone(&right_device))?,
            forward(right.0, right_device, left_device)?,
        ];
        Ok(Self {
            ends: [left, right].map(|(host, name)| (host, name.to_owned())),
            forwarders,
        })
    }
}

impl Drop for TapCable<'_> {
    fn drop(&mut self) {
        for (host, name) in &self.ends {
            let deleted = host.run(&format!("ip link del {name}"));
            // The second one may have gone with the first: forwarders that cannot send let go of both.
            if let Err(error) = deleted
                && host.run(&format!("ip link show dev {name}")).is_ok()
            {
                eprintln!("{name} stays behind: {error:#}");
                // Its forwarder would never end.
                return;
            }
        }
        for forwarder in self.forwarders.drain(..) {
            let _ = forwarder.join();
        }
    }
}

fn device(layer: Layer, host: &Namespace, name: &str) -> Result<SyncDevice> {
    let build = || DeviceBuilder::new().name(name).layer(layer).offload(true).build_sync();
    let device = host.enter(build).with_context(|| format!("making {name}"))?;
    host.run(&format!("ip link set {name} up"))?;
    Ok(device)
}

/// Hands frames on as they are, header included, until a device is gone.
fn forward(host: &Namespace, from: Arc<SyncDevice>, to: Arc<SyncDevice>) -> Result<JoinHandle<()>> {
    host.spawn_thread(move || {
        let mut frame = vec![0; FRAME_CAPACITY];
        while let Ok(length) = from.recv(&mut frame) {
            if to.send(&frame[..length]).is_err() {
                return;
            }
        }
    })
}
