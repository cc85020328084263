//! Logical flows and ports that come by the control API: a switch without any Southbound DB, and
//! local rows beside a real one.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::lab::{LabOptions, Mixed};
use ovn_xdp_kit::link::Underlay;
use ovn_xdp_kit::process;
use ovn_xdp_kit::traffic;
use ovn_xdp_kit::wait::{self, PATIENCE};
use ovn_xdp_kit::workload::{Addresses, Workload};
use ovn_xdp_kit::xdp_chassis::{XdpChassis, XdpOptions};
use serde_json::{Value, json};

const EACH: Duration = Duration::from_millis(500);
const STREAM: usize = 1 << 20;

fn alone(underlay: &Underlay) -> XdpChassis {
    let options = XdpOptions::hv1(Path::new(env!("CARGO_BIN_EXE_ovn-xdp")), "");
    XdpChassis::new(underlay, options).unwrap()
}

fn flow(table: u8, priority: u16, pipeline: &str, matching: &str, actions: &str) -> Value {
    json!({ "op": "insert", "table": "Logical_Flow", "row": {
        "logical_datapath": ["named-uuid", "sw"], "pipeline": pipeline, "table_id": table,
        "priority": priority, "match": matching, "actions": actions } })
}

fn port(name: &str, key: u16) -> Value {
    json!({ "op": "insert", "table": "Port_Binding", "uuid-name": name, "row": {
        "logical_port": name, "datapath": ["named-uuid", "sw"], "tunnel_key": key } })
}

/// A switch that floods what is for all, and knows where its two ports' addresses are.
fn switch(key: u32, one: &str, other: &str) -> Value {
    let deliver = |name: &str, n| {
        let matching = format!("eth.dst == {}", Addresses::nth(1, n).mac);
        flow(1, 50, "ingress", &matching, &format!("outport = \"{name}\"; output;"))
    };
    json!([
        { "op": "insert", "table": "Datapath_Binding", "uuid-name": "sw", "row": {
            "tunnel_key": key, "external_ids": ["map", [["name", "sw"]]] } },
        port(one, 1),
        port(other, 2),
        { "op": "insert", "table": "Multicast_Group", "row": {
            "datapath": ["named-uuid", "sw"], "name": "_MC_flood", "tunnel_key": 32768,
            "ports": ["set", [["named-uuid", one], ["named-uuid", other]]] } },
        flow(0, 0, "ingress", "1", "next;"),
        flow(1, 70, "ingress", "eth.mcast", "outport = \"_MC_flood\"; output;"),
        deliver(one, 2),
        deliver(other, 3),
        flow(0, 0, "egress", "1", "output;"),
    ])
}

fn plug(chassis: &mut XdpChassis, name: &str, n: u8) -> Workload {
    let addresses = Addresses::nth(1, n);
    let workload = Workload::plugged(name, chassis.namespace(), name, addresses, false).unwrap();
    chassis.plug(name, name).unwrap();
    workload
}

fn wait_for(chassis: &XdpChassis, ports: &[&str]) {
    for port in ports {
        wait::until(&format!("{port} to be forwarded for"), PATIENCE, || {
            match chassis.forwards(port).map_err(|error| format!("{error:#}"))? {
                true => Ok(()),
                false => Err(format!("{:#}", chassis.show().unwrap_or_default())),
            }
        })
        .unwrap();
    }
}

fn stream(from: &Workload, to: &Workload) -> anyhow::Result<Duration> {
    let address = to.addresses().v4.into();
    traffic::tcp(from.namespace(), to.namespace(), address, STREAM, Duration::from_secs(5))
}

fn reached(from: &Workload, to: &Workload) -> u32 {
    traffic::ping(from.namespace(), to.addresses().v4.into(), 2, EACH).unwrap().received
}

/// The flows, without what they counted.
fn flows(chassis: &XdpChassis) -> Value {
    let mut flows = chassis.read(&["flows"]).unwrap();
    for flow in flows.as_array_mut().unwrap() {
        flow["packets"].take();
        flow["bytes"].take();
    }
    flows
}

#[test]
fn a_switch_made_by_the_api_alone_carries_tcp_and_survives_a_restart() {
    let underlay = Underlay::new(1500).unwrap();
    let mut chassis = alone(&underlay);
    let vm1 = plug(&mut chassis, "vm1", 2);
    let vm2 = plug(&mut chassis, "vm2", 3);
    let results = chassis.transact(&switch(1, "vm1", "vm2")).unwrap();
    assert_eq!(results.as_array().unwrap().len(), 9);
    wait_for(&chassis, &["vm1", "vm2"]);
    stream(&vm1, &vm2).unwrap_or_else(|error| panic!("{error:#}\n{}", chassis.account()));

    // An answered transaction is what the workers run, whatever was cached before.
    let deny = json!([{ "op": "insert", "table": "Logical_Flow", "row": {
        "logical_datapath": results[0]["uuid"], "pipeline": "ingress", "table_id": 1,
        "priority": 100, "match": "tcp", "actions": "drop;" } }]);
    let denied = chassis.transact(&deny).unwrap();
    let dropped = chassis.drops("logical-flow").unwrap();
    let deny = denied[0]["uuid"][1].as_str().unwrap();
    assert!(stream(&vm1, &vm2).is_err());
    assert_eq!(reached(&vm1, &vm2), 2, "only TCP is denied");
    assert!(chassis.drops("logical-flow").unwrap() > dropped);
    let show = chassis.show().unwrap();
    let blamed = show["flows"].as_array().unwrap().iter().find(|flow| flow["uuid"] == deny);
    let blamed = blamed.unwrap_or_else(|| panic!("{deny} is not in {}", show["flows"]));
    assert!(blamed["frames"].as_u64().unwrap() > 0);
    let connections = chassis.read(&["connections"]).unwrap();
    let denied_one = |one: &&Value| one["flow"] == deny && one["holds"] == true;
    let one = connections.as_array().unwrap().iter().find(denied_one);
    let one = one.unwrap_or_else(|| panic!("{deny} drops none of {connections:#}"));
    let ends = [vm1.addresses().v4.to_string(), vm2.addresses().v4.to_string()];
    assert_eq!([&one["source"], &one["destination"]], ends.each_ref());
    assert_eq!((&one["from"], &one["protocol"]), (&json!("vm1"), &json!(6)));
    let counted = chassis.read(&["flows"]).unwrap();
    let count = |uuid: &Value| {
        let flow = counted.as_array().unwrap().iter().find(|flow| flow["uuid"] == *uuid).unwrap();
        (flow["packets"].as_u64().unwrap(), flow["bytes"].as_u64().unwrap())
    };
    assert_eq!(count(&json!(deny)).0, blamed["frames"].as_u64().unwrap());
    let (to_vm2, bytes) = (count(&results[7]["uuid"][1]), STREAM as u64);
    assert!(to_vm2.1 > bytes && to_vm2.0 > bytes / 1500, "{to_vm2:?} of a stream of {bytes}");
    let delete = |row: &Value| {
        json!([{ "op": "delete", "table": "Logical_Flow",
        "where": [["_uuid", "==", row["uuid"]]] }])
    };
    assert_eq!(chassis.transact(&delete(&denied[0])).unwrap()[0]["count"], 1);
    stream(&vm1, &vm2).unwrap();

    // One flow removed: the way back is gone.
    chassis.transact(&delete(&results[6])).unwrap();
    assert_eq!(reached(&vm1, &vm2), 0);
    let mut again = switch(1, "vm1", "vm2")[6].clone();
    again["row"]["logical_datapath"] = results[0]["uuid"].clone();
    chassis.transact(&json!([again])).unwrap();
    assert_eq!(reached(&vm1, &vm2), 2);

    let before = flows(&chassis);
    assert_eq!(before.as_array().unwrap().len(), 5);
    assert!(before.as_array().unwrap().iter().all(|flow| flow["source"] == "local"));
    chassis.terminate().unwrap();
    chassis.start().unwrap();
    wait_for(&chassis, &["vm1", "vm2"]);
    assert_eq!(flows(&chassis), before);
    stream(&vm2, &vm1).unwrap_or_else(|error| panic!("{error:#}\n{}", chassis.account()));
}

#[test]
fn a_transaction_with_one_wrong_operation_changes_nothing() {
    let underlay = Underlay::new(1500).unwrap();
    let mut chassis = alone(&underlay);
    let (_vm1, _vm2) = (plug(&mut chassis, "vm1", 2), plug(&mut chassis, "vm2", 3));
    let results = chassis.transact(&switch(1, "vm1", "vm2")).unwrap();
    wait_for(&chassis, &["vm1", "vm2"]);
    let before = flows(&chassis);
    let wrong = |matching: &str, actions: &str| {
        let row = |matching: &str, actions: &str| {
            json!({ "op": "insert", "table": "Logical_Flow", "row": {
                "logical_datapath": results[0]["uuid"], "pipeline": "ingress", "table_id": 1,
                "priority": 60, "match": matching, "actions": actions } })
        };
        let operations = json!([row("ip4", "drop;"), row(matching, actions)]);
        format!("{:#}", chassis.transact(&operations).unwrap_err())
    };
    for (matching, actions, expected) in [
        (
            "ip4.dst == ",
            "drop;",
            "operation 1 (insert into Logical_Flow): constraint violation: match, at byte",
        ),
        ("1", "nxt;", "actions, at byte 0"),
        ("1", "outport = \"vm3\"; output;", "port \"vm3\" is not known in datapath sw"),
        ("ip4.src == $nobody", "drop;", "nobody"),
        ("inport == @nobody", "drop;", "expecting port group name"),
    ] {
        let said = wrong(matching, actions);
        assert!(said.contains(expected), "{matching} {actions}: {said}");
    }
    let key = json!([{ "op": "insert", "table": "Port_Binding", "row": {
        "logical_port": "vm3", "datapath": results[0]["uuid"], "tunnel_key": 2 } }]);
    let said = format!("{:#}", chassis.transact(&key).unwrap_err());
    assert!(said.contains("tunnel_key 2: row"), "{said}");
    assert_eq!(flows(&chassis), before);
}

/// A file system of a megabyte; it goes with this.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(directory.path());
        process::run(&mut mount).unwrap();
        Self(directory)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = process::run(Command::new("umount").arg("--lazy").arg(self.0.path()));
    }
}

#[test]
fn what_the_disk_has_no_room_for_is_refused_and_changes_nothing() {
    let underlay = Underlay::new(1500).unwrap();
    let small = Small::new();
    let mut chassis = alone(&underlay);
    chassis.terminate().unwrap();
    let file = small.0.path().join("local.db");
    chassis.keep_local_rows(false);
    chassis.control(&format!("local-rows = \"{}\"\n", file.display()));
    chassis.start().unwrap();
    let set = |name: &str, addresses: u32| {
        let addresses: Vec<String> =
            (0..addresses).map(|n| std::net::Ipv4Addr::from(n + (10 << 24)).to_string()).collect();
        json!([{ "op": "insert", "table": "Address_Set",
                 "row": { "name": name, "addresses": ["set", addresses] } }])
    };
    let names = |chassis: &XdpChassis| {
        let select = json!([{ "op": "select", "table": "Address_Set", "where": [],
                              "columns": ["name"] }]);
        chassis.transact(&select).unwrap()[0]["rows"].clone()
    };
    chassis.transact(&set("before", 10)).unwrap();
    let large = std::fs::write(small.0.path().join("other"), vec![0; 1 << 20]);
    assert!(large.is_err(), "the file system is full");
    let said = format!("{:#}", chassis.transact(&set("large", 5000)).unwrap_err());
    assert!(said.contains("I/O error") && said.contains("nothing was changed"), "{said}");
    assert_eq!(names(&chassis), json!([{ "name": "before" }]));
    std::fs::remove_file(small.0.path().join("other")).unwrap();
    chassis.transact(&set("after", 5000)).unwrap();
    chassis.terminate().unwrap();
    chassis.start().unwrap();
    let both = names(&chassis);
    assert_eq!(both.as_array().unwrap().len(), 2, "{both}");
}

/// Beside a real northd: local rows forward, the Southbound's stay as they are, and what clashes is
/// refused.
#[test]
fn local_rows_live_beside_the_southbound_and_never_get_into_it() {
    let mut mixed =
        Mixed::start(Path::new(env!("CARGO_BIN_EXE_ovn-xdp")), LabOptions::default()).unwrap();
    let tables = [
        "Datapath_Binding",
        "Port_Binding",
        "Logical_Flow",
        "Multicast_Group",
        "FDB",
        "MAC_Binding",
        "Address_Set",
        "Port_Group",
    ];
    let southbound = |mixed: &Mixed| {
        tables.map(|table| {
            let text = mixed.central.sb(&format!("--columns=_uuid list {table}")).unwrap();
            let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
            rows.sort();
            rows
        })
    };
    let vm1 = plug(&mut mixed.hv1, "local1", 2);
    let vm2 = plug(&mut mixed.hv1, "local2", 3);
    let before = southbound(&mixed);
    mixed.hv1.transact(&switch(16_000_000, "local1", "local2")).unwrap();
    wait_for(&mixed.hv1, &["local1", "local2"]);
    stream(&vm1, &vm2).unwrap_or_else(|error| panic!("{error:#}\n{}", mixed.account()));
    assert_eq!(southbound(&mixed), before);

    let taken = mixed.central.datapath_key("red").unwrap();
    let clash = json!([{ "op": "insert", "table": "Datapath_Binding",
        "row": { "tunnel_key": taken } }]);
    let said = format!("{:#}", mixed.hv1.transact(&clash).unwrap_err());
    assert!(said.contains(&format!("tunnel_key {taken}: row")), "{said}");

    // A row of the Southbound DB that comes later wins, and gives back when it goes.
    mixed.central.nb("ls-add other").unwrap();
    mixed.central.nb("--wait=sb lsp-add other local1").unwrap();
    wait::until("the local port to be put aside", PATIENCE, || {
        let memory = mixed.hv1.read(&["memory"]).map_err(|error| format!("{error:#}"))?;
        let aside = memory["put_aside"].to_string();
        if aside.contains("logical_port local1") { Ok(()) } else { Err(aside) }
    })
    .unwrap();
    mixed.central.nb("--wait=hv ls-del other").unwrap();
    wait_for(&mixed.hv1, &["local1", "local2"]);
    stream(&vm1, &vm2).unwrap_or_else(|error| panic!("{error:#}\n{}", mixed.account()));
}
