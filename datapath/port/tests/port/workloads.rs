//! Frames of workloads reach each other through user space, with every offload left on.

use std::net::UdpSocket;

use crate::lab::cross::Cross;
use crate::lab::stream::stream;
use crate::lab::{Lab, exec, inside, ip, ping, try_exec, wait_for};
use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_port::nested::Nested;
use ovn_xdp_port::{Polling, Ports, PortsConfig, PortsError};

/// Two workloads `w1` and `w2` on a host, with addresses 10.8.0.1, 10.8.0.2 and fd08::1, fd08::2.
pub struct Pair {
    pub ports: Ports,
    pub host: String,
    pub workloads: [String; 2],
    pub lab: Lab,
}

pub fn pair(config: PortsConfig, cross: Cross) -> Pair {
    let mut lab = Lab::new();
    let host = lab.namespace("host");
    let workloads = [lab.namespace("w1"), lab.namespace("w2")];
    for (number, workload) in (1..).zip(&workloads) {
        lab.veth((&host, &format!("w{number}")), (workload, "eth0"));
        ip(workload, &format!("address add 10.8.0.{number}/24 dev eth0"));
        ip(workload, &format!("address add fd08::{number}/64 dev eth0 nodad"));
    }
    let mut ports = inside(&host, || Ports::open(config.clone()).unwrap());
    for number in 1..=2 {
        ports.attach_interface(InterfaceId(number), &format!("w{number}")).unwrap();
        assert!(ports.admit_interface(InterfaceId(number)).unwrap());
    }
    ports.start(vec![cross; config.workers as usize]).unwrap();
    Pair { ports, host, workloads, lab }
}

pub fn config(system_id: &str, polling: Polling) -> PortsConfig {
    PortsConfig { system_id: system_id.into(), polling, ..PortsConfig::default() }
}

#[test]
fn two_workloads_ping_and_stream_in_both_directions_whatever_the_polling() {
    for polling in [Polling::Adaptive, Polling::Sleep, Polling::Busy] {
        let pair = pair(config("polling", polling), Cross::pair());
        let [first, second] = &pair.workloads;
        ping(first, "10.8.0.2");
        ping(second, "fd08::1");
        stream(first, (second, "10.8.0.2"), 200);
        stream(second, (first, "fd08::1"), 200);
    }
}

#[test]
fn containers_behind_a_tag_stream_with_their_offloads_on() {
    let mut pair = pair(config("nested", Polling::Adaptive), Cross::pair());
    let mut nests = Vec::new();
    let mut containers = Vec::new();
    for (number, vm) in (1..).zip(&pair.workloads) {
        let container = pair.lab.namespace(&format!("c{number}"));
        pair.lab.veth((vm, "c"), (&container, "eth0"));
        ip(&container, &format!("address add 10.7.0.{number}/24 dev eth0"));
        nests.push(inside(vm, || {
            let mut nest = Nested::attach("eth0").unwrap();
            nest.add("c", VlanHeader { tpid: 0x8100, tci: 0x2123 }).unwrap();
            nest
        }));
        containers.push(container);
    }
    ping(&containers[0], "10.7.0.2");
    stream(&containers[0], (&containers[1], "10.7.0.2"), 100);
    stream(&containers[1], (&containers[0], "10.7.0.1"), 100);
}

#[test]
fn jumbo_frames_cross_whole() {
    let pair = pair(config("jumbo", Polling::Adaptive), Cross::pair());
    let [first, second] = &pair.workloads;
    for number in 1..=2 {
        ip(&pair.host, &format!("link set w{number} mtu 9000"));
        ip(&pair.workloads[number - 1], "link set eth0 mtu 9000");
    }
    exec(first, "ping -c 3 -w 10 -s 8972 -M do 10.8.0.2");
    for size in [1700, 1765, 1766, 1792, 2000, 3556, 4096] {
        exec(second, &format!("ping -c 1 -w 10 -s {size} -M do 10.8.0.1"));
    }
    stream(first, (second, "10.8.0.2"), 100);

    // The largest MTU that the trunk carries.
    for number in 1..=2 {
        ip(&pair.host, &format!("link set w{number} mtu 9586"));
        ip(&pair.workloads[number - 1], "link set eth0 mtu 9586");
    }
    exec(first, "ping -c 1 -w 10 -s 9558 -M do 10.8.0.2");
}

#[test]
fn a_workload_is_the_hosts_again_after_it_is_detached() {
    let mut pair = pair(config("detach", Polling::Adaptive), Cross::pair());
    let first = pair.workloads[0].clone();
    ip(&pair.host, "address add 10.8.0.9/24 dev w1");
    assert!(!try_exec(&first, "ping -c 1 -W 1 10.8.0.9").status.success());
    assert!(pair.ports.detach_interface(InterfaceId(1)));
    assert!(!pair.ports.detach_interface(InterfaceId(1)));
    ping(&first, "10.8.0.9");

    pair.ports.attach_interface(InterfaceId(3), "w1").unwrap();
    assert!(pair.ports.admit_interface(InterfaceId(3)).unwrap());
    let again = pair.ports.attach_interface(InterfaceId(3), "w1");
    assert!(matches!(again, Err(PortsError::InUse(InterfaceId(3)))));
    assert!(!try_exec(&first, "ping -c 1 -W 1 10.8.0.9").status.success());
    let missing = pair.ports.attach_interface(InterfaceId(4), "nosuch");
    assert!(matches!(missing, Err(PortsError::NoDevice(_))));
}

#[test]
fn nothing_is_left_on_the_host_when_the_ports_are_gone() {
    let pair = pair(config("leave", Polling::Adaptive), Cross::pair());
    let links = || ip(&pair.host, "-o link show");
    assert!(links().contains("ovxt-"));
    // The same system-id again: what it finds is replaced, as after a crash.
    let second = inside(&pair.host, || Ports::open(config("leave", Polling::Sleep)).unwrap());
    assert_eq!(links().matches("ovxt-").count(), 1);
    drop(second);
    assert!(!links().contains("ovxt-"));
    let Pair { ports, host, workloads, lab } = pair;
    drop(ports);
    ip(&host, "address add 10.8.0.9/24 dev w1");
    ping(&workloads[0], "10.8.0.9");
    drop(lab);
}

#[test]
fn no_buffer_is_lost_in_a_flood_of_small_and_large_frames() {
    let config = PortsConfig { workers: 2, ..config("flood", Polling::Adaptive) };
    let frames = u64::from(config.frames);
    let pair = pair(config, Cross::pair());
    for number in 1..=2 {
        ip(&pair.host, &format!("link set w{number} mtu 9000"));
        ip(&pair.workloads[number - 1], "link set eth0 mtu 9000");
    }
    ping(&pair.workloads[0], "10.8.0.2");
    std::thread::scope(|scope| {
        for port in 0..4u16 {
            let workload = &pair.workloads[usize::from(port % 2)];
            let to = if port % 2 == 0 { "10.8.0.2" } else { "10.8.0.1" };
            scope.spawn(move || {
                inside(workload, || {
                    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                    for i in 0..30_000usize {
                        let size = [18, 1400, 8900][i % 3];
                        // A full queue or an ICMP error of the far end changes nothing.
                        let _ = socket.send_to(&[0; 8900][..size], (to, 4000 + port));
                    }
                });
            });
        }
    });
    let statistics = pair.ports.statistics();
    let received = || statistics.iter().map(|worker| worker.from_workload.get()).sum::<u64>();
    assert!(received() > 1000, "the flood came through");
    for worker in &statistics {
        wait_for("what was sent is back", || {
            worker.sending.get() == 0 && worker.free.get() + worker.filling.get() == frames
        });
        assert_eq!(worker.missing.get(), 0);
    }
    ping(&pair.workloads[1], "10.8.0.1");
}
