//! A daemon that is killed leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_port::{Ports, PortsConfig};

use crate::lab::cross::Cross;
use crate::lab::{Lab, enter, inside, ip, ping, wait_for};

/// Set for the copy of this test that plays the daemon; its value is the host's namespace.
const DAEMON: &str = "OVN_XDP_TEST_DAEMON";

const READY: &str = "daemon is ready";

fn config() -> PortsConfig {
    PortsConfig { system_id: "crash".into(), ..PortsConfig::default() }
}

fn daemon(host: &str) {
    enter(host);
    let mut ports = Ports::open(config()).unwrap();
    ports.attach_interface(InterfaceId(1), "w1").unwrap();
    assert!(ports.admit_interface(InterfaceId(1)).unwrap());
    ports.set_tunnel_addresses(&["192.0.2.1".parse().unwrap()]).unwrap();
    ports.open_nic("nic").unwrap();
    ports.start(vec![Cross::pair()]).unwrap();
    println!("\n{READY}");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_daemon_leaves_the_host_as_it_was_and_a_new_one_starts() {
    if let Ok(host) = std::env::var(DAEMON) {
        return daemon(&host);
    }
    let mut lab = Lab::new();
    let host = lab.namespace("host");
    let workload = lab.namespace("w1");
    let other = lab.namespace("other");
    lab.veth((&host, "w1"), (&workload, "eth0"));
    lab.veth((&host, "nic"), (&other, "nic"));
    ip(&host, "address add 10.5.0.9/24 dev w1");
    ip(&workload, "address add 10.5.0.1/24 dev eth0");

    let name = "crash::a_killed_daemon_leaves_the_host_as_it_was_and_a_new_one_starts";
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(DAEMON, &host)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    let ready = lines.any(|line| line.is_ok_and(|line| line == READY));
    let links = || ip(&host, "-o -d link show");
    let during = links();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(ready && during.contains("ovxt-") && during.contains("xdp"), "{during}");

    ping(&workload, "10.5.0.9");
    wait_for("the trunk is gone", || !links().contains("ovxt-"));
    assert!(!links().contains("xdp"));
    let mut ports = inside(&host, || Ports::open(config()).unwrap());
    ports.attach_interface(InterfaceId(1), "w1").unwrap();
    assert!(ports.admit_interface(InterfaceId(1)).unwrap());
}
