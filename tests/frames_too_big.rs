//! What the tunnel cannot carry is answered with ICMP Too Big of both families, so that TCP finds
//! its size by itself; what it can carry may be jumbo (section 5.11 of the checklist, NEST-23).

use std::path::Path;
use std::time::Duration;

use ovn_xdp_kit::lab::{Family, LabOptions, Mixed, Ours};
use ovn_xdp_kit::process;
use ovn_xdp_kit::traffic;

const EACH: Duration = Duration::from_secs(5);

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ovn-xdp"))
}

/// The underlay carries 1500 bytes: 20 of IPv4, 8 of UDP, 16 of Geneve, 14 of Ethernet leave 1442.
#[test]
fn a_workload_that_sends_too_much_is_told_what_the_tunnel_carries() {
    whoever_sends_too_much_is_told(Family::V4, 1442);
}

/// IPv6 takes 20 bytes more.
#[test]
fn a_workload_that_sends_too_much_is_told_what_a_tunnel_over_ipv6_carries() {
    whoever_sends_too_much_is_told(Family::V6, 1422);
}

fn whoever_sends_too_much_is_told(family: Family, carries: u32) {
    let options = LabOptions { family, workload_mtu: 1500, ..LabOptions::default() };
    let mut lab = Mixed::start(binary(), options).unwrap();
    for (from, to) in [("vm1-red", "vm2-red"), ("vm1-red", "plain"), ("vm1", "vm2")] {
        for target in lab.workload(to).addresses().ips() {
            let mut ping = lab.workload(from).namespace().command("ping");
            let size = if target.is_ipv4() { "1472" } else { "1452" };
            ping.args(["-n", "-c", "3", "-i", "0.2", "-W", "2", "-M", "do", "-s", size]);
            let output = process::output(ping.arg(target.to_string())).unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            assert!(
                [format!("mtu={carries}"), format!("mtu: {carries}")]
                    .iter()
                    .any(|told| said.contains(told)),
                "{from} to {to}: {said}\n{}",
                lab.account()
            );
        }
    }
    for (from, to) in [("vm1-red", "vm2-red"), ("vm1-blue", "vm2-red")] {
        let (from, to) = (lab.workload(from), lab.workload(to));
        for target in to.addresses().ips() {
            traffic::tcp(from.namespace(), to.namespace(), target, 1 << 20, EACH).unwrap();
        }
    }
}

#[test]
fn jumbo_frames_pass_where_the_interfaces_carry_them() {
    let options = LabOptions { underlay_mtu: 9000, workload_mtu: 8900, ..LabOptions::default() };
    let lab = Ours::start(binary(), options).unwrap();
    for (from, to) in [("vm1-red", "vm2-red"), ("vm2-red", "vm1-blue"), ("vm1", "plain")] {
        let (from, to) = (lab.workload(from), lab.workload(to));
        for target in to.addresses().ips() {
            let mut ping = from.namespace().command("ping");
            let size = if target.is_ipv4() { "8872" } else { "8852" };
            ping.args(["-n", "-c", "2", "-i", "0.2", "-W", "5", "-M", "do", "-s", size]);
            process::run(ping.arg(target.to_string())).unwrap();
            traffic::tcp(from.namespace(), to.namespace(), target, 1 << 20, EACH).unwrap();
        }
    }
}
