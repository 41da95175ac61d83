//! An XDP program that does nothing: what any of them costs on veth, which has to copy each small packet into a buffer
//! that XDP can work on. A network card's driver has it in one already.

use anyhow::Result;

use crate::bench::clang::Clang;
use crate::bench::lab::{Host, INTERFACE};
use crate::command;

/// The attached program, detached when dropped.
pub(super) struct XdpNothing<'lab> {
    host: &'lab Host,
}

impl<'lab> XdpNothing<'lab> {
    pub(super) fn attach(host: &'lab Host) -> Result<Self> {
        let object = Clang::find()?.compile("xdp_nothing")?;
        let mut ip = host.command("ip");
        ip.args(["link", "set", "dev", INTERFACE, "xdpdrv", "object"])
            .arg(object)
            .args(["section", "xdp.frags"]);
        command::output(&mut ip)?;
        Ok(Self { host })
    }
}

impl Drop for XdpNothing<'_> {
    fn drop(&mut self) {
        let mut ip = self.host.command("ip");
        if let Err(error) = command::output(ip.args(["link", "set", "dev", INTERFACE, "xdpdrv", "off"])) {
            eprintln!("the XDP program stays behind: {error:#}");
        }
    }
}
