//! The short way to a workload: frames go straight to its device.

use std::net::UdpSocket;
use std::time::Duration;

use ovn_xdp_abi::map::Counter;
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_port::Ports;

use crate::lab::cross::Cross;
use crate::lab::stream::stream;
use crate::lab::{exec, inside, ip, ping, wait_for};
use crate::workloads::{config, pair};
use ovn_xdp_port::Polling;

/// Frames that came down the trunk, by the kernel's count.
fn down_the_trunk(ports: &mut Ports) -> u64 {
    let counters = ports.counters().unwrap();
    counters.iter().find(|(counter, _)| *counter == Counter::ToWorkload).unwrap().1
}

#[test]
fn datagrams_of_all_sizes_and_streams_arrive_in_order_by_the_short_way() {
    let mut pair = pair(config("short-way", Polling::Adaptive), Cross::pair());
    for number in 1..=2 {
        ip(&pair.host, &format!("link set w{number} mtu 9000"));
        ip(&pair.workloads[number - 1], "link set eth0 mtu 9000");
    }
    let [first, second] = pair.workloads.clone();
    ping(&first, "10.8.0.2");
    let before = down_the_trunk(&mut pair.ports);
    let receiver = inside(&second, || UdpSocket::bind("10.8.0.2:4000").unwrap());
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let sender = inside(&first, || UdpSocket::bind("10.8.0.1:0").unwrap());
    sender.connect("10.8.0.2:4000").unwrap();
    let mut buffer = [0; 9000];
    // Windows that fit into the receiver's buffer, so that nothing is lost.
    for window in 0..200u32 {
        for i in 0..10u32 {
            let size = [18, 1400, 8900, 40, 3000][i as usize % 5];
            let mut datagram = vec![i as u8; size];
            datagram[..4].copy_from_slice(&(window * 10 + i).to_be_bytes());
            sender.send(&datagram).unwrap();
        }
        for i in 0..10u32 {
            let length = receiver.recv(&mut buffer).expect("every datagram arrives");
            assert_eq!(length, [18, 1400, 8900, 40, 3000][i as usize % 5]);
            assert_eq!(buffer[..4], (window * 10 + i).to_be_bytes(), "in the order of sending");
        }
    }
    stream(&first, (&second, "10.8.0.2"), 50);
    stream(&second, (&first, "fd08::1"), 50);
    assert_eq!(down_the_trunk(&mut pair.ports), before, "nothing went down the trunk");
}

#[test]
fn the_short_way_leaves_a_workloads_offloads_as_they_are() {
    let pair = pair(config("offloads", Polling::Adaptive), Cross::pair());
    let features = |workload: &String| exec(workload, "ethtool -k eth0");
    let [first, second] = &pair.workloads;
    let before = features(second);
    assert!(before.contains("tx-checksum-ip-generic: on"), "{before}");
    ping(first, "10.8.0.2");
    ping(second, "10.8.0.1");
    assert_eq!(features(second), before);
}

#[test]
fn frames_to_a_device_that_is_down_or_gone_are_dropped_and_counted_and_a_new_one_works() {
    let mut pair = pair(config("gone", Polling::Adaptive), Cross::pair());
    let [first, second] = pair.workloads.clone();
    ping(&first, "10.8.0.2");
    let mac = exec(&second, "cat /sys/class/net/eth0/address");
    ip(&first, &format!("neigh replace 10.8.0.2 lladdr {} dev eth0", mac.trim()));
    let statistics = pair.ports.statistics();
    let lost = || statistics.iter().map(|worker| worker.no_device.get()).sum::<u64>();
    let speak = || {
        let sender = inside(&first, || UdpSocket::bind("10.8.0.1:0").unwrap());
        let _ = sender.send_to(&[1; 18], "10.8.0.2:4000");
    };
    assert_eq!(lost(), 0);
    ip(&pair.host, "link set w2 down");
    wait_for("a frame to a device that is down", || {
        speak();
        lost() > 0
    });
    let before = lost();
    ip(&pair.host, "link delete w2");
    wait_for("a frame to a device that is gone", || {
        speak();
        lost() > before
    });
    // Another device under the same name, with a number of its own.
    assert!(pair.ports.detach_interface(InterfaceId(2)));
    pair.lab.veth((&pair.host, "w2"), (&second, "eth0"));
    ip(&second, &format!("link set eth0 address {}", mac.trim()));
    ip(&second, "address add 10.8.0.2/24 dev eth0");
    pair.ports.attach_interface(InterfaceId(2), "w2").unwrap();
    assert!(pair.ports.admit_interface(InterfaceId(2)).unwrap());
    ping(&first, "10.8.0.2");
    assert!(pair.ports.statistics().iter().all(|worker| worker.missing.get() == 0));
}

#[test]
fn a_frame_larger_than_the_device_falls_back_to_the_trunk() {
    let mut pair = pair(config("larger", Polling::Adaptive), Cross::pair());
    let [first, second] = pair.workloads.clone();
    ping(&first, "10.8.0.2");
    ip(&pair.host, "link set w2 mtu 1300");
    ip(&second, "link set eth0 mtu 1300");
    let before = down_the_trunk(&mut pair.ports);
    let sender = inside(&first, || UdpSocket::bind("10.8.0.1:0").unwrap());
    wait_for("the trunk to carry it", || {
        let _ = sender.send_to(&[1; 1400], "10.8.0.2:4000");
        down_the_trunk(&mut pair.ports) > before
    });
    // What fits goes on by the short way.
    exec(&first, "ping -c 1 -w 10 -s 1200 10.8.0.2");
}
