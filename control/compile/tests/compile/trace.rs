//! A walk through what was compiled ends where `ovn-trace` says that the packet goes.
//!
//! The recording is served by a real ovsdb-server for a real ovn-trace. All its ports are bound to
//! this chassis, because ovn-trace knows no chassis either.

use crate::recorded;
use etherparse::PacketBuilder;
use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_compile::{Compiler, Identity, LocalPort};
use ovn_xdp_datapath::counters::PortCounters;
use ovn_xdp_datapath::field::Context;
use ovn_xdp_datapath::key::{DatapathKey, FlowId, InterfaceId, PortKey};
use ovn_xdp_datapath::observe::{Decision, Lookup, Observer};
use ovn_xdp_datapath::parse::parse;
use ovn_xdp_datapath::pipeline::{Packet, Start, Surroundings, walk};
use ovn_xdp_datapath::publish::{Attachment, Datapath, Generation};
use ovn_xdp_datapath::verdict;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// A server that ends with the test.
struct Server {
    child: Child,
    directory: tempfile::TempDir,
}

impl Server {
    fn new(recording: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR"));
        let fixture = fixture.join(format!("tests/fixtures/{recording}.db"));
        let database = directory.path().join("sb.db");
        std::fs::copy(fixture, &database).unwrap();
        let socket = directory.path().join("sb.sock");
        // It says that it listens by going into the background.
        let pid_file = directory.path().join("pid");
        let child = Command::new("ovsdb-server")
            .arg(format!("--remote=punix:{}", socket.display()))
            .arg(format!("--unixctl={}", directory.path().join("ctl").display()))
            .arg(format!("--pidfile={}", pid_file.display()))
            .args(["--no-chdir", "-vconsole:off", "-vsyslog:off"])
            .arg(&database)
            .stdin(Stdio::null())
            .spawn()
            .expect("ovsdb-server runs: install openvswitch-switch");
        let server = Self { child, directory };
        while !server.socket().exists() {
            std::thread::yield_now();
        }
        server
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("sb.sock")
    }

    /// The ports that ovn-trace outputs a packet to.
    fn trace(&self, microflow: &str) -> BTreeSet<String> {
        let output = Command::new("ovn-trace")
            .arg(format!("--db=unix:{}", self.socket().display()))
            .args(["--minimal", microflow])
            .output()
            .expect("ovn-trace runs: install ovn-central");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{microflow}: {errors}");
        let outputs = text.split("output(\"").skip(1).filter_map(|rest| rest.split('"').next());
        outputs.map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a walk went, and over what.
#[derive(Default, Debug)]
struct Seen {
    delivered: BTreeSet<String>,
    /// An action that this version does not execute ended a branch.
    not_executed: bool,
    steps: Vec<String>,
}

impl Observer for Seen {
    type Place = ();

    fn table(&mut self, (): (), found: Lookup<'_>, _context: &Context) {
        let Lookup { datapath, pipeline, table, rule } = found;
        let priority = rule.map(|rule| (rule.priority(), format!("{:032x}", rule.flow().0)));
        self.steps.push(format!("{} {pipeline:?} {table} {priority:?}", datapath.name));
    }

    fn output(
        &mut self,
        (): (),
        datapath: &Datapath,
        outport: u16,
        decision: Decision,
        _context: &Context,
    ) {
        let port = PortKey::new(outport).and_then(|key| datapath.ports.get(key));
        self.steps.push(format!("{} {outport} {decision:?}", datapath.name));
        if decision == Decision::Deliver {
            self.delivered.extend(port.map(|port| port.name.to_string()));
        }
    }

    fn drop(&mut self, (): (), reason: DropReason, flow: FlowId) {
        self.not_executed |= reason == DropReason::NotExecuted;
        self.steps.push(format!("{reason:?} by {:032x}", flow.0));
    }
}

struct Uncounted;

impl Surroundings for Uncounted {
    fn port(&mut self, _id: (DatapathKey, PortKey)) -> Arc<PortCounters> {
        Arc::default()
    }

    fn dropped(&mut self, reason: DropReason, flow: FlowId) -> Arc<verdict::Drop> {
        Arc::new(verdict::Drop { reason, flow, frames: Arc::default() })
    }

    fn may_send_error(&mut self) -> bool {
        true
    }
}

/// A generation in which every port is on an interface of its own.
fn generation(recording: &str) -> (Arc<Generation>, Vec<(String, Attachment)>) {
    let mut compiler = Compiler::new(Identity { chassis: "hv1".into() });
    let changes = recorded::changes(recording);
    compiler.apply(&changes);
    let names = changes.iter().filter(|change| *change.table == *"Port_Binding");
    let names = names.map(|change| change.new.as_ref().unwrap());
    let vifs = names.filter(|row| row.string("type").unwrap().is_empty());
    for (index, row) in vifs.enumerate() {
        let interface = InterfaceId(index as u32);
        let name = row.string("logical_port").unwrap();
        compiler.set_interface(interface, name);
        compiler.bind(name, Some(LocalPort { interface, tag: None }));
    }
    let generation = compiler.publish();
    let interfaces = generation.interfaces.iter();
    let ports = interfaces.map(|(_, port)| (port.name.clone(), port.vif.unwrap())).collect();
    (generation, ports)
}

/// A small generator: the same packets in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// The first in most cases.
    fn mostly<T>(&mut self, usual: T, other: T) -> T {
        if self.below(6) == 0 { other } else { usual }
    }
}

/// A packet, as bytes and as ovn-trace wants it.
struct Probe {
    inport: String,
    frame: Vec<u8>,
    microflow: String,
}

const SWITCHES: [(&str, u8); 2] = [("left", 0x11), ("right", 0x12)];

fn mac(switch: u8, host: u8) -> [u8; 6] {
    match host {
        0 => [0, 0, 0, 0, 0xff, switch],
        255 => [0xff; 6],
        host => [0, 0, 0, 0, switch, host],
    }
}

/// Networks are named by the digits of the MAC address: 0x11 stands for 10.0.11.0/24.
fn v4(switch: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, (switch >> 4) * 10 + (switch & 15), if host == 0 { 254 } else { host })
}

fn v6(switch: u8, host: u8) -> Ipv6Addr {
    let host = if host == 0 { 0xff } else { host };
    Ipv6Addr::new(0xfd00, switch.into(), 0, 0, 0, 0, 0, host.into())
}

fn text(mac: [u8; 6]) -> String {
    ovn_xdp_compile::mac::format(mac)
}

fn probe(dice: &mut Dice) -> Probe {
    let (name, switch) = dice.pick(&SWITCHES);
    let host = 1 + dice.below(3) as u8;
    let inport = format!("{name}{}", ["a", "b", "c"][usize::from(host) - 1]);
    let spoof = 1 + dice.below(3) as u8;
    let source = mac(switch, dice.mostly(host, spoof));
    let sender = dice.mostly(host, spoof);
    let to_switch = dice.pick(&SWITCHES).1;
    let to = dice.pick(&[0, 1, 2, 3]);
    let local = to_switch == switch;
    let next = dice.mostly(if local { mac(switch, to) } else { mac(switch, 0) }, mac(switch, 9));
    let link = |destination| {
        format!(
            "inport == \"{inport}\" && eth.src == {} && eth.dst == {}",
            text(source),
            text(destination)
        )
    };
    let source_port = 1024 + dice.below(1000) as u16;
    let port = dice.pick(&[22, 80, 443, 1024, 1025, 1500, 2048, 2049, 53]);
    match dice.below(8) {
        0 => arp(&inport, source, v4(switch, sender), v4(to_switch, to), &link([0xff; 6])),
        kind @ 1..=4 => {
            // ovn-trace does not read Static_MAC_Binding, so 10.0.12.78 is not among them.
            let elsewhere = [
                Ipv4Addr::new(10, 9, 1, 1),
                Ipv4Addr::new(10, 0, 12, 77),
                Ipv4Addr::new(8, 8, 8, 8),
            ];
            let from = v4(switch, sender);
            let (target, next) = if dice.below(5) == 0 {
                (dice.pick(&elsewhere), mac(switch, 0))
            } else {
                (v4(to_switch, to), next)
            };
            let start =
                PacketBuilder::ethernet2(source, next).ipv4(from.octets(), target.octets(), 64);
            let network = format!(
                "{} && ip4.src == {from} && ip4.dst == {target} && ip.ttl == 64",
                link(next)
            );
            finish(inport, kind, network, start, (source_port, port), "icmp4")
        }
        kind => {
            let (from, target) = (v6(switch, sender), v6(to_switch, to));
            let start =
                PacketBuilder::ethernet2(source, next).ipv6(from.octets(), target.octets(), 64);
            let network = format!(
                "{} && ip6.src == {from} && ip6.dst == {target} && ip.ttl == 64",
                link(next)
            );
            finish(inport, kind, network, start, (source_port, port), "icmp6")
        }
    }
}

fn finish(
    inport: String,
    kind: usize,
    network: String,
    start: etherparse::PacketBuilderStep<etherparse::IpHeaders>,
    (from, to): (u16, u16),
    icmp: &str,
) -> Probe {
    let mut frame = Vec::new();
    let microflow = match kind {
        1 | 2 | 5 => {
            start.tcp(from, to, 1, 1000).syn().write(&mut frame, &[]).unwrap();
            format!("{network} && tcp.src == {from} && tcp.dst == {to} && tcp.flags == 2")
        }
        3 | 6 => {
            start.udp(from, to).write(&mut frame, &[1, 2, 3]).unwrap();
            format!("{network} && udp.src == {from} && udp.dst == {to}")
        }
        _ if icmp == "icmp4" => {
            start.icmpv4_echo_request(1, 1).write(&mut frame, &[]).unwrap();
            format!("{network} && icmp4.type == 8 && icmp4.code == 0")
        }
        _ => {
            start.icmpv6_echo_request(1, 1).write(&mut frame, &[]).unwrap();
            format!("{network} && icmp6.type == 128 && icmp6.code == 0")
        }
    };
    Probe { inport, frame, microflow }
}

fn arp(inport: &str, source: [u8; 6], from: Ipv4Addr, target: Ipv4Addr, link: &str) -> Probe {
    let mut frame = vec![0xff; 6];
    frame.extend(source);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(source);
    frame.extend(from.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame.resize(60, 0);
    let microflow = format!(
        "{link} && arp.op == 1 && arp.sha == {} && arp.spa == {from} && arp.tpa == {target}",
        text(source)
    );
    Probe { inport: inport.to_owned(), frame, microflow }
}

#[test]
fn packets_go_where_ovn_trace_says_that_they_go() {
    let server = Server::new("stateless");
    let (generation, ports) = generation("stateless");
    let mut dice = Dice(7);
    let mut delivered = 0;
    for _ in 0..300 {
        let probe = probe(&mut dice);
        let (_, port) = *ports.iter().find(|(name, _)| *name == probe.inport).as_ref().unwrap();
        let interface = generation.interfaces.iter().find(|(_, i)| i.name == probe.inport).unwrap();
        let parsed = parse(&probe.frame, probe.frame.len(), None).unwrap();
        let packet = Packet {
            head: &probe.frame,
            parsed: &parsed,
            wire_len: probe.frame.len() as u32,
            hash: 1,
        };
        let start = Start::Ingress { interface: interface.0, port: *port, nested: false };
        let mut seen = Seen::default();
        walk(&generation, start, packet, Uncounted, &mut seen);
        // ARP requests for unknown neighbours and ICMP errors are not made yet.
        if seen.not_executed {
            continue;
        }
        let expected = server.trace(&probe.microflow);
        assert_eq!(seen.delivered, expected, "{}\n{}", probe.microflow, seen.steps.join("\n"));
        delivered += usize::from(!expected.is_empty());
    }
    assert!((60..280).contains(&delivered), "{delivered} of 300 packets arrive: a poor mixture");
}
