//! One packet of a nested container, caught on both sides of the tunnel: tagged on the VM's
//! interface, in Geneve on the underlay.

use std::time::Duration;

use anyhow::{Context, Result};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use ovn_xdp_kit::capture::Capture;
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::geneve::Geneve;
use ovn_xdp_kit::packet::Frame;
use ovn_xdp_kit::raw;
use ovn_xdp_kit::topology::{PORTS, Place};
use ovn_xdp_kit::traffic;

use crate::lab::Lab;
use crate::screen::Screen;

const FROM: &str = "vm1-red";
const TO: &str = "vm2-red";
const PATIENCE: Duration = Duration::from_secs(3);

/// Catches and prints both frames; returns how many of the two were not seen.
pub fn show(screen: &Screen, lab: &Lab) -> Result<usize> {
    screen.section(&format!("One ping from {FROM} to {TO}, on both sides of the tunnel"));
    let hypervisor = lab.hypervisor(0);
    let mut near = Capture::start(hypervisor.namespace(), "vm1")?;
    let mut far = Capture::start(lab.underlay().namespace(), hypervisor.namespace().role())?;
    let target = lab.workload(TO)?.addresses();
    traffic::ping(lab.workload(FROM)?.namespace(), target.v4.into(), 1, PATIENCE)?;

    let echo = |bytes: &[u8]| describe(bytes).is_ok_and(|text| text.contains("echo request"));
    let mut missing = 0;
    let on_vm = near.wait_for("tagged echo request", PATIENCE, |frame| {
        raw::tag(&frame.bytes).is_some() && echo(&frame.bytes)
    });
    match on_vm {
        Ok(frame) => show_tagged(screen, &frame)?,
        Err(error) => {
            screen.line(&format!("FAILED: {error:#}"));
            missing += 1;
        }
    }
    let on_wire = far.wait_for("echo request in Geneve", PATIENCE, |frame| {
        Geneve::of_frame(&frame.bytes).is_some_and(|packet| echo(&packet.inner))
    });
    match on_wire {
        Ok(frame) => show_geneve(screen, &frame)?,
        Err(error) => {
            screen.line(&format!("FAILED: {error:#}"));
            missing += 1;
        }
    }
    Ok(missing)
}

fn show_tagged(screen: &Screen, frame: &Frame) -> Result<()> {
    let tag = raw::tag(&frame.bytes).context("the tag was there")?;
    let owner = PORTS.iter().find(|port| matches!(port.place, Place::Nested("vm1", t) if t == tag));
    let owner = owner.map_or("nobody", |port| port.name);
    screen.line(&format!("on hv1's interface vm1, {} bytes", frame.bytes.len()));
    screen.line(&format!("    802.1Q     tag {tag}, which is {owner}'s in vm1"));
    screen.line(&format!("    inside     {}", describe(&frame.bytes)?));
    Ok(())
}

fn show_geneve(screen: &Screen, frame: &Frame) -> Result<()> {
    let packet = Geneve::of_frame(&frame.bytes).context("the Geneve header was there")?;
    let keys = packet.ovn_keys()?;
    screen.line(&format!("on the underlay, {} bytes", frame.bytes.len()));
    screen.line(&format!("    outer      {}", describe(&frame.bytes)?));
    screen.line(&format!("    Geneve     VNI {} (the logical switch's tunnel key)", packet.vni));
    for option in &packet.options {
        screen.line(&format!(
            "    option     class {:#06x}, type {:#04x}, data {:02x?}",
            option.class, option.kind, option.data
        ));
    }
    screen.line(&format!(
        "               from logical port {} to logical port {}",
        keys.ingress, keys.egress
    ));
    screen.line(&format!("    inside     {}, no tag", describe(&packet.inner)?));
    Ok(())
}

/// A frame in a line: its addresses, and what it is.
fn describe(bytes: &[u8]) -> Result<String> {
    let packet = SlicedPacket::from_ethernet(bytes)?;
    let ends = match packet.net.as_ref().context("no IP packet")? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            format!("{} → {}", header.source_addr(), header.destination_addr())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            format!("{} → {}", header.source_addr(), header.destination_addr())
        }
        NetSlice::Arp(_) => "ARP".into(),
    };
    let what = match packet.transport.as_ref() {
        Some(TransportSlice::Icmpv4(icmp)) => match icmp.type_u8() {
            8 => "ICMP echo request".into(),
            0 => "ICMP echo reply".into(),
            other => format!("ICMP type {other}"),
        },
        Some(TransportSlice::Icmpv6(icmp)) => format!("ICMPv6 type {}", icmp.type_u8()),
        Some(TransportSlice::Udp(udp)) => {
            format!("UDP {} → {}", udp.source_port(), udp.destination_port())
        }
        Some(TransportSlice::Tcp(tcp)) => {
            format!("TCP {} → {}", tcp.source_port(), tcp.destination_port())
        }
        None => "no transport".into(),
    };
    Ok(format!("{ends}, {what}"))
}
