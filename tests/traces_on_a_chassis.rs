//! `ovn-xdp trace --live` tells what the running chassis does with a packet, to the last byte of the
//! frames that leave it, and the chassis takes no notice of the question.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ovn_xdp_kit::capture::Capture;
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::geneve::{Geneve, OvnKeys, verify_checksums};
use ovn_xdp_kit::lab::{LabOptions, Mixed};
use ovn_xdp_kit::link::{self, Mac, Underlay};
use ovn_xdp_kit::packet::{Frame, PacketSocket};
use ovn_xdp_kit::raw::{Ends, tagged};
use ovn_xdp_kit::topology::{PORTS, Place, Port};
use ovn_xdp_kit::wait::{self, PATIENCE};
use ovn_xdp_kit::workload::{Addresses, LINK};
use ovn_xdp_kit::{process, traffic};
use serde_json::Value;

fn start() -> Mixed {
    let mixed =
        Mixed::start(Path::new(env!("CARGO_BIN_EXE_ovn-xdp")), LabOptions::default()).unwrap();
    mixed.hv1.wait_for_tunnels(1).unwrap();
    mixed
}

fn trace(mixed: &Mixed, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovn-xdp"));
    command.args(["trace", "--live", "--socket"]).arg(mixed.hv1.socket()).args(arguments);
    process::run(&mut command).unwrap()
}

fn outcome(mixed: &Mixed, arguments: &[&str]) -> Value {
    let arguments = [&["--json"], arguments].concat();
    serde_json::from_str(&trace(mixed, &arguments)).unwrap()
}

fn port(name: &str) -> &'static Port {
    PORTS.iter().find(|port| port.name == name).unwrap()
}

/// The ends of a packet between two ports, by the router if they are not of one switch.
fn ends(from: &str, to: &str, v6: bool) -> Ends {
    let (from, to) = (port(from), port(to));
    let (source, target) = (from.addresses(), to.addresses());
    let direct = from.network.0 == to.network.0;
    let to_mac = if direct { target.mac } else { Addresses::router(from.network.0).mac };
    let (source_ip, target_ip): (IpAddr, IpAddr) = if v6 {
        (source.v6.into(), target.v6.into())
    } else {
        (source.v4.into(), target.v4.into())
    };
    Ends { from_mac: source.mac, to_mac, from: source_ip, to: target_ip }
}

fn microflow(from: &str, ends: &Ends, payload: &str) -> String {
    let ip = if ends.from.is_ipv4() { "ip4" } else { "ip6" };
    format!(
        "inport == \"{from}\" && eth.src == {} && eth.dst == {} && {ip}.src == {} && {ip}.dst == {} \
         && ip.ttl == 64 && {payload}",
        ends.from_mac, ends.to_mac, ends.from, ends.to
    )
}

fn bytes(digits: &Value) -> Vec<u8> {
    let digits = digits.as_str().unwrap();
    let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(pair).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `show` counts of drops.
fn counts(mixed: &Mixed) -> Value {
    let show = mixed.hv1.show().unwrap();
    serde_json::json!({ "drops": show["drops"], "flows": show["flows"] })
}

#[test]
fn the_frame_that_a_trace_ends_with_is_the_one_on_the_wire() {
    let mixed = start();
    // The stock chassis loses what comes before it knows its neighbour.
    let (from, to) = (mixed.workload("vm1-red"), mixed.workload("vm2-red"));
    traffic::ping(from.namespace(), to.addresses().v4.into(), 3, PATIENCE).unwrap();
    let wire = PacketSocket::open(mixed.workload("vm1").namespace(), LINK).unwrap();
    let mut underlay = Capture::start(mixed.hv2.namespace(), Underlay::LINK).unwrap();
    let mut here = Capture::start(mixed.workload("vm1").namespace(), LINK).unwrap();
    let next_hop = link::mac_of(mixed.hv2.namespace(), Underlay::LINK).unwrap();
    let payloads = |v6: bool| {
        let echo = if v6 { "icmp6.type == 128" } else { "icmp4.type == 8" };
        [
            "udp.src == 4001 && udp.dst == 81",
            "tcp.src == 4002 && tcp.dst == 82 && tcp.flags == 2",
            echo,
        ]
    };
    for (from, to) in [
        ("vm1-red", "vm2-red"),
        ("vm1", "plain"),
        ("vm1-blue", "vm2-red"),
        ("vm1-blue", "vm1-red"),
        ("vm1-red", "vm1"),
    ] {
        for (v6, payload) in [false, true].into_iter().flat_map(|v6| payloads(v6).map(|p| (v6, p)))
        {
            let microflow = microflow(from, &ends(from, to, v6), payload);
            let outcome = outcome(&mixed, &[&microflow]);
            let [sent] = &outcome["frames"].as_array().unwrap()[..] else {
                panic!("one frame: {outcome:#}");
            };
            let (entering, leaving) = (bytes(&outcome["frame"]), bytes(&sent["frame"]));
            wire.send(&entering).unwrap();
            let patience = Duration::from_secs(5);
            let capture = match port(to).place {
                Place::Plugged(1) | Place::Nested("vm2", _) => {
                    let destination = &sent["to"]["chassis"];
                    assert_eq!(destination["name"], "hv2", "{outcome:#}");
                    assert_eq!(destination["local"], mixed.hv1.tunnel_address().to_string());
                    assert_eq!(destination["remote"], mixed.hv2.tunnel_address().to_string());
                    assert_eq!(destination["next_hop"], next_hop.to_string());
                    let geneve = Geneve::of_frame(&leaving).unwrap();
                    let keys = geneve.ovn_keys().unwrap();
                    let said = format!(
                        "geneve,vni={},ingress={},egress={}",
                        geneve.vni, keys.ingress, keys.egress
                    );
                    assert_eq!(sent["headers"][1], said);
                    verify_checksums(&leaving).unwrap();
                    verify_checksums(&geneve.inner).unwrap();
                    &mut underlay
                }
                Place::Plugged(_) | Place::Nested(..) => {
                    let destination = &sent["to"]["port"];
                    let tag = match port(to).place {
                        Place::Nested(_, tag) => Value::from(tag),
                        Place::Plugged(_) => Value::Null,
                    };
                    assert_eq!((&destination["name"], &destination["tag"]), (&to.into(), &tag));
                    verify_checksums(&leaving).unwrap();
                    &mut here
                }
            };
            let found = capture.wait_for("the traced frame", patience, |frame| {
                !frame.outgoing && frame.bytes == leaving
            });
            found.unwrap_or_else(|error| panic!("{microflow}\n{outcome:#}\n{error:#}"));
        }
    }
}

#[test]
fn a_frame_that_came_by_a_tunnel_is_traced_to_what_the_workloads_get() {
    let mixed = start();
    let (from, to) = (mixed.workload("vm2-red"), mixed.workload("vm1-red"));
    traffic::ping(from.namespace(), to.addresses().v4.into(), 3, PATIENCE).unwrap();
    let wire = PacketSocket::open(mixed.workload("vm2").namespace(), LINK).unwrap();
    let mut underlay = Capture::start(mixed.hv2.namespace(), Underlay::LINK).unwrap();
    let mut here = Capture::start(mixed.workload("vm1").namespace(), LINK).unwrap();
    let patience = Duration::from_secs(5);
    let pairs =
        [("vm2-red", "vm1-red"), ("vm2", "vm1-blue"), ("vm2", "vm1"), ("vm2-red", "vm1-blue")];
    for (number, (from, to)) in pairs.into_iter().enumerate() {
        for v6 in [false, true] {
            let ends = ends(from, to, v6);
            let payload = format!("by a tunnel, {number} {v6}");
            let holds =
                |bytes: &[u8]| bytes.windows(payload.len()).any(|part| part == payload.as_bytes());
            let frame = ends.udp(4001, 81, payload.as_bytes());
            wire.send(&match port(from).place {
                Place::Nested(_, tag) => tagged(&frame, &[tag]),
                Place::Plugged(_) => frame,
            })
            .unwrap();
            let outer = underlay.wait_for("the tunnelled frame", patience, |frame| {
                frame.outgoing && holds(&frame.bytes)
            });
            let outer = outer.unwrap_or_else(|error| panic!("{from} {to} {v6}: {error:#}")).bytes;
            let delivered = here.wait_for("the delivered frame", patience, |frame| {
                !frame.outgoing && holds(&frame.bytes)
            });
            let delivered = delivered.unwrap().bytes;
            let outcome = outcome(&mixed, &["--frame", &hexadecimal(&outer), Underlay::LINK]);
            let [sent] = &outcome["frames"].as_array().unwrap()[..] else {
                panic!("one frame: {outcome:#}");
            };
            assert_eq!(bytes(&sent["frame"]), delivered, "{outcome:#}");
            assert_eq!(
                (&outcome["from"], &sent["to"]["port"]["name"]),
                (&"hv2".into(), &to.into())
            );
            // What ovn-trace says from the same point on.
            if port(from).network.0 == port(to).network.0 {
                let microflow = microflow(from, &ends, "udp.src == 4001 && udp.dst == 81");
                let mut command = Command::new("ovn-trace");
                command.arg(format!("--db={}", mixed.central.remote())).arg(microflow);
                let whole = process::run(&mut command).unwrap();
                let egress = whole.find("egress(dp=").map(|at| &whole[at..]).unwrap();
                let ours = outcome["trace"].as_str().unwrap();
                assert_eq!(ours.split_once("\n\n").unwrap().1, egress);
            }
        }
    }
    // For all of a network: each member here.
    let everybody = Ends { to_mac: Mac([0xff; 6]), ..ends("vm2-red", "vm1-red", false) };
    let Place::Nested(_, tag) = port("vm2-red").place else { panic!("vm2-red is a container") };
    wire.send(&tagged(&everybody.udp(1, 2, b"to all of us"), &[tag])).unwrap();
    let holds = |bytes: &[u8]| bytes.windows(12).any(|part| part == b"to all of us");
    let outer = underlay
        .wait_for("the tunnelled frame", patience, |frame| frame.outgoing && holds(&frame.bytes));
    let outer = outer.unwrap().bytes;
    let outcome = outcome(&mixed, &["--frame", &hexadecimal(&outer), Underlay::LINK]);
    let frames = outcome["frames"].as_array().unwrap();
    assert_eq!(frames.len(), 2, "{outcome:#}");
    for sent in frames {
        let expected = bytes(&sent["frame"]);
        let same = |frame: &Frame| !frame.outgoing && frame.bytes == expected;
        here.wait_for("the traced frame", patience, same).unwrap();
    }
    // What is dropped is told with its reason, as it is counted.
    let good = Geneve::of_frame(&outer).unwrap();
    let keys = good.ovn_keys().unwrap();
    let remote: IpAddr = mixed.hv2.tunnel_address();
    let stranger = "192.0.2.200".parse().unwrap();
    for (reason, from, geneve) in [
        ("unknown-peer", stranger, good.clone()),
        ("unknown-vni", remote, Geneve { vni: 9999, ..good.clone() }),
        (
            "bad-tunnel-key",
            remote,
            Geneve::ovn(good.vni, OvnKeys { egress: 999, ..keys }, good.inner.clone()),
        ),
    ] {
        let macs = (Mac(outer[6..12].try_into().unwrap()), Mac(outer[..6].try_into().unwrap()));
        let ends = Ends { from_mac: macs.0, to_mac: macs.1, from, to: mixed.hv1.tunnel_address() };
        let digits = hexadecimal(&ends.geneve(&geneve));
        let outcome = self::outcome(&mixed, &["--frame", &digits, Underlay::LINK]);
        assert_eq!(outcome["drop"]["reason"], reason, "{outcome:#}");
    }
}

fn ovn_trace(mixed: &Mixed, microflow: &str) -> String {
    let mut command = Command::new("ovn-trace");
    command.arg(format!("--db={}", mixed.central.remote())).args(["--all", microflow]);
    process::run(&mut command).unwrap()
}

#[test]
fn a_local_trace_says_what_ovn_trace_says_before_it_goes_on() {
    let mixed = start();
    for (from, to) in [("vm1-blue", "vm1-red"), ("vm1-red", "vm1")] {
        for v6 in [false, true] {
            let microflow =
                microflow(from, &ends(from, to, v6), "udp.src == 4001 && udp.dst == 81");
            let answer = trace(&mixed, &["--all", &microflow]);
            let (logical, rest) = answer.split_once("\n# Chassis \"hv1\"").unwrap();
            assert_eq!(logical, ovn_trace(&mixed, &microflow));
            assert!(rest.contains(&format!("to port \"{to}\", interface \"vm1\"")), "{rest}");
            // As an operator of OVS would ask.
            let mut appctl = Command::new("ovs-appctl");
            appctl.arg("-t").arg(mixed.hv1.socket()).args(["trace", "--all", &microflow]);
            assert_eq!(process::run(&mut appctl).unwrap(), answer);
        }
    }
    // A packet that is in a router already.
    let within = Ends { to_mac: Addresses::router(1).mac, ..ends("vm2-red", "vm1-blue", false) };
    let microflow = self::microflow("router-red", &within, "icmp4.type == 8");
    let answer = trace(&mixed, &["--all", &microflow]);
    let (logical, _) = answer.split_once("\n# Chassis \"hv1\"").unwrap();
    assert_eq!(logical, ovn_trace(&mixed, &microflow));
    assert!(answer.contains("to port \"vm1-blue\", interface \"vm1\", tag 102"), "{answer}");
    // What another chassis will do is left to it.
    let microflow =
        self::microflow("vm1-red", &ends("vm1-red", "vm2-red", false), "icmp4.type == 8");
    let answer = trace(&mixed, &[&microflow]);
    assert!(answer.contains("by tunnel to chassis \"hv2\", which goes on"), "{answer}");
    assert!(!answer.contains("egress(dp="), "{answer}");
}

#[test]
fn a_frame_for_all_is_traced_to_each_member_here_and_once_to_each_chassis() {
    let mixed = start();
    let (from, to) = (mixed.workload("vm1-red"), mixed.workload("vm2-red"));
    traffic::ping(from.namespace(), to.addresses().v4.into(), 3, PATIENCE).unwrap();
    let mut underlay = Capture::start(mixed.hv2.namespace(), Underlay::LINK).unwrap();
    let mut here = Capture::start(mixed.workload("vm1").namespace(), LINK).unwrap();
    let wire = PacketSocket::open(mixed.workload("vm1").namespace(), LINK).unwrap();
    let everybody = Ends { to_mac: Mac([0xff; 6]), ..ends("vm1-red", "vm2-red", false) };
    let frame = hexadecimal(&everybody.udp(1, 2, b"to all"));
    let outcome = outcome(&mixed, &["--frame", &frame, "vm1-red"]);
    let text = outcome["trace"].as_str().unwrap();
    for part in [
        "multicast(dp=\"red\", mcgroup=\"_MC_flood\")",
        "egress(dp=\"red\", inport=\"vm1-red\", outport=\"vm1\")",
        "ingress(dp=\"router\", inport=\"router-red\")",
        "/* omitting output because inport == outport && !flags.loopback */",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let frames = outcome["frames"].as_array().unwrap();
    let chassis = frames.iter().filter_map(|sent| sent["to"]["chassis"]["name"].as_str());
    let ports = frames.iter().filter_map(|sent| sent["to"]["port"]["name"].as_str());
    assert_eq!((Vec::from_iter(chassis), Vec::from_iter(ports)), (vec!["hv2"], vec!["vm1"]));
    wire.send(&bytes(&outcome["frame"])).unwrap();
    for sent in frames {
        let expected = bytes(&sent["frame"]);
        let capture = if sent["to"]["chassis"].is_object() { &mut underlay } else { &mut here };
        let same = |frame: &Frame| !frame.outgoing && frame.bytes == expected;
        capture.wait_for("the traced frame", Duration::from_secs(5), same).unwrap();
    }
}

#[test]
fn a_drop_names_the_flow_that_the_daemon_counts_it_under() {
    let mixed = start();
    let matching = "outport == \"vm1-red\" && udp.dst == 83";
    mixed.central.nbctl(&["acl-add", "red", "to-lport", "1000", matching, "drop"]).unwrap();
    mixed.central.sync_chassis().unwrap();
    let wire = PacketSocket::open(mixed.workload("vm1").namespace(), LINK).unwrap();
    let honest = ends("vm1-blue", "vm1-red", false);
    let spoofed = Ends { from_mac: Mac([2, 9, 9, 9, 9, 9]), ..honest };
    let frames = [
        ("vm1-blue", honest.udp(7, 83, b"to an ACL"), 102),
        ("vm1-blue", spoofed.udp(7, 80, b"of another"), 102),
        ("vm1", tagged(&honest.udp(7, 80, b"no tag of vm1"), &[999]), 0),
    ];
    for (from, frame, tag) in frames {
        let on_the_wire = if tag == 0 { frame.clone() } else { tagged(&frame, &[tag]) };
        let digits = hexadecimal(&frame);
        let outcome = outcome(&mixed, &["--frame", &digits, from]);
        assert_eq!(outcome["frames"], Value::Array(Vec::new()), "{outcome:#}");
        assert_eq!(outcome["frame"], hexadecimal(&on_the_wire).as_str());
        let drop = &outcome["drop"];
        let flow = drop["flow"]["uuid"].as_str().unwrap();
        let row = mixed.central.sbctl(&["get", "Logical_Flow", flow, "match"]).unwrap();
        let matches = drop["flow"]["match"].as_str().unwrap().replace('"', "\\\"");
        assert!(row.contains(&matches), "{row} is not {matches}");
        assert!(drop["flow"]["stage"].as_str().is_some_and(|stage| stage.contains("_")));
        let dropped = || {
            let show = mixed.hv1.show().unwrap();
            let flows = show["flows"].as_array().unwrap().clone();
            let this = flows.iter().find(|it| it["uuid"] == flow && it["reason"] == drop["reason"]);
            this.map_or(0, |it| it["frames"].as_u64().unwrap())
        };
        let before = dropped();
        (0..3).for_each(|_| wire.send(&on_the_wire).unwrap());
        wait::until("the drops to be counted under that flow", PATIENCE, || {
            match dropped() >= before + 3 {
                true => Ok(()),
                false => Err(format!("{outcome:#}\n{:#}", mixed.hv1.show().unwrap())),
            }
        })
        .unwrap();
        // The same frame, as a capture on the interface has it.
        let captured = self::outcome(&mixed, &["--frame", &hexadecimal(&on_the_wire), "vm1"]);
        assert_eq!(captured["drop"], outcome["drop"]);
    }
}

/// A host behind vm1-blue that northd knows nothing of.
const GUEST: (Mac, Ipv4Addr) = (Mac([2, 0, 0, 0, 2, 99]), Ipv4Addr::new(10, 0, 2, 99));

#[test]
fn what_the_chassis_has_learned_is_used_and_a_trace_teaches_it_nothing() {
    let mixed = start();
    let known = port("vm1-blue").addresses().words();
    let words = ["lsp-set-port-security", "vm1-blue", "--", "lsp-set-addresses", "vm1-blue"];
    mixed.central.nbctl(&[&words[..], &[&known, "unknown"]].concat()).unwrap();
    mixed.central.sync_chassis().unwrap();
    let router = Addresses::router(2);
    let told =
        Ends { from_mac: GUEST.0, to_mac: router.mac, from: GUEST.1.into(), to: router.v4.into() };
    let mut told = told.arp().unwrap();
    // An answer to the router, which learns from those.
    told[..6].copy_from_slice(&router.mac.0);
    told[21] = 2;
    told[32..38].copy_from_slice(&router.mac.0);
    let to_guest = Ends { to: GUEST.1.into(), ..ends("vm1", "vm2", false) };
    let microflow = microflow("vm1", &to_guest, "udp.src == 1 && udp.dst == 2");

    let (mut unknown, mut taught) = (Value::Null, Value::Null);
    // A guest may send something of its own meanwhile; what a trace counts, each trace counts.
    wait::until("two traces that nothing is counted for", PATIENCE, || {
        let before = counts(&mixed);
        unknown = outcome(&mixed, &[&microflow]);
        taught = outcome(&mixed, &["--frame", &hexadecimal(&told), "vm1-blue"]);
        match (before, counts(&mixed)) {
            (before, after) if before == after => Ok(()),
            (before, after) => Err(format!("{before:#}\nbecame {after:#}")),
        }
    })
    .unwrap();
    assert!(unknown["trace"].as_str().unwrap().contains("/* No MAC binding. */"), "{unknown:#}");
    assert_eq!(unknown["drop"]["reason"], "action-not-executed", "{unknown:#}");
    let learns: BTreeSet<&str> =
        taught["learns"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let fact = format!("{} is at {} on port \"router-blue\"", GUEST.1, GUEST.0);
    assert!(learns.contains(&*fact), "{taught:#}");
    mixed.central.sync_chassis().unwrap();
    assert_eq!(outcome(&mixed, &[&microflow])["drop"], unknown["drop"]);
    assert_eq!(mixed.central.sb("--bare --columns=ip list MAC_Binding").unwrap().trim(), "");

    let wire = PacketSocket::open(mixed.workload("vm1").namespace(), LINK).unwrap();
    let mut here = Capture::start(mixed.workload("vm1").namespace(), LINK).unwrap();
    wire.send(&tagged(&told, &[102])).unwrap();
    let mut found = Value::Null;
    wait::until("the neighbour to be known to a trace", PATIENCE, || {
        found = outcome(&mixed, &[&microflow]);
        match found["frames"].as_array().map(Vec::len) {
            Some(1) => Ok(()),
            _ => Err(format!("{found:#}")),
        }
    })
    .unwrap();
    let text = found["trace"].as_str().unwrap();
    assert!(text.contains(&format!("/* MAC binding to {}. */", GUEST.0)), "{text}");
    let leaving = bytes(&found["frames"][0]["frame"]);
    assert_eq!(&leaving[..6], GUEST.0.0);
    wire.send(&bytes(&found["frame"])).unwrap();
    let seen = |frame: &Frame| !frame.outgoing && frame.bytes == leaving;
    here.wait_for("the traced frame", Duration::from_secs(5), seen).unwrap();
}

#[test]
fn connections_are_as_the_chassis_has_them_unless_the_question_says_otherwise() {
    let mixed = start();
    let matching = "outport == \"vm1\" && ip4";
    mixed
        .central
        .nbctl(&["acl-add", "red", "to-lport", "1000", matching, "allow-related"])
        .unwrap();
    mixed.central.sync_chassis().unwrap();
    let microflow =
        microflow("vm1-red", &ends("vm1-red", "vm1", false), "udp.src == 1 && udp.dst == 2");
    let as_it_is = outcome(&mixed, &[&microflow]);
    assert_eq!(as_it_is["drop"]["reason"], "action-not-executed", "{as_it_is:#}");
    let assumed = outcome(&mixed, &["--ct=new", "--ct=new", &microflow]);
    assert_eq!(assumed["frames"][0]["to"]["port"]["name"], "vm1", "{assumed:#}");
    assert!(
        assumed["trace"].as_str().unwrap().contains("ct_next(ct_state=new|trk)"),
        "{assumed:#}"
    );
}

#[test]
fn a_question_that_cannot_be_answered_says_why() {
    let mixed = start();
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovn-xdp"));
        command.args(["trace", "--live", "--socket"]).arg(mixed.hv1.socket()).args(arguments);
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for (arguments, expected) in [
        (&["inport == \"vm2\" && ip4"][..], "\"vm2\" is not on this chassis, but on \"hv2\""),
        (&["inport == \"nobody\" && ip4"], "unknown port \"nobody\""),
        (&["inport == \"vm1\" && reg0 == 7 && ip4"], "no frame has these fields"),
        (&["inport == \"vm1\" && ip4 &&"], "error parsing flow"),
        (&["--frame", "0123", "vm1"], "expected a frame in hexadecimal digits"),
        (&["--frame", &"00".repeat(60), "nobody"], "unknown port \"nobody\""),
        (
            &["--ct=often", "inport == \"vm1\" && ip4"],
            "often: unknown connection tracking state flag",
        ),
    ] {
        let said = ask(arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
