//! Our chassis on hv1 and a stock one on hv2, under one `ovn-northd`: neither notices a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use ovn_xdp_kit::capture::{Capture, tshark};
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::geneve::{self, Geneve, OvnKeys};
use ovn_xdp_kit::lab::{Family, LabOptions, Mixed};
use ovn_xdp_kit::packet::PacketSocket;
use ovn_xdp_kit::raw::Ends;
use ovn_xdp_kit::traffic;
use ovn_xdp_kit::wait::PATIENCE;
use ovn_xdp_kit::workload::LINK;

fn start() -> Mixed {
    over(Family::V4)
}

fn over(family: Family) -> Mixed {
    let binary = Path::new(env!("CARGO_BIN_EXE_ovn-xdp"));
    Mixed::start(binary, LabOptions { family, ..LabOptions::default() }).unwrap()
}

const EACH: Duration = Duration::from_secs(5);

#[test]
fn every_pair_of_workloads_pings_and_streams_whoever_forwards_for_them() {
    every_pair_pings_and_streams(start());
}

#[test]
fn every_pair_of_workloads_pings_and_streams_over_an_ipv6_underlay() {
    every_pair_pings_and_streams(over(Family::V6));
}

fn every_pair_pings_and_streams(mut mixed: Mixed) {
    // The stock chassis loses what it sends before its tunnel knows its neighbour; after that
    // nothing is lost.
    for (from, to) in [("vm1-red", "vm2-red"), ("vm2-red", "vm1-red")] {
        let target = mixed.workload(to).addresses().v4.into();
        let pings = traffic::ping(mixed.workload(from).namespace(), target, 3, EACH).unwrap();
        assert!(pings.received + 1 >= pings.sent, "{from} to {to}: {pings:?}");
    }
    let mut failures = Vec::new();
    for (from, to) in mixed.workloads.pairs() {
        for address in to.addresses().ips() {
            let pair = format!("{} to {} at {address}", from.role(), to.role());
            let pings = traffic::ping(from.namespace(), address, 3, EACH).unwrap();
            if pings.received != pings.sent {
                failures.push(format!("{pair}: {pings:?}"));
                continue;
            }
            if let Err(error) =
                traffic::tcp(from.namespace(), to.namespace(), address, 1 << 20, EACH)
            {
                failures.push(format!("{pair}: {error:#}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), mixed.account());
}

/// ENC-14: what leaves our chassis has every checksum in it, and what enters keeps them.
#[test]
fn every_segment_of_a_stream_arrives_with_right_checksums_in_both_directions() {
    every_segment_has_right_checksums(&start());
}

#[test]
fn every_segment_arrives_with_right_checksums_over_an_ipv6_underlay() {
    every_segment_has_right_checksums(&over(Family::V6));
}

fn every_segment_has_right_checksums(mixed: &Mixed) {
    for (from, to) in [("vm1-red", "vm2-red"), ("vm2-red", "vm1-blue"), ("vm1", "plain")] {
        let (from, to) = (mixed.workload(from), mixed.workload(to));
        to.take_plain_frames().unwrap();
        for address in to.addresses().ips() {
            traffic::ping(from.namespace(), address, 2, EACH).unwrap();
            let mut capture = Capture::start(to.namespace(), LINK).unwrap();
            traffic::tcp(from.namespace(), to.namespace(), address, 100_000, EACH).unwrap();
            let mut checked = 0;
            for frame in capture.frames().unwrap().iter().filter(|frame| !frame.outgoing) {
                assert!(!frame.checksum_pending, "{} to {}: {frame:?}", from.role(), to.role());
                match geneve::verify_checksums(&frame.bytes) {
                    Ok(()) => checked += 1,
                    Err(error) if error.to_string().contains("checksum is wrong") => {
                        panic!("{} to {}: {error} in {frame:?}", from.role(), to.role())
                    }
                    Err(_) => {}
                }
            }
            assert!(checked > 10, "{} to {}: only {checked} frames", from.role(), to.role());
        }
    }
}

/// ENC-1, ENC-2, ENC-4, ENC-14, ENC-15: both chassis' tunnel packets say the same, field by field.
#[test]
fn the_geneve_header_is_the_same_as_the_stock_chassis_makes_it() {
    let outer = [("/ip/0/ip.ttl", "64"), ("/ip/0/ip.flags_tree/ip.flags.df", "1")];
    both_make_the_same_geneve_header(&start(), &outer);
}

/// Without its checksum a UDP packet of IPv6 is not accepted (RFC 8200, 8.1).
#[test]
fn the_geneve_header_is_the_same_over_an_ipv6_underlay() {
    let outer = [("/ipv6/ipv6.hlim", "64"), ("/ipv6/ipv6.nxt", "17")];
    both_make_the_same_geneve_header(&over(Family::V6), &outer);
}

fn both_make_the_same_geneve_header(mixed: &Mixed, outer: &[(&str, &str)]) {
    let red = mixed.central.datapath_key("red").unwrap();
    let keys = |from: &str, to: &str| OvnKeys {
        ingress: mixed.central.port_key(from).unwrap(),
        egress: mixed.central.port_key(to).unwrap(),
    };
    for (from, to, hypervisor) in
        [("vm1-red", "vm2-red", &mixed.hv1 as &dyn Chassis), ("vm2-red", "vm1-red", &mixed.hv2)]
    {
        let (here, there) = (mixed.workload(from), mixed.workload(to));
        let target = there.addresses().v4;
        traffic::ping(here.namespace(), target.into(), 2, EACH).unwrap();
        let port = hypervisor.namespace().role();
        let mut capture = Capture::start(mixed.underlay.namespace(), port).unwrap();
        traffic::ping(here.namespace(), target.into(), 1, EACH).unwrap();
        let frame = capture
            .wait_for("echo request in Geneve", PATIENCE, |frame| {
                let to_target = |packet: Geneve| packet.inner.get(30..34) == Some(&target.octets());
                !frame.outgoing && Geneve::of_frame(&frame.bytes).is_some_and(to_target)
            })
            .unwrap();
        geneve::verify_checksums(&frame.bytes).unwrap();
        let packet = Geneve::of_frame(&frame.bytes).unwrap();
        assert_eq!(packet, Geneve::ovn(red, keys(from, to), packet.inner.clone()), "{from}");

        let layers = tshark(&frame).unwrap();
        let field = |path: &str| layers.pointer(path).and_then(|v| v.as_str()).unwrap_or("?");
        for (path, value) in outer {
            assert_eq!(field(path), *value, "{path}, {from}: {layers:#}");
        }
        assert_eq!(field("/udp/udp.dstport"), "6081", "{from}");
        assert_eq!(field("/udp/udp.checksum.status"), "1", "{from}: the outer checksum is right");
        assert_eq!(field("/geneve/geneve.vni"), format!("{red:#08x}"), "{from}");
        assert_eq!(field("/geneve/geneve.version"), "0", "{from}");
        assert_eq!(field("/geneve/geneve.proto_type"), "0x6558", "{from}");
        assert_eq!(field("/geneve/geneve.flags_tree/geneve.flags.critical"), "1", "{from}");
        let inner = geneve::verify_checksums(&packet.inner);
        inner.unwrap_or_else(|error| panic!("{from}: {error} inside"));
    }
}

/// ENC-14: the outer source port is the inner flow's, so that the underlay can spread flows.
#[test]
fn one_flow_keeps_its_outer_source_port_and_many_flows_have_many() {
    let mixed = start();
    let (from, to) = (mixed.workload("vm1-red"), mixed.workload("vm2-red"));
    traffic::ping(from.namespace(), to.addresses().v4.into(), 2, EACH).unwrap();
    let mut capture = Capture::start(mixed.underlay.namespace(), "hv1").unwrap();
    let ends = Ends {
        from_mac: from.addresses().mac,
        to_mac: to.addresses().mac,
        from: from.addresses().v4.into(),
        to: to.addresses().v4.into(),
    };
    let wire = PacketSocket::open(from.namespace(), LINK).unwrap();
    let mut outer_ports = BTreeMap::<u16, BTreeSet<u16>>::new();
    for _ in 0..3 {
        for source in 2000..2032 {
            wire.send(&ends.udp(source, 7, b"flow")).unwrap();
            let frame = capture
                .wait_for("the flow in Geneve", PATIENCE, |frame| {
                    Geneve::of_frame(&frame.bytes).is_some_and(|packet| {
                        packet.inner.get(34..36) == Some(&source.to_be_bytes())
                    })
                })
                .unwrap();
            let outer = u16::from_be_bytes([frame.bytes[34], frame.bytes[35]]);
            outer_ports.entry(source).or_default().insert(outer);
        }
    }
    assert!(outer_ports.values().all(|ports| ports.len() == 1), "{outer_ports:?}");
    let different: BTreeSet<_> = outer_ports.values().flatten().collect();
    assert!(different.len() > 16, "{outer_ports:?}");
}
