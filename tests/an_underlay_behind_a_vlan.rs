//! A tunnel address on a VLAN device of the host: Geneve goes tagged over the wire, and the stock
//! chassis at the other end, behind an access port, is reached.
//!
//! The VLAN device is a stand-in where the kernel has none: an eBPF program gives and takes the tag, and
//! a macvlan device stands on it, which like a VLAN device has no XDP of its own.

use std::path::Path;
use std::time::Duration;

use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_kit::capture::Capture;
use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::geneve::Geneve;
use ovn_xdp_kit::link::{self, Underlay, veth};
use ovn_xdp_kit::namespace::Namespace;
use ovn_xdp_kit::raw;
use ovn_xdp_kit::stock::{Ports, StockChassis, StockOptions};
use ovn_xdp_kit::topology::{self, PORTS, Workloads};
use ovn_xdp_kit::traffic;
use ovn_xdp_kit::xdp_chassis::{XdpChassis, XdpOptions};
use ovn_xdp_port::nested::Nested;

const TAG: u16 = 100;
const EACH: Duration = Duration::from_secs(5);

/// Frames of `inner` leave by `link` tagged, and those that come with the tag arrive at it.
fn tags(host: &Namespace, link: &str, inner: &str) -> Nested {
    host.sysctl(&format!("net/ipv4/conf/{inner}/arp_ignore"), "8").unwrap();
    let attach = || {
        let mut nested = Nested::attach(link)?;
        nested.add(inner, VlanHeader { tpid: 0x8100, tci: TAG })?;
        Ok::<_, anyhow::Error>(nested)
    };
    host.enter(attach).unwrap().unwrap()
}

#[test]
fn a_stock_chassis_is_reached_over_a_tagged_wire() {
    let central = Central::new(Southbound::Standalone).unwrap();
    topology::build(&central).unwrap();
    let underlay = Underlay::new(1500).unwrap();
    let remote = central.remote();
    let options = XdpOptions::hv1(Path::new(env!("CARGO_BIN_EXE_ovn-xdp")), &remote);
    let mut hv1 = XdpChassis::prepare(&underlay, options).unwrap();

    // The host's end: the address moves to the VLAN device.
    let host = hv1.namespace();
    host.ip(&format!("address del 192.0.2.1/24 dev {}", Underlay::LINK)).unwrap();
    veth((host, "outer"), (host, "inner")).unwrap();
    host.ip("link add link outer name vlan100 type macvlan mode private").unwrap();
    host.ip("link set dev vlan100 up").unwrap();
    link::address(host, "vlan100", [192, 0, 2, 1].into(), 24).unwrap();
    let _tagged = tags(host, Underlay::LINK, "inner");
    // The switch's end: an access port.
    let switch = underlay.namespace();
    switch.ip("link set dev hv1 nomaster").unwrap();
    veth((switch, "access"), (switch, "trunk")).unwrap();
    switch.ip("link set dev access master br0").unwrap();
    let _access = tags(switch, "hv1", "trunk");

    let ports = Ports::Packet;
    let address = ([192, 0, 2, 2].into(), 24);
    let stock = StockOptions { name: "hv2", remote: &remote, address, ports, core: None };
    let mut hv2 = StockChassis::new(&underlay, stock).unwrap();
    let workloads = Workloads::start([&mut hv1, &mut hv2], topology::MTU).unwrap();
    hv1.start().unwrap();
    central.wait_up(PORTS.iter().map(|port| port.name)).unwrap();
    central.sync_chassis().unwrap();
    hv1.wait_for_tunnels(1).unwrap();

    let [here, there] = ["vm1-red", "vm2-red"].map(|name| workloads.get(name).unwrap());
    // The first packet is lost to the stock tunnel's own ARP.
    traffic::ping(there.namespace(), here.addresses().v4.into(), 2, EACH).unwrap();
    let mut wire = Capture::start(switch, "hv1").unwrap();
    for (from, to) in [(here, there), (there, here)] {
        for address in to.addresses().ips() {
            let pings = traffic::ping(from.namespace(), address, 3, EACH).unwrap();
            assert_eq!(pings.sent, pings.received, "{}", hv1.account());
            traffic::tcp(from.namespace(), to.namespace(), address, 1 << 20, EACH).unwrap();
        }
    }
    let frames = wire.frames().unwrap();
    let tunnelled = |outgoing: bool| {
        let ours = frames.iter().filter(|frame| {
            let inside = [&frame.bytes[..12], &frame.bytes[16..]].concat();
            frame.outgoing == outgoing
                && raw::tag(&frame.bytes) == Some(TAG)
                && Geneve::of_frame(&inside).is_some()
        });
        ours.count()
    };
    assert!(tunnelled(true) > 100 && tunnelled(false) > 100, "tagged Geneve, both ways");
}
