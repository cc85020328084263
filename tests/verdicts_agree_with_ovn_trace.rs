//! For frames from every workload, both chassis deliver to exactly the ports that `ovn-trace` names.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use ovn_xdp_kit::capture::Capture;
use ovn_xdp_kit::central::Southbound;
use ovn_xdp_kit::link::Mac;
use ovn_xdp_kit::mixed::Mixed;
use ovn_xdp_kit::packet::{Frame, PacketSocket};
use ovn_xdp_kit::raw::{Ends, udp_payload};
use ovn_xdp_kit::topology::{PORTS, Port};
use ovn_xdp_kit::traffic;
use ovn_xdp_kit::workload::{Addresses, LINK};

/// The ports that an `ovn-trace --minimal` delivers to: `output("NAME");` lines.
fn delivered(trace: &str) -> BTreeSet<String> {
    trace
        .lines()
        .filter_map(|line| line.trim().strip_prefix("output(\"")?.split('"').next())
        .map(str::to_owned)
        .collect()
}

/// What one workload sends in this test: right and wrong ends, ports that ACLs tell apart.
fn flows(from: &Port) -> Vec<(Ends, u16)> {
    let own = from.addresses();
    let router = Addresses::router(from.network.0);
    let mut flows = Vec::new();
    for to in PORTS.iter().filter(|to| to.name != from.name) {
        let target = to.addresses();
        let to_mac = if to.network.0 == from.network.0 { target.mac } else { router.mac };
        for (source, destination) in
            [(own.v4.into(), target.v4.into()), (own.v6.into(), target.v6.into())]
        {
            let ends = Ends { from_mac: own.mac, to_mac, from: source, to: destination };
            flows.push((ends, 80));
            flows.push((ends, 81));
        }
        // Somebody else's address, and a MAC address of nobody.
        let ends = Ends { from_mac: own.mac, to_mac, from: target.v4.into(), to: own.v4.into() };
        flows.push((ends, 80));
    }
    let nobody = Ends {
        from_mac: own.mac,
        to_mac: Mac([2, 9, 9, 9, 9, 9]),
        from: own.v4.into(),
        to: [10, 0, from.network.0, 99].into(),
    };
    flows.push((nobody, 80));
    flows.push((Ends { to_mac: Mac([0xff; 6]), to: [255; 4].into(), ..nobody }, 80));
    flows
}

fn microflow(from: &Port, ends: &Ends, port: u16) -> String {
    let (family, source, destination) = match ends.from.is_ipv4() {
        true => ("ip4", "ip4.src", "ip4.dst"),
        false => ("ip6", "ip6.src", "ip6.dst"),
    };
    format!(
        "inport == \"{}\" && eth.src == {} && eth.dst == {} && {family} && {source} == {} \
         && {destination} == {} && ip.ttl == 64 && udp.src == 5000 && udp.dst == {port}",
        from.name, ends.from_mac, ends.to_mac, ends.from, ends.to
    )
}

/// Whether a workload received this frame. (A VM's interface also carries what is tagged for its
/// containers, and ICMP errors quote what they complain about.)
fn carries(frame: &Frame, mark: &str) -> bool {
    !frame.outgoing && udp_payload(&frame.bytes) == Some(mark.as_bytes())
}

const EACH: Duration = Duration::from_secs(3);

#[test]
fn frames_go_exactly_where_ovn_trace_says() {
    let binary = Path::new(env!("CARGO_BIN_EXE_ovn-xdp"));
    let mut mixed = Mixed::start(binary, Southbound::Standalone).unwrap();
    for (switch, matching) in
        [("red", "outport == \"vm2-red\" && udp.dst == 81"), ("blue", "ip6 && udp.dst == 81")]
    {
        mixed.central.nbctl(&["acl-add", switch, "to-lport", "1000", matching, "drop"]).unwrap();
    }
    mixed.central.sync_chassis().unwrap();
    // The stock chassis loses what it sends before its tunnel knows its neighbour.
    for (from, to) in [("vm1-red", "vm2-red"), ("vm2-red", "vm1-red")] {
        let target = mixed.workload(to).addresses().v4.into();
        let patience = Duration::from_secs(5);
        traffic::ping(mixed.workload(from).namespace(), target, 3, patience).unwrap();
    }
    let mut captures: Vec<_> = PORTS
        .iter()
        .map(|port| {
            (port.name, Capture::start(mixed.workload(port.name).namespace(), LINK).unwrap())
        })
        .collect();
    let mut sent = Vec::new();
    for from in &PORTS {
        let wire = PacketSocket::open(mixed.workload(from.name).namespace(), LINK).unwrap();
        for (ends, port) in flows(from) {
            let mark = format!("frame {:06}", sent.len());
            let microflow = microflow(from, &ends, port);
            let trace = mixed.central.trace(from.switch, &microflow).unwrap();
            let expected = delivered(&trace);
            wire.send(&ends.udp(5000, port, mark.as_bytes())).unwrap();
            for (name, capture) in &mut captures {
                if expected.contains(*name) {
                    // One that does not arrive shows in the comparison below.
                    let _ = capture.wait_for("the frame", EACH, |frame| carries(frame, &mark));
                }
            }
            sent.push((mark, microflow, expected, trace));
        }
    }
    let arrived: Vec<(&str, Vec<Frame>)> = captures
        .iter_mut()
        .map(|(name, capture)| (*name, capture.frames().unwrap().to_vec()))
        .collect();
    let mut disagreements = Vec::new();
    for (mark, microflow, expected, trace) in sent {
        let got: BTreeSet<String> = arrived
            .iter()
            .filter(|(_, frames)| frames.iter().any(|frame| carries(frame, &mark)))
            .map(|(name, _)| (*name).to_owned())
            .collect();
        if got != expected {
            disagreements.push(format!(
                "{microflow}\n  ovn-trace: {expected:?}\n  delivered: {got:?}\n{trace}"
            ));
        }
    }
    assert!(disagreements.is_empty(), "{}\n{}", disagreements.join("\n"), mixed.account());
}
