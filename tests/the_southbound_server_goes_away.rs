//! A lost Southbound server changes nothing in forwarding, and what happened meanwhile is caught up
//! with when a server is back (MON-10, RBAC-3).

use std::path::Path;
use std::time::Duration;

use ovn_xdp_kit::central::Southbound;
use ovn_xdp_kit::lab::{LabOptions, Mixed};
use ovn_xdp_kit::traffic::{self, Numbered};
use ovn_xdp_kit::wait::{self, PATIENCE};

fn start(southbound: Southbound) -> Mixed {
    let options = LabOptions { southbound, ..LabOptions::default() };
    Mixed::start(Path::new(env!("CARGO_BIN_EXE_ovn-xdp")), options).unwrap()
}

/// Datagrams both ways between containers on both chassis, already flowing.
fn traffic_of(mixed: &Mixed) -> [Numbered; 2] {
    let (near, far) = (mixed.workload("vm1-red"), mixed.workload("vm2-red"));
    [(near, far), (far, near)].map(|(from, to)| {
        let target = to.addresses().v4.into();
        traffic::ping(from.namespace(), target, 3, PATIENCE).unwrap();
        Numbered::start(from.namespace(), to.namespace(), target).unwrap()
    })
}

/// Waits until this many more datagrams have arrived on each way.
fn await_more(traffic: &[Numbered; 2], more: u64) {
    let before = traffic.each_ref().map(|numbered| numbered.tally().received);
    for (numbered, before) in traffic.iter().zip(before) {
        wait::until("more datagrams", PATIENCE, || {
            let tally = numbered.tally();
            if tally.received >= before + more { Ok(()) } else { Err(format!("{tally:?}")) }
        })
        .unwrap();
    }
}

fn nothing_lost(traffic: [Numbered; 2]) {
    for numbered in traffic {
        let tally = numbered.finish().unwrap();
        assert_eq!(tally.sent, tally.received);
    }
}

fn state(mixed: &Mixed) -> String {
    let show = mixed.hv1.show().unwrap();
    show.pointer("/southbound/state").and_then(|state| state.as_str()).unwrap_or("?").to_owned()
}

fn await_state(mixed: &Mixed, wanted: bool) {
    let what = if wanted { "a Southbound connection" } else { "the lost connection to be noticed" };
    wait::until(what, PATIENCE, || {
        let state = state(mixed);
        if (state == "connected") == wanted { Ok(()) } else { Err(state) }
    })
    .unwrap();
}

/// An ACL is put in or out, and the far end notices: the chassis follows the database.
fn follows_changes(mixed: &Mixed) {
    let (from, to) = (mixed.workload("vm2-red"), mixed.workload("vm1-blue"));
    let answered = || {
        let target = to.addresses().v4.into();
        traffic::ping(from.namespace(), target, 3, Duration::from_millis(500)).unwrap().received
    };
    let matching = "outport == \"vm1-blue\" && icmp4";
    let add = ["--wait=hv", "acl-add", "blue", "to-lport", "1000", matching, "drop"];
    mixed.central.nbctl(&add).unwrap();
    assert_eq!(answered(), 0);
    mixed.central.nbctl(&["--wait=hv", "acl-del", "blue"]).unwrap();
    assert!(answered() > 0);
}

/// How often the whole database was read, and how often a connection went on from the last
/// transaction of the one before.
fn read_and_resumed(mixed: &Mixed) -> [u64; 2] {
    let show = mixed.hv1.show().unwrap();
    ["downloads", "resumptions"].map(|key| show["southbound"][key].as_u64().unwrap())
}

/// A server of its own keeps no transactions across its end: what it holds is compared.
#[test]
fn a_server_that_is_killed_and_restarted_costs_no_packet() {
    let mut mixed = start(Southbound::Standalone);
    let traffic = traffic_of(&mixed);
    mixed.central.kill_member(0);
    await_state(&mixed, false);
    await_more(&traffic, 500);
    mixed.central.start_member(0).unwrap();
    await_state(&mixed, true);
    await_more(&traffic, 500);
    nothing_lost(traffic);
    assert_eq!(read_and_resumed(&mixed), [2, 0]);
    follows_changes(&mixed);
}

#[test]
fn a_cluster_that_loses_the_member_we_follow_costs_no_packet_and_is_not_read_again() {
    let mut mixed = start(Southbound::Cluster);
    let traffic = traffic_of(&mixed);
    for round in 1..=2 {
        let show = mixed.hv1.show().unwrap();
        let followed = mixed.central.member_at(show["southbound"]["remote"].as_str().unwrap());
        let followed = followed.expect("a member");
        mixed.central.kill_member(followed);
        // What changes while we are on our way to another member is not missed.
        mixed.central.nb(&format!("set Logical_Switch red external_ids:round={round}")).unwrap();
        wait::until("the next member to be followed", PATIENCE, || {
            match read_and_resumed(&mixed) {
                [1, resumed] if resumed == round => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .unwrap();
        mixed.central.wait_for_leader().unwrap();
        await_more(&traffic, 300);
        follows_changes(&mixed);
        mixed.central.start_member(followed).unwrap();
    }
    await_more(&traffic, 300);
    nothing_lost(traffic);
}
