//! One network run twice: by two stock chassis, and with ours in the place of the first of them. The
//! same frames are put on the same interfaces of both, and what comes out of each is compared.
//!
//! Behind the interfaces are guests without addresses, which never speak by themselves: what is
//! received was sent by the test, or made of it by a logical pipeline.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::central::{Central, Southbound};
use crate::chassis::Chassis;
use crate::link::{Underlay, veth};
use crate::namespace::Namespace;
use crate::packet::PacketSocket;
use crate::process;
use crate::stock::{Ports, StockChassis, StockOptions};
use crate::topology::CHASSIS;
use crate::wait;
use crate::workload::LINK;
use crate::xdp_chassis::{XdpChassis, XdpOptions};

/// An interface of a hypervisor.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Plug {
    /// Its name.
    pub link: &'static str,
    /// The logical port that it is for.
    pub port: &'static str,
    /// The hypervisor, 0 or 1.
    pub on: usize,
}

/// A frame to be sent: the interface, and the bytes with any tags inside.
pub type Sent = (&'static str, Vec<u8>);
/// How often an interface received a frame, by both.
pub type Received = BTreeMap<(&'static str, Vec<u8>), usize>;

/// The two networks.
#[derive(Debug)]
pub struct Twins {
    /// Two stock chassis.
    pub stock: Side,
    /// Ours and a stock one.
    pub mixed: Side,
}

/// One of the networks. Removed from top to bottom.
#[derive(Debug)]
pub struct Side {
    wires: BTreeMap<&'static str, PacketSocket>,
    _guests: Vec<Namespace>,
    chassis: [Box<dyn Chassis>; 2],
    _underlay: Underlay,
    /// Its databases and northd.
    pub central: Central,
}

impl Twins {
    /// Makes both networks: `build` writes each to its Northbound database, `plugs` are its interfaces.
    pub fn start(
        binary: &Path,
        plugs: &[Plug],
        build: impl Fn(&Central) -> Result<()>,
    ) -> Result<Self> {
        let stock = Side::start(plugs, &build, |underlay, remote| {
            Ok([
                Box::new(stock_chassis(0, underlay, remote)?),
                Box::new(stock_chassis(1, underlay, remote)?),
            ])
        })?;
        let mixed = Side::start(plugs, &build, |underlay, remote| {
            let (name, address) = CHASSIS[0];
            let address = (IpAddr::from(address), 24);
            let options =
                XdpOptions { binary, name, remote, address, identity: None, settings: "" };
            let ours = XdpChassis::new(underlay, options)?;
            Ok([Box::new(ours), Box::new(stock_chassis(1, underlay, remote)?)])
        })?;
        Ok(Self { stock, mixed })
    }

    /// Sends the same frames in both, and waits until both have delivered the same, or for `patience`.
    /// `read` says what of the frames that came is to be compared, and how.
    pub fn exchange(
        &mut self,
        frames: &[Sent],
        patience: Duration,
        read: impl Fn(&'static str, Vec<u8>) -> Option<(&'static str, Vec<u8>)>,
    ) -> Result<[Received; 2]> {
        for side in [&self.stock, &self.mixed] {
            for (link, frame) in frames {
                side.wires.get(link).context("no such interface")?.send(frame)?;
            }
        }
        let start = Instant::now();
        let mut quiet_since = start;
        let mut received = [Received::new(), Received::new()];
        loop {
            for (side, received) in
                [&mut self.stock, &mut self.mixed].into_iter().zip(&mut received)
            {
                for (link, wire) in &mut side.wires {
                    while let Some(frame) = wire.next(Duration::ZERO)? {
                        quiet_since = Instant::now();
                        if !frame.outgoing
                            && let Some(seen) = read(link, frame.bytes)
                        {
                            *received.entry(seen).or_default() += 1;
                        }
                    }
                }
            }
            // What nobody should receive does not announce that it does not come.
            let quiet = quiet_since.elapsed() > QUIET;
            if quiet && (received[0] == received[1] || start.elapsed() > patience) {
                return Ok(received);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What all four chassis say of themselves.
    pub fn account(&mut self) -> String {
        let chassis = self.stock.chassis.iter_mut().chain(&mut self.mixed.chassis);
        chassis.map(|chassis| chassis.account()).collect::<Vec<_>>().join("\n")
    }
}

const QUIET: Duration = Duration::from_millis(60);

impl Side {
    fn start(
        plugs: &[Plug],
        build: impl Fn(&Central) -> Result<()>,
        hypervisors: impl FnOnce(&Underlay, &str) -> Result<[Box<dyn Chassis>; 2]>,
    ) -> Result<Self> {
        let central = Central::new(Southbound::Standalone)?;
        build(&central)?;
        central.sync()?;
        let underlay = Underlay::new(1500)?;
        let mut chassis = hypervisors(&underlay, &central.remote())?;
        let (mut wires, mut guests) = (BTreeMap::new(), Vec::new());
        for plug in plugs {
            let hypervisor = &mut chassis[plug.on];
            let guest = Namespace::new(plug.link)?;
            for scope in ["all", "default"] {
                guest.sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
            }
            veth((&guest, LINK), (hypervisor.namespace(), plug.link))?;
            if hypervisor.needs_plain_frames() {
                let mut ethtool = guest.command("ethtool");
                process::run(ethtool.args(["-K", LINK, "tx", "off", "txvlan", "off"]))?;
            }
            hypervisor.plug(plug.link, plug.port)?;
            wires.insert(plug.link, PacketSocket::open(&guest, LINK)?);
            guests.push(guest);
        }
        let mut side = Self { wires, _guests: guests, chassis, _underlay: underlay, central };
        side.ready(plugs).with_context(|| {
            side.chassis.iter_mut().map(|chassis| chassis.account()).collect::<String>()
        })?;
        Ok(side)
    }

    fn ready(&self, plugs: &[Plug]) -> Result<()> {
        for plug in plugs {
            // Localports are claimed by nobody, and disabled ports go up like others.
            let kind = self.central.nbctl(&["get", "Logical_Switch_Port", plug.port, "type"])?;
            if kind.trim() == "\"\"" {
                self.central.wait_up([plug.port])?;
            }
        }
        self.central.sync_chassis()
    }

    /// Waits until the Southbound database has so many rows of a table, and all chassis follow.
    pub fn settle(&self, table: &str, rows: usize) -> Result<()> {
        wait::until(&format!("{rows} rows of {table}"), wait::PATIENCE, || {
            let list = self.central.sbctl(&["--bare", "--columns=_uuid", "list", table]);
            let list = list.map_err(|error| format!("{error:#}"))?;
            let found = list.split_whitespace().count();
            if found == rows { Ok(()) } else { Err(format!("{found}")) }
        })?;
        self.central.sync_chassis()
    }
}

fn stock_chassis(index: usize, underlay: &Underlay, remote: &str) -> Result<StockChassis> {
    let (name, address) = CHASSIS[index];
    let address = (IpAddr::from(address), 24);
    let options = StockOptions { name, remote, address, ports: Ports::Packet, core: None };
    StockChassis::new(underlay, options)
}
