//! The demo on a real `ovn-northd`: its packages, its database, and a container that is added while
//! traffic runs.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::process;
use ovn_xdp_kit::topology::{self, Place, Port};
use ovn_xdp_kit::traffic::Numbered;
use ovn_xdp_kit::wait;

use crate::lab::Lab;
use crate::screen::Screen;

/// The container that comes late: in vm2, on the other switch than the one that speaks to it.
const LATE: Port =
    Port { name: "late", switch: "blue", network: (2, 24), place: Place::Nested("vm2", 250) };
const SPEAKER: &str = "vm1-red";
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a real central with the demo's network, installing OVN's packages if they are missing.
pub fn central(screen: &mut Screen) -> Result<Central> {
    install(screen)?;
    let step = screen.step("ovsdb-server, ovn-northd, two switches and a router");
    let central = Central::new(Southbound::Standalone)?;
    topology::build(&central)?;
    step.done("ready");
    Ok(central)
}

fn install(screen: &mut Screen) -> Result<()> {
    if Path::new("/usr/bin/ovn-northd").exists() {
        return Ok(());
    }
    screen.line("ovn-northd is missing: installing Debian's package ovn-central (apt-get).");
    let _quiet = NoServices::hold()?;
    let mut command = Command::new("apt-get");
    command.args(["install", "-y", "--no-install-recommends", "ovn-central"]);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    let step = screen.step("apt-get install ovn-central");
    process::run(&mut command).context("apt-get install ovn-central; are you root?")?;
    step.done("installed");
    Ok(())
}

/// While it lives, packages start no service (the file is asked by Debian's `deb-systemd-invoke`):
/// the demo's central is its own.
struct NoServices(bool);

impl NoServices {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn hold() -> Result<Self> {
        if Path::new(Self::POLICY).exists() {
            return Ok(Self(false));
        }
        std::fs::write(Self::POLICY, "#!/bin/sh\nexit 101\n")?;
        std::fs::set_permissions(Self::POLICY, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self(true))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.0 {
            let _ = std::fs::remove_file(Self::POLICY);
        }
    }
}

/// Adds a container to a running VM, and prints how long it took to be reachable.
pub fn add_container(screen: &Screen, lab: &mut Lab) -> Result<usize> {
    let Place::Nested(parent, tag) = LATE.place else { unreachable!("LATE is nested") };
    screen.section(&format!("A container is added to {parent} while traffic runs"));
    // The guest starts the container and its VLAN device first, as Kubernetes in a VM would.
    lab.add(&LATE)?;
    let central = lab.central().context("the demo is live")?;
    let there = lab.workload(LATE.name)?;
    let speaker = lab.workload(SPEAKER)?;
    let target = lab.workload("vm2-red")?;
    let background =
        Numbered::start(speaker.namespace(), target.namespace(), target.addresses().v4.into())?;

    await_more(&background)?;
    let probe = Probe::new(lab)?;
    let stop = AtomicBool::new(false);
    let (up, delivered) = std::thread::scope(|scope| {
        let probing = scope.spawn(|| probe.send_until(&stop));
        let arrival = scope.spawn(|| probe.first_arrival(&stop));
        let waiting = scope.spawn(|| {
            central.nbctl(&["wait-until", "Logical_Switch_Port", LATE.name, "up=true"])?;
            Ok::<_, anyhow::Error>(Instant::now())
        });
        let start = Instant::now();
        let added = topology::add(central, &LATE);
        if added.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        let joined = |error| anyhow!("a thread panicked: {error:?}");
        let arrival = arrival.join().map_err(joined);
        stop.store(true, Ordering::Relaxed);
        probing.join().map_err(joined)??;
        added?;
        let up = waiting.join().map_err(joined)??;
        Ok::<_, anyhow::Error>((up - start, arrival?? - start))
    })?;
    await_more(&background)?;
    let tally = background.finish()?;
    screen.line(&format!(
        "ovn-nbctl lsp-add {} {} {parent} {tag}   (namespace {})",
        LATE.switch,
        LATE.name,
        there.namespace().name()
    ));
    screen.line(&format!("    up=true                {:>6} ms after the command", up.as_millis()));
    screen.line(&format!("    first delivered packet {:>6} ms", delivered.as_millis()));
    let lost = tally.sent - tally.received;
    screen.line(&format!(
        "    meanwhile from {SPEAKER} to vm2-red: {} datagrams, {lost} lost",
        tally.sent
    ));
    Ok(usize::from(lost > 0))
}

/// Waits until the background traffic has gone on for a while.
fn await_more(traffic: &Numbered) -> Result<()> {
    let enough = traffic.tally().received + 500;
    wait::until("the background traffic to go on", PATIENCE, || {
        let tally = traffic.tally();
        if tally.received >= enough { Ok(()) } else { Err(format!("{tally:?}")) }
    })
}

/// A datagram each millisecond to the container, and the eye that waits for the first.
struct Probe {
    outgoing: UdpSocket,
    incoming: UdpSocket,
}

impl Probe {
    fn new(lab: &Lab) -> Result<Self> {
        let there = lab.workload(LATE.name)?;
        let address = std::net::IpAddr::from(there.addresses().v4);
        let incoming = there.namespace().enter(|| UdpSocket::bind((address, 0)))??;
        incoming.set_read_timeout(Some(Duration::from_millis(50)))?;
        let outgoing =
            lab.workload(SPEAKER)?.namespace().enter(|| UdpSocket::bind("0.0.0.0:0"))??;
        outgoing.connect(incoming.local_addr()?)?;
        Ok(Self { outgoing, incoming })
    }

    fn send_until(&self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            // Until the port is known, the router may say that there is no way: that is the point.
            let _ = self.outgoing.send(b"are you there?");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn first_arrival(&self, stop: &AtomicBool) -> Result<Instant> {
        let start = Instant::now();
        loop {
            if self.incoming.recv(&mut [0; 64]).is_ok() {
                return Ok(Instant::now());
            }
            ensure!(!stop.load(Ordering::Relaxed) && !wait::interrupted(), "interrupted");
            ensure!(start.elapsed() < PATIENCE, "nothing arrived within {PATIENCE:?}");
        }
    }
}
