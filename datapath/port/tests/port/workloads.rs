//! Frames of workloads reach each other through user space, with every offload left on.

use crate::lab::cross::Cross;
use crate::lab::stream::stream;
use crate::lab::{Lab, inside, ip, ping};
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_port::{Polling, Ports, PortsConfig};

/// Two workloads `w1` and `w2` on a host, with addresses 10.8.0.1, 10.8.0.2 and fd08::1, fd08::2.
struct Pair {
    ports: Ports,
    host: String,
    workloads: [String; 2],
    _lab: Lab,
}

fn pair(config: PortsConfig, cross: Cross) -> Pair {
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
    }
    ports.start(vec![cross; config.workers as usize]).unwrap();
    Pair { ports, host, workloads, _lab: lab }
}

fn config(polling: Polling) -> PortsConfig {
    PortsConfig { system_id: "workloads".into(), polling, ..PortsConfig::default() }
}

#[test]
fn two_workloads_ping_and_stream_in_both_directions_whatever_the_polling() {
    for polling in [Polling::Adaptive, Polling::Sleep, Polling::Busy] {
        let pair = pair(config(polling), Cross::pair());
        let [first, second] = &pair.workloads;
        ping(first, "10.8.0.2");
        ping(second, "fd08::1");
        stream(first, (second, "10.8.0.2"), 200);
        stream(second, (first, "fd08::1"), 200);
    }
}
