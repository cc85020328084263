//! Ports are claimed, released and moved as the Southbound database and the host say (rows PBT-*,
//! NEST-*), and `--wait=hv` returns when packets go the new way.

use std::path::Path;
use std::time::Duration;

use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::lab::{LabOptions, Mixed};
use ovn_xdp_kit::topology::{PORTS, Place, Port};
use ovn_xdp_kit::traffic::{self, Numbered};
use ovn_xdp_kit::wait::{self, PATIENCE};
use ovn_xdp_kit::workload::Workload;

const EACH: Duration = Duration::from_secs(5);

fn start() -> Mixed {
    let binary = Path::new(env!("CARGO_BIN_EXE_ovn-xdp"));
    Mixed::start(binary, LabOptions::default()).unwrap()
}

fn port(name: &str) -> &'static Port {
    PORTS.iter().find(|port| port.name == name).unwrap()
}

fn reaches(from: &Workload, to: &Workload) -> bool {
    to.addresses().ips().into_iter().all(|address| {
        // The stock chassis loses the first packet of a tunnel.
        let pings = traffic::ping(from.namespace(), address, 3, EACH).unwrap();
        pings.received + 1 >= pings.sent
    })
}

/// PBT-1, PBT-2, NEST-12: the interface goes and comes; the VM's port and its containers follow.
#[test]
fn a_vm_and_its_containers_are_released_with_their_interface_and_claimed_when_it_is_back() {
    let mut mixed = start();
    let family = ["vm1", "vm1-red", "vm1-blue"];
    for name in family {
        assert_eq!(mixed.central.bound(name).unwrap().as_deref(), Some("hv1"));
    }
    for name in ["vm1-blue", "vm1-red", "vm1"] {
        mixed.workloads.remove(name);
    }
    for name in family {
        mixed.central.wait_bound(name, None).unwrap();
    }
    for name in family {
        mixed.workloads.add(port(name), &mut mixed.hv1).unwrap();
    }
    mixed.central.wait_up(family).unwrap();
    for name in family {
        assert!(reaches(mixed.workload(name), mixed.workload("vm2-red")), "{}", mixed.account());
    }
}

/// PBT-1: a VM that was migrated by hand, stock to ours and back, is reached at its new place.
#[test]
fn a_port_that_moves_between_chassis_is_reached_where_it_is() {
    let mut mixed = start();
    let moved = port("plain");
    for to_ours in [true, false] {
        mixed.workloads.remove(moved.name);
        let (old, new): (&mut dyn Chassis, &mut dyn Chassis) = if to_ours {
            (&mut mixed.hv2, &mut mixed.hv1)
        } else {
            (&mut mixed.hv1, &mut mixed.hv2)
        };
        old.unplug(moved.name).unwrap();
        mixed.workloads.add(moved, new).unwrap();
        let name = new.name().to_owned();
        mixed.central.wait_bound(moved.name, Some(&name)).unwrap();
        mixed.central.wait_up([moved.name]).unwrap();
        mixed.central.sync_chassis().unwrap();
        for other in ["vm1", "vm1-red", "vm2", "vm2-red"] {
            let (here, there) = (mixed.workload(other), mixed.workload(moved.name));
            assert!(reaches(here, there), "{other} to {} on {name}", moved.name);
        }
    }
}

/// NEST-01, NEST-05: a container moves to another VM and back by its parent and tag.
#[test]
fn a_container_that_moves_between_vms_is_reached_where_it_is() {
    let mut mixed = start();
    let name = "vm2-red";
    for (parent, tag, chassis) in [("vm1", 301, "hv1"), ("vm2", 201, "hv2")] {
        mixed.workloads.remove(name);
        let moved = Port { place: Place::Nested(parent, tag), ..*port(name) };
        let set = format!("set Logical_Switch_Port {name} parent_name={parent} tag_request={tag}");
        mixed.central.nb(&set).unwrap();
        let Mixed { workloads, hv1, hv2, .. } = &mut mixed;
        let hypervisor: &mut dyn Chassis = if chassis == "hv1" { hv1 } else { hv2 };
        workloads.add(&moved, hypervisor).unwrap();
        mixed.central.wait_bound(name, Some(chassis)).unwrap();
        mixed.central.wait_up([name]).unwrap();
        mixed.central.sync_chassis().unwrap();
        for other in ["vm1", "vm1-red", "vm2", "plain"] {
            let (here, there) = (mixed.workload(other), mixed.workload(name));
            assert!(reaches(here, there), "{other} to {name} in {parent}");
        }
    }
}

/// PBO-2: requested-chassis forbids, and then allows.
#[test]
fn a_port_that_is_requested_elsewhere_is_not_ours_until_it_is_requested_here() {
    let mixed = start();
    let set = |to: &str| {
        mixed.central.nb(&format!("lsp-set-options vm1 requested-chassis={to}")).unwrap();
    };
    set("hv2");
    for name in ["vm1", "vm1-red", "vm1-blue"] {
        mixed.central.wait_bound(name, None).unwrap();
    }
    set("hv1");
    for name in ["vm1", "vm1-red", "vm1-blue"] {
        mixed.central.wait_bound(name, Some("hv1")).unwrap();
    }
    mixed.central.wait_up(["vm1", "vm1-red", "vm1-blue"]).unwrap();
}

/// NEST-11, CH-5: a container in a running VM is reachable when `up` says so, and `--wait=hv` holds.
#[test]
fn a_change_forwards_packets_when_wait_hv_returns() {
    let mixed = start();
    let (from, to) = (mixed.workload("vm2-red"), mixed.workload("vm1-red"));
    let answered = || {
        let target = to.addresses().v4.into();
        traffic::ping(from.namespace(), target, 3, Duration::from_millis(500)).unwrap().received
    };
    assert!(answered() >= 2);
    for _ in 0..5 {
        let matching = "outport == \"vm1-red\" && icmp4";
        mixed
            .central
            .nbctl(&["--wait=hv", "acl-add", "red", "to-lport", "1000", matching, "drop"])
            .unwrap();
        assert_eq!(answered(), 0);
        mixed.central.nbctl(&["--wait=hv", "acl-del", "red"]).unwrap();
        assert_eq!(answered(), 3);
    }
}

/// CH-6.
#[test]
fn a_chassis_that_leaves_takes_its_rows_and_ports_with_it_and_one_that_stops_does_not() {
    let mut mixed = start();
    let chassis = |mixed: &Mixed| {
        let names = mixed.central.sb("--bare --columns=name list Chassis").unwrap();
        let mut names: Vec<_> = names.split_whitespace().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(chassis(&mixed), ["hv1", "hv2"]);
    mixed.hv1.kill();
    assert_eq!(chassis(&mixed), ["hv1", "hv2"]);
    mixed.hv1.start().unwrap();
    mixed.central.sync_chassis().unwrap();
    assert!(reaches(mixed.workload("vm1-red"), mixed.workload("vm2-red")));
    mixed.hv1.terminate().unwrap();
    assert_eq!(chassis(&mixed), ["hv1", "hv2"]);
    mixed.hv1.start().unwrap();
    mixed.hv1.leave().unwrap();
    assert_eq!(chassis(&mixed), ["hv2"]);
    mixed.central.wait_bound("vm1", None).unwrap();
    mixed.central.wait_bound("vm1-red", None).unwrap();
}

/// CH-6: it knows which rows are its own once it has read them.
#[test]
fn a_chassis_that_leaves_before_it_has_met_the_server_takes_its_rows_with_it_all_the_same() {
    let mut mixed = start();
    mixed.hv1.terminate().unwrap();
    mixed.central.kill_member(0);
    mixed.hv1.start().unwrap();
    let (hv1, central) = (&mut mixed.hv1, &mut mixed.central);
    std::thread::scope(|scope| {
        let leaving = scope.spawn(|| hv1.leave().unwrap());
        central.start_member(0).unwrap();
        leaving.join().unwrap();
    });
    assert_eq!(mixed.central.sb("--bare --columns=name list Chassis").unwrap().trim(), "hv2");
}

/// Nor while the rows of its ports are on their way from the server.
#[test]
fn no_frame_is_taken_for_one_of_an_interface_without_a_port_while_a_chassis_connects() {
    let mut mixed = start();
    let (from, to) = (mixed.workload("vm1-red"), mixed.workload("vm2-red"));
    let target = to.addresses().v4.into();
    let stream = Numbered::start(from.namespace(), to.namespace(), target).unwrap();
    mixed.hv1.terminate().unwrap();
    mixed.hv1.start().unwrap();
    let before = stream.tally().received;
    wait::until("datagrams to arrive again", PATIENCE, || {
        let received = stream.tally().received - before;
        if received > 50 { Ok(()) } else { Err(format!("{received} did")) }
    })
    .unwrap();
    assert_eq!(mixed.hv1.drops("no-port").unwrap(), 0);
}
