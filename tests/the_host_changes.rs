//! What an operator does to a host's links, addresses and neighbours under a running chassis: the
//! tunnels follow, and nobody restarts anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use ovn_xdp_kit::capture::Capture;
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::lab::{Family, LabOptions, Ours};
use ovn_xdp_kit::link::{Mac, Underlay, address, mac, mac_of, veth};
use ovn_xdp_kit::namespace::Namespace;
use ovn_xdp_kit::packet::PacketSocket;
use ovn_xdp_kit::process;
use ovn_xdp_kit::raw::Ends;
use ovn_xdp_kit::topology::{self, CHASSIS, CHASSIS_V6, PORTS, Workloads};
use ovn_xdp_kit::traffic;
use ovn_xdp_kit::wait::{self, PATIENCE};
use ovn_xdp_kit::workload::LINK;
use ovn_xdp_kit::xdp_chassis::{XdpChassis, XdpOptions};

const EACH: Duration = Duration::from_millis(500);

/// Removed from top to bottom.
struct Lab {
    workloads: Workloads,
    hypervisors: [XdpChassis; 2],
    underlay: Underlay,
    _directory: tempfile::TempDir,
}

impl Lab {
    /// Two chassis of ours on the database that the demo has.
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/recorded/southbound.db");
        let file = directory.path().join("southbound.db");
        std::fs::copy(recorded, &file).unwrap();
        let remote = format!("file:{}", file.display());
        let underlay = Underlay::new(1500).unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_ovn-xdp"));
        let chassis = |(name, address): (&'static str, [u8; 4])| {
            let address = (IpAddr::from(address), 24);
            let remote = &remote;
            let options =
                XdpOptions { binary, name, remote, address, identity: None, settings: "" };
            XdpChassis::prepare(&underlay, options).unwrap()
        };
        let mut hypervisors = CHASSIS.map(chassis);
        let [hv1, hv2] = &mut hypervisors;
        let workloads = Workloads::start([hv1, hv2], topology::MTU).unwrap();
        for hypervisor in &mut hypervisors {
            hypervisor.start().unwrap();
        }
        let lab = Self { workloads, hypervisors, underlay, _directory: directory };
        lab.reaches("after the start");
        lab
    }

    fn ip(&self, chassis: usize, arguments: &str) {
        self.hypervisors[chassis].namespace().ip(arguments).unwrap();
    }

    fn reaches(&self, when: &str) {
        reaches(&self.workloads, &self.hypervisors[0], when);
    }

    fn tunnel_waits(&self, chassis: usize) {
        wait::until("the tunnel to have no next hop", PATIENCE, || {
            let show = self.hypervisors[chassis].show().map_err(|error| format!("{error:#}"))?;
            match show["tunnels"][0]["next_hop"].is_null() {
                true => Ok(()),
                false => Err(format!("{show:#}")),
            }
        })
        .unwrap();
    }
}

/// Waits until a VM of one chassis reaches a VM of the other again, both ways.
fn reaches(workloads: &Workloads, chassis: &XdpChassis, when: &str) {
    for (from, to) in [("vm1", "vm2"), ("vm2", "vm1")] {
        let from = workloads.get(from).unwrap();
        let target: Ipv4Addr = workloads.get(to).unwrap().addresses().v4;
        wait::until(&format!("{} to reach {to} {when}", from.role()), PATIENCE, || {
            let pings = traffic::ping(from.namespace(), target.into(), 1, EACH);
            match pings.map_err(|error| format!("{error:#}"))?.received {
                1 => Ok(()),
                _ => Err(format!("{:#}", chassis.show().unwrap_or_default())),
            }
        })
        .unwrap();
    }
}

/// Waits until the tunnel has this next hop, or goes by this interface.
fn goes_by(chassis: &XdpChassis, what: &str, wanted: &str) {
    wait::until(what, PATIENCE, || {
        let show = chassis.show().map_err(|error| format!("{error:#}"))?;
        let tunnel = &show["tunnels"][0];
        match [&tunnel["next_hop"], &tunnel["interface"]].iter().any(|it| **it == *wanted) {
            true => Ok(()),
            false => Err(format!("{tunnel:#}")),
        }
    })
    .unwrap();
}

#[test]
fn tunnels_follow_the_underlays_links_addresses_routes_and_neighbours() {
    let lab = Lab::start();
    let link = Underlay::LINK;

    mac(lab.hypervisors[1].namespace(), link, Mac([2, 0xee, 0, 0, 0, 7])).unwrap();
    lab.ip(1, &format!("link set dev {link} down"));
    lab.ip(1, &format!("link set dev {link} up"));
    lab.reaches("after its NIC got another MAC address");

    lab.ip(0, "neigh flush all");
    // The daemon may have asked for it again by now, or not.
    let _ = lab.hypervisors[0].namespace().ip(&format!("neigh del 192.0.2.2 dev {link}"));
    lab.reaches("after its neighbour was forgotten");

    lab.ip(0, &format!("link set dev {link} down"));
    lab.tunnel_waits(0);
    lab.ip(0, &format!("link set dev {link} up"));
    lab.reaches("after its link was down");

    lab.ip(0, &format!("addr del 192.0.2.1/24 dev {link}"));
    lab.tunnel_waits(0);
    lab.ip(0, &format!("addr add 192.0.2.1/24 dev {link}"));
    lab.reaches("after its address was gone");
}

/// By a gateway, whose MAC address changes, by another device, and straight again.
#[test]
fn tunnels_follow_a_route_to_a_gateway_and_to_another_device() {
    let lab = Lab::start();
    let link = Underlay::LINK;
    let gateway = Namespace::new("gateway").unwrap();
    gateway.sysctl("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    gateway.sysctl("net/ipv4/ip_forward", "1").unwrap();
    gateway.sysctl("net/ipv4/conf/all/send_redirects", "0").unwrap();
    gateway.sysctl("net/ipv4/conf/default/send_redirects", "0").unwrap();
    lab.underlay.attach(&gateway).unwrap();
    address(&gateway, link, [192, 0, 2, 254].into(), 24).unwrap();
    let next_hop = |what: &str, wanted: String| {
        goes_by(&lab.hypervisors[0], what, &wanted);
        lab.reaches(what);
    };
    lab.ip(0, "route add 192.0.2.2/32 via 192.0.2.254");
    let mac_of_gateway = || mac_of(&gateway, link).unwrap().to_string();
    next_hop("the tunnel to go by the gateway", mac_of_gateway());

    mac(&gateway, link, Mac([2, 0xee, 0, 0, 0, 9])).unwrap();
    gateway.ip(&format!("link set dev {link} down")).unwrap();
    gateway.ip(&format!("link set dev {link} up")).unwrap();
    // As a router does that took over from another.
    lab.ip(0, &format!("neigh replace 192.0.2.254 lladdr 02:ee:00:00:00:09 dev {link} nud stale"));
    next_hop("the tunnel to go by the gateway's new address", mac_of_gateway());

    let [hv1, hv2] = lab.hypervisors.each_ref().map(|hypervisor| hypervisor.namespace());
    veth((hv1, "second"), (lab.underlay.namespace(), "hv1-second")).unwrap();
    lab.underlay.namespace().ip("link set dev hv1-second master br0").unwrap();
    lab.ip(0, "route replace 192.0.2.2/32 dev second src 192.0.2.1");
    next_hop("the tunnel to go by another device", "second".into());

    lab.ip(0, "link delete dev second");
    next_hop("the tunnel to go straight again", mac_of(hv2, link).unwrap().to_string());
}

/// By a gateway, whose MAC address changes, and straight again.
#[test]
fn tunnels_follow_a_route_over_an_ipv6_underlay() {
    let options = LabOptions { family: Family::V6, ..LabOptions::default() };
    let lab = Ours::start(Path::new(env!("CARGO_BIN_EXE_ovn-xdp")), options).unwrap();
    let (link, hv1, far) = (Underlay::LINK, lab.hv1.namespace(), CHASSIS_V6[1]);
    // The gateway would tell of the straight way.
    hv1.sysctl(&format!("net/ipv6/conf/{link}/accept_redirects"), "0").unwrap();
    let gateway = Namespace::new("gateway").unwrap();
    gateway.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    lab.underlay.attach(&gateway).unwrap();
    let mut via = CHASSIS_V6[0].octets();
    via[15] = 0xfe;
    let via = Ipv6Addr::from(via);
    address(&gateway, link, via.into(), 64).unwrap();
    let next_hop = |what: &str, wanted: Mac| {
        goes_by(&lab.hv1, what, &wanted.to_string());
        reaches(&lab.workloads, &lab.hv1, what);
    };
    let mac_of_far = mac_of(lab.hv2.namespace(), link).unwrap();
    next_hop("the tunnel to go straight", mac_of_far);

    hv1.ip(&format!("route add {far}/128 via {via} dev {link}")).unwrap();
    next_hop("the tunnel to go by the gateway", mac_of(&gateway, link).unwrap());

    let other = Mac([2, 0xee, 0, 0, 0, 9]);
    mac(&gateway, link, other).unwrap();
    // As a router does that took over from another.
    hv1.ip(&format!("neigh replace {via} lladdr {other} dev {link} nud stale")).unwrap();
    next_hop("the tunnel to go by the gateway's new address", other);

    hv1.ip(&format!("route del {far}/128 via {via} dev {link}")).unwrap();
    next_hop("the tunnel to go straight again", mac_of_far);
}

#[test]
fn a_workloads_interface_that_is_replaced_or_renamed_is_followed() {
    let mut lab = Lab::start();
    let plain = PORTS.iter().find(|port| port.name == "plain").unwrap();
    let vm1 = |lab: &Lab, when: &str| {
        let from = lab.workloads.get("vm1").unwrap();
        let target = lab.workloads.get("plain").unwrap().addresses().v4.into();
        wait::until(&format!("vm1 to reach plain {when}"), PATIENCE, || {
            let pings = traffic::ping(from.namespace(), target, 1, EACH);
            match pings.map_err(|error| format!("{error:#}"))?.received {
                1 => Ok(()),
                _ => Err(format!("{:#}", lab.hypervisors[1].show().unwrap_or_default())),
            }
        })
        .unwrap();
    };
    vm1(&lab, "at first");

    // Its namespace, and with it the pair of links, goes and is made anew under the same names.
    lab.workloads.remove("plain");
    lab.workloads.add(plain, &mut lab.hypervisors[1]).unwrap();
    vm1(&lab, "when its interface is another of the same name");

    lab.ip(1, "link set dev plain name elsewhere");
    wait::until("plain to be missed", PATIENCE, || {
        let show = lab.hypervisors[1].show().map_err(|error| format!("{error:#}"))?;
        let waiting = show["waiting"][0]["reason"].as_str().unwrap_or_default();
        match waiting.contains("does not exist") {
            true => Ok(()),
            false => Err(format!("{show:#}")),
        }
    })
    .unwrap();
    lab.ip(1, "link set dev elsewhere name plain");
    vm1(&lab, "when its interface has its name again");
}

/// From its first frame on, which it sent before anybody listened, a workload has a logical port.
#[test]
fn no_frame_is_taken_for_one_of_an_interface_without_a_port_while_a_chassis_starts() {
    let mut lab = Lab::start();
    let [from, to] = ["vm1", "vm2"].map(|name| lab.workloads.get(name).unwrap());
    let target = to.addresses().v4.into();
    let stream = traffic::Numbered::start(from.namespace(), to.namespace(), target).unwrap();
    for _ in 0..3 {
        lab.hypervisors[0].terminate().unwrap();
        lab.hypervisors[0].start().unwrap();
        let before = stream.tally().received;
        wait::until("datagrams to arrive again", PATIENCE, || {
            let received = stream.tally().received - before;
            if received > 50 { Ok(()) } else { Err(format!("{received} did")) }
        })
        .unwrap();
        assert_eq!(lab.hypervisors[0].drops("no-port").unwrap(), 0);
    }
    drop(stream);
}

#[test]
fn a_chassis_that_leaves_gives_the_kernels_neighbours_back() {
    let mut lab = Lab::start();
    let managed = |lab: &Lab| {
        let neighbours = lab.hypervisors[0].namespace().ip("neigh show 192.0.2.2").unwrap();
        neighbours.contains("managed")
    };
    assert!(managed(&lab), "the next hop of a tunnel is kept fresh");
    let mut show = std::process::Command::new(env!("CARGO_BIN_EXE_ovn-xdp"));
    let show = show.arg("show").arg("--config").arg(lab.hypervisors[0].configuration());
    let told = String::from_utf8(show.output().unwrap().stdout).unwrap();
    assert!(told.lines().any(|line| line.contains("hv2") && line.contains("192.0.2.2")), "{told}");
    lab.hypervisors[0].leave().unwrap();
    assert!(!managed(&lab));
}

/// As the kernel has it where a workload attaches an XDP program: TSO is off at its interface's other end,
/// and what was joined would be cut there, with sums that are not finished.
#[test]
fn a_workload_that_takes_no_unsegmented_tcp_any_more_gets_segments_with_their_checksums() {
    let lab = Lab::start();
    let host = lab.hypervisors[0].namespace();
    let workload = |name| lab.workloads.get(name).unwrap();
    let (vm1, vm2) = (workload("vm1"), workload("vm2"));
    let target = vm1.addresses().v4.into();
    // Whether a stream came in joined frames, or in finished segments.
    let joined = || {
        let mut capture = Capture::start(vm1.namespace(), LINK).unwrap();
        traffic::tcp(vm2.namespace(), vm1.namespace(), target, 1 << 20, PATIENCE).unwrap();
        let frames = capture.frames().unwrap();
        let mut came = frames.iter().filter(|frame| !frame.outgoing);
        came.any(|frame| frame.checksum_pending || frame.bytes.len() > 1514)
    };
    let becomes = |expected: bool| {
        wait::until("frames to be as the device takes them", PATIENCE, || {
            if joined() == expected { Ok(()) } else { Err(format!("joined is {}", !expected)) }
        })
        .unwrap();
    };
    let tso = |state: &str| {
        process::run(host.command("ethtool").args(["-K", "vm1", "tso", state])).unwrap();
    };
    becomes(true);
    tso("off");
    becomes(false);
    assert!(!joined());
    tso("on");
    becomes(true);
}

/// The frames that wait at one device, 64 KB each at most, leave room for the others'.
#[test]
fn a_workload_whose_device_is_shaped_and_flooded_does_not_keep_others_from_theirs() {
    let lab = Lab::start();
    let host = lab.hypervisors[1].namespace();
    let tc = |arguments: &str| {
        process::run(host.command("tc").args(arguments.split_whitespace())).unwrap()
    };
    tc("qdisc add dev plain root handle 1: tbf rate 64kbit burst 128kb limit 1mb");
    tc("qdisc add dev plain parent 1: pfifo limit 1000");
    let workload = |name| lab.workloads.get(name).unwrap();
    let (vm1, vm2, plain) = (workload("vm1"), workload("vm2"), workload("plain"));
    let (from, to) = (vm2.addresses(), plain.addresses());
    let ends = Ends { from_mac: from.mac, to_mac: to.mac, from: from.v4.into(), to: to.v4.into() };
    let segments: Vec<_> =
        (0..368).map(|n| ends.segment((1, 2), n * 1300, &[n as u8; 1300])).collect();
    let wire = PacketSocket::open(vm2.namespace(), LINK).unwrap();
    for _ in 0..110 {
        // What came meanwhile is there in whole batches.
        let send = || segments.iter().for_each(|segment| wire.send(segment).unwrap());
        lab.hypervisors[1].while_stopped(send).unwrap();
        let pings = traffic::ping(vm1.namespace(), from.v4.into(), 1, PATIENCE).unwrap();
        assert_eq!(pings.received, 1, "{}", tc("-s qdisc show dev plain"));
    }
    let waiting: serde_json::Value =
        serde_json::from_str(&tc("-s -j qdisc show dev plain")).unwrap();
    let bytes = waiting[1]["backlog"].as_u64().unwrap();
    assert!(bytes > 40 << 20, "the device was not flooded: {waiting:#}");
}
