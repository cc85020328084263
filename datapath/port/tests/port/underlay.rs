//! Tunnel packets between two hosts, and everything else that the hosts have to say to each other.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ovn_xdp_abi::map::Counter;
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_port::{Ports, PortsConfig, PortsError};

use crate::lab::stream::stream;
use crate::lab::tunnel::Tunnel;
use crate::lab::{Lab, exec, inside, ip, mac, ping, sysctl, wait_for};

struct Host {
    ports: Ports,
    name: String,
    workload: String,
    tunnel: Tunnel,
}

/// What hosts have as their NIC.
#[derive(Clone, Copy)]
enum NicKind {
    /// A veth, whose driver runs XDP programs.
    Veth,
    /// A bridge with a port, whose driver does not run XDP programs.
    Bridge,
}

impl NicKind {
    /// Makes the links between two hosts; MTU in bytes of IP packet.
    fn connect(self, lab: &Lab, hosts: &[String; 2], mtu: u32) {
        let device = if matches!(self, Self::Veth) { "nic" } else { "wire" };
        lab.veth((&hosts[0], device), (&hosts[1], device));
        for host in hosts {
            ip(host, &format!("link set {device} mtu {mtu}"));
            match self {
                Self::Veth => continue,
                Self::Bridge => {
                    ip(host, "link add nic type bridge");
                    ip(host, "link set wire master nic");
                }
            }
            ip(host, "link set nic up");
        }
    }
}

/// Two hosts, 192.0.2.1 and 192.0.2.2, tunnels between them, and workloads 10.6.0.1 and 10.6.0.2.
fn hosts(workers: u32, mtu: u32) -> (Vec<Host>, Lab) {
    hosts_with(NicKind::Veth, workers, mtu)
}

fn hosts_with(kind: NicKind, workers: u32, mtu: u32) -> (Vec<Host>, Lab) {
    let mut lab = Lab::new();
    let names = [lab.namespace("h1"), lab.namespace("h2")];
    kind.connect(&lab, &names, mtu + 50);
    let macs = [mac(&names[0], "nic"), mac(&names[1], "nic")];
    let mut hosts = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let number = index as u8 + 1;
        ip(&name, &format!("address add 192.0.2.{number}/24 dev nic"));
        ip(&name, &format!("address add 198.51.100.{number}/24 dev nic"));
        let workload = lab.namespace(&format!("w{number}"));
        // It says nothing that it is not told to say.
        sysctl(&workload, "net.ipv6.conf.default.disable_ipv6=1");
        lab.veth((&name, "w"), (&workload, "eth0"));
        ip(&name, &format!("link set w mtu {mtu}"));
        ip(&workload, &format!("link set eth0 mtu {mtu}"));
        ip(&workload, &format!("address add 10.6.0.{number}/24 dev eth0"));
        let config =
            PortsConfig { system_id: "underlay".into(), workers, ..PortsConfig::default() };
        let mut ports = inside(&name, || Ports::open(config).unwrap());
        let local = Ipv4Addr::new(192, 0, 2, number);
        let tunnel = Tunnel {
            interface: InterfaceId(5),
            macs: [macs[index], macs[1 - index]],
            local,
            remote: Ipv4Addr::new(192, 0, 2, 3 - number),
        };
        ports.attach_interface(InterfaceId(5), "w").unwrap();
        assert!(ports.admit_interface(InterfaceId(5)).unwrap());
        ports.set_tunnel_addresses(&[IpAddr::V4(local)]).unwrap();
        ports.start(vec![tunnel.clone(); workers as usize]).unwrap();
        assert_eq!(ports.open_nic("nic").unwrap(), 0);
        hosts.push(Host { ports, name, workload, tunnel });
    }
    (hosts, lab)
}

#[test]
fn workloads_on_two_hosts_ping_and_stream_through_the_tunnel() {
    for workers in [1, 2] {
        let (hosts, _lab) = hosts(workers, 1450);
        ping(&hosts[0].workload, "10.6.0.2");
        stream(&hosts[0].workload, (&hosts[1].workload, "10.6.0.2"), 200);
        stream(&hosts[1].workload, (&hosts[0].workload, "10.6.0.1"), 200);
        let report = hosts[0].ports.report();
        assert_eq!(report.0.len(), 2);
        let nic = &report.0[1];
        assert_eq!((nic.device.as_str(), nic.driver.as_str()), ("nic", "veth"));
        assert!(nic.native && nic.queues == workers && nic.mtu == 1500, "{report}");
        for worker in hosts.iter().flat_map(|host| host.ports.statistics()) {
            assert_eq!(worker.missing.get(), 0);
        }
    }
}

#[test]
fn jumbo_frames_cross_the_tunnel_whole() {
    let (hosts, _lab) = hosts(1, 8950);
    exec(&hosts[0].workload, "ping -c 3 -w 10 -s 8922 -M do 10.6.0.2");
    stream(&hosts[0].workload, (&hosts[1].workload, "10.6.0.2"), 200);
}

#[test]
fn what_is_no_tunnel_packet_of_ours_is_still_the_hosts() {
    let (mut hosts, _lab) = hosts(1, 1450);
    let [first, second] = &mut hosts[..] else { unreachable!() };
    ping(&first.name, "192.0.2.2");
    exec(&first.name, "ping -c 1 -w 10 -s 4000 192.0.2.2");
    stream(&first.name, (&second.name, "192.0.2.2"), 50);

    // Geneve to another address of the host, and to ours but in fragments.
    let receivers = ["198.51.100.2", "192.0.2.2"].map(|address| {
        let socket = inside(&second.name, || UdpSocket::bind((address, 6081)).unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    });
    let sender = inside(&first.name, || UdpSocket::bind("0.0.0.0:0").unwrap());
    let mut buffer = [0; 4000];
    sender.send_to(&[1; 100], "198.51.100.2:6081").unwrap();
    assert_eq!(receivers[0].recv(&mut buffer).unwrap(), 100);
    sender.send_to(&[2; 100], "192.0.2.2:6081").unwrap();
    sender.send_to(&[3; 3000], "192.0.2.2:6081").unwrap();
    assert_eq!(receivers[1].recv(&mut buffer).unwrap(), 3000);

    // An address that ends no tunnel any more is the host's.
    second.ports.set_tunnel_addresses(&[]).unwrap();
    sender.send_to(&[4; 100], "192.0.2.2:6081").unwrap();
    assert_eq!(receivers[1].recv(&mut buffer).unwrap(), 100);
    let counters = second.ports.counters().unwrap();
    let taken = counters.iter().find(|(counter, _)| *counter == Counter::FromNic).unwrap();
    assert_eq!(taken.1, 1, "the second datagram, which the receiver never saw");
}

/// The kernel's generic XDP stands in for a driver without XDP of its own.
#[test]
fn tunnels_pass_a_nic_whose_driver_has_no_xdp() {
    let (hosts, _lab) = hosts_with(NicKind::Bridge, 1, 1450);
    ping(&hosts[0].workload, "10.6.0.2");
    exec(&hosts[0].workload, "ping -c 3 -w 10 -s 1422 -M do 10.6.0.2");
    stream(&hosts[0].workload, (&hosts[1].workload, "10.6.0.2"), 100);
    stream(&hosts[1].workload, (&hosts[0].workload, "10.6.0.1"), 100);
    ping(&hosts[0].name, "192.0.2.2");
    let report = hosts[0].ports.report();
    assert!(!report.0[1].native && !report.0[1].zero_copy, "{report}");
    for worker in hosts.iter().flat_map(|host| host.ports.statistics()) {
        assert_eq!(worker.missing.get(), 0);
    }
}

#[test]
fn tunnel_packets_over_ipv6_and_with_ipv4_options_are_taken_from_the_host() {
    let (mut hosts, _lab) = hosts(1, 1450);
    let [first, second] = &mut hosts[..] else { unreachable!() };
    for (number, host) in [(1, &first.name), (2, &second.name)] {
        ip(host, &format!("address add fd0a::{number}/64 dev nic nodad"));
    }
    let ours = ["192.0.2.2", "fd0a::2"];
    let (v4, v6) = inside(&second.name, || {
        (UdpSocket::bind((ours[0], 6081)).unwrap(), UdpSocket::bind((ours[1], 6081)).unwrap())
    });
    let with_options = inside(&first.name, || UdpSocket::bind("0.0.0.0:0").unwrap());
    let options = [1u8, 1, 1, 1];
    // SAFETY: four bytes, as is told: no-operations (RFC 791).
    let set = unsafe {
        let fd = with_options.as_raw_fd();
        libc::setsockopt(fd, libc::IPPROTO_IP, libc::IP_OPTIONS, options.as_ptr().cast(), 4)
    };
    assert_eq!(set, 0);
    let over_ipv6 = inside(&first.name, || UdpSocket::bind("[::]:0").unwrap());

    let both = ours.map(|address| address.parse().unwrap());
    for (addresses, len) in [(&both[..], 100), (&[][..], 101)] {
        second.ports.set_tunnel_addresses(addresses).unwrap();
        with_options.send_to(&vec![0; len], (ours[0], 6081)).unwrap();
        over_ipv6.send_to(&vec![0; len], (ours[1], 6081)).unwrap();
        // IPv6's first packet waits for its next hop: both must be past the addresses.
        wait_for("both tunnel packets at the worker", || {
            second.ports.statistics().iter().map(|worker| worker.from_nic.get()).sum::<u64>() == 2
        });
    }
    // What was sent while the addresses were ours never came.
    for receiver in [v4, v6] {
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(receiver.recv(&mut [0; 200]).unwrap(), 101);
    }
}

#[test]
fn a_nic_gets_back_the_queues_that_it_had() {
    let (mut hosts, _lab) = hosts(2, 1450);
    let Host { ports, name, tunnel, .. } = hosts.remove(0);
    assert!(!tunnel.header(0).is_empty());
    let rx = |text: String| {
        text.rsplit("RX:").next().unwrap().split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(rx(exec(&name, "ethtool -l nic")), "2");
    drop(ports);
    assert_eq!(rx(exec(&name, "ethtool -l nic")), "1");
}

/// A NIC spreads flows over its queues, of which it may have many more than there are workers.
#[test]
fn every_queue_of_a_nic_with_many_is_served() {
    for (has, uses) in [(32, 32), (80, 64)] {
        every_queue_is_served(has, uses);
    }
}

fn every_queue_is_served(has: u32, uses: u32) {
    const DATAGRAMS: u64 = 500;
    let mut lab = Lab::new();
    let (near, far) = (lab.namespace("near"), lab.namespace("far"));
    let queues = format!("numrxqueues {has} numtxqueues {has}");
    let there = format!("type veth peer name nic {queues} netns {far}");
    ip(&near, &format!("link add nic {queues} {there}"));
    for (number, host) in [(1, &near), (2, &far)] {
        ip(host, &format!("address add 192.0.2.{number}/24 dev nic"));
        ip(host, "link set nic up");
    }
    ping(&near, "192.0.2.2");
    let config = PortsConfig { system_id: "queues".into(), ..PortsConfig::default() };
    let mut ports = inside(&far, || Ports::open(config).unwrap());
    ports.set_tunnel_addresses(&[[192, 0, 2, 2].into()]).unwrap();
    let macs = [mac(&far, "nic"), mac(&near, "nic")];
    let (local, remote) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
    ports.start(vec![Tunnel { interface: InterfaceId(5), macs, local, remote }]).unwrap();
    ports.open_nic("nic").unwrap();
    assert_eq!(ports.report().0[1].queues, uses);
    // A flow each.
    for _ in 0..DATAGRAMS {
        let sender = inside(&near, || UdpSocket::bind("0.0.0.0:0").unwrap());
        sender.send_to(&[0; 100], "192.0.2.2:6081").unwrap();
    }
    let taken = |counters: Vec<(Counter, u64)>| {
        counters.into_iter().find(|(counter, _)| *counter == Counter::FromNic).unwrap().1
    };
    wait_for("all datagrams", || taken(ports.counters().unwrap()) == DATAGRAMS);
    let worker = &ports.statistics()[0];
    wait_for(&format!("the worker to have all: {worker:?}"), || worker.from_nic.get() == DATAGRAMS);
}

#[test]
fn a_nic_with_too_few_queues_is_refused_with_advice() {
    let mut lab = Lab::new();
    let host = lab.namespace("host");
    ip(&host, "link add nic numrxqueues 1 numtxqueues 1 type veth peer name other");
    let config = PortsConfig { system_id: "queues".into(), workers: 2, ..PortsConfig::default() };
    let mut ports = inside(&host, || Ports::open(config).unwrap());
    let error = ports.open_nic("nic").unwrap_err();
    assert!(matches!(error, PortsError::Channels { wanted: 2, most: 1, .. }), "{error}");
    assert!(error.to_string().contains("use fewer workers"));
    assert!(matches!(ports.open_nic("nosuch"), Err(PortsError::NoDevice(_))));
}
