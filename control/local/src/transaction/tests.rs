use super::*;
use serde_json::json;

fn nobody(_: &str, _: Uuid) -> bool {
    false
}

fn run(database: &mut Database, operations: Value) -> Result<Vec<Value>, Refusal> {
    let staged = stage(database, &Operations::from(&operations), &nobody)?;
    database.apply(&staged.changes);
    Ok(staged.outcomes.iter().map(|outcome| serde_json::to_value(outcome).unwrap()).collect())
}

/// A switch with a port, a group and a flow.
fn switch() -> Value {
    json!([
        { "op": "insert", "table": "Logical_Flow", "row": {
            "logical_datapath": ["named-uuid", "sw"], "pipeline": "ingress", "table_id": 0,
            "priority": 50, "match": "1", "actions": "next;" } },
        { "op": "insert", "table": "Datapath_Binding", "uuid-name": "sw", "row": {
            "tunnel_key": 1, "external_ids": ["map", [["name", "sw"]]] } },
        { "op": "insert", "table": "Port_Binding", "uuid-name": "p", "row": {
            "logical_port": "vm1", "datapath": ["named-uuid", "sw"], "tunnel_key": 1 } },
        { "op": "insert", "table": "Multicast_Group", "row": {
            "datapath": ["named-uuid", "sw"], "name": "_MC_flood", "tunnel_key": 32768,
            "ports": ["named-uuid", "p"] } },
    ])
}

#[test]
fn rows_of_one_transaction_refer_to_each_other_in_any_order() {
    let mut database = Database::default();
    let results = run(&mut database, switch()).unwrap();
    assert_eq!(results.len(), 4);
    let flow = database.rows("Logical_Flow").next().unwrap().1;
    let datapath = flow.uuid("logical_datapath").unwrap();
    assert_eq!(results[1]["uuid"][1], datapath.to_string());
    assert_eq!(database.referrers(datapath), 3);
}

#[test]
fn a_row_that_is_referred_to_cannot_go_but_with_those_that_refer() {
    let mut database = Database::default();
    run(&mut database, switch()).unwrap();
    let delete = |table: &str| json!({ "op": "delete", "table": table, "where": [] });
    let error = run(&mut database, json!([delete("Datapath_Binding")])).unwrap_err();
    assert_eq!((error.error, error.operation), (kind::REFERENCE, Some(0)), "{error}");
    assert!(error.details.starts_with("3 other rows"), "{error}");
    let all = ["Datapath_Binding", "Port_Binding", "Multicast_Group", "Logical_Flow"].map(delete);
    run(&mut database, json!(all)).unwrap();
    assert!(database.is_empty());
}

/// Multicast_Group.ports and Logical_DP_Group.datapaths are weak references in the Southbound's
/// schema.
#[test]
fn a_port_that_goes_leaves_its_multicast_groups_and_a_datapath_the_groups_of_datapaths() {
    let mut database = Database::default();
    run(&mut database, switch()).unwrap();
    let insert = json!([
        { "op": "insert", "table": "Datapath_Binding", "uuid-name": "other", "row": {
            "tunnel_key": 2 } },
        { "op": "insert", "table": "Logical_DP_Group", "uuid-name": "both", "row": {
            "datapaths": ["set", [["named-uuid", "other"], ["uuid", Uuid::max()]]] } },
        { "op": "insert", "table": "Logical_Flow", "row": {
            "logical_dp_group": ["named-uuid", "both"], "pipeline": "egress", "match": "1",
            "actions": "output;" } },
    ]);
    run(&mut database, insert).unwrap();
    let members = |database: &Database, table: &str, column: &str| {
        database.rows(table).next().unwrap().1.get(column).unwrap().len()
    };
    // What is nowhere is left out from the start.
    assert_eq!(members(&database, "Logical_DP_Group", "datapaths"), 1);
    assert_eq!(members(&database, "Multicast_Group", "ports"), 1);
    let delete = |table: &str, column: &str, value: Value| json!([{ "op": "delete", "table": table, "where": [[column, "==", value]] }]);
    let staged = stage(
        &database,
        &Operations::from(&delete("Port_Binding", "logical_port", json!("vm1"))),
        &nobody,
    )
    .unwrap();
    let mut tables: Vec<&str> = staged.changes.iter().map(|change| &*change.table).collect();
    tables.sort_unstable();
    assert_eq!(tables, ["Multicast_Group", "Port_Binding"]);
    database.apply(&staged.changes);
    assert_eq!(members(&database, "Multicast_Group", "ports"), 0);
    run(&mut database, delete("Datapath_Binding", "tunnel_key", json!(2))).unwrap();
    assert_eq!(members(&database, "Logical_DP_Group", "datapaths"), 0);
    // A strong reference holds still.
    let error = run(&mut database, delete("Logical_DP_Group", "datapaths", json!(["set", []])));
    assert_eq!(error.unwrap_err().error, kind::REFERENCE);
}

#[test]
fn a_member_is_replaced_by_a_port_of_the_same_transaction() {
    let mut database = Database::default();
    run(&mut database, switch()).unwrap();
    let datapath = database.rows("Datapath_Binding").next().unwrap().0;
    run(
        &mut database,
        json!([
            { "op": "delete", "table": "Port_Binding", "where": [] },
            { "op": "insert", "table": "Port_Binding", "uuid-name": "q", "row": {
                "logical_port": "vm1", "datapath": ["uuid", datapath], "tunnel_key": 1 } },
            { "op": "mutate", "table": "Multicast_Group", "where": [],
              "mutations": [["ports", "insert", ["named-uuid", "q"]]] },
        ]),
    )
    .unwrap();
    let (port, _) = database.rows("Port_Binding").next().unwrap();
    let group = database.rows("Multicast_Group").next().unwrap().1;
    assert_eq!(group.uuid("ports"), Ok(port));
    assert_eq!(database.weak_referrers(port).count(), 1);
    assert_eq!(database.referrers(port), 0);
}

#[test]
fn what_is_wrong_is_refused_with_operation_column_what_was_expected_and_found() {
    let insert = |table: &str, row: Value| json!([{ "op": "insert", "table": table, "row": row }]);
    let cases = [
        (json!([7]), "expected an operation, found 7"),
        (json!([{ "op": "upsert" }]), "op: expected insert, select"),
        (json!([{ "op": "insert", "table": "Chassis" }]), "table: expected one of Address_Set"),
        (json!([{ "op": "insert", "tabel": "x" }]), "found tabel"),
        (insert("Datapath_Binding", json!({ "tunnel_key": 0 })), "expected 1..16777215, found 0"),
        (insert("Datapath_Binding", json!({ "tunnel_key": "1" })), "expected integer, found \"1\""),
        (insert("Datapath_Binding", json!({ "key": 1 })), "has no column key; expected one of"),
        (insert("Port_Binding", json!({ "chassis": 1 })), "has no column chassis"),
        (
            insert("Logical_Flow", json!({ "logical_datapath": ["named-uuid", "x"] })),
            "no operation inserts a row with uuid-name \"x\"",
        ),
        (
            insert(
                "Logical_Flow",
                json!({ "logical_datapath": ["uuid", Uuid::max().to_string()] }),
            ),
            "expected ingress or egress, found",
        ),
        (
            insert(
                "Logical_Flow",
                json!({ "logical_datapath": ["uuid", Uuid::max().to_string()],
                        "pipeline": "ingress", "match": "1", "actions": "next;" }),
            ),
            "there is no row ffffffff-ffff-ffff-ffff-ffffffffffff in Datapath_Binding",
        ),
        (
            insert("Logical_Flow", json!({ "pipeline": "ingress", "match": "1", "actions": "" })),
            "expected a datapath, or a group of them",
        ),
        (
            insert("Address_Set", json!({ "name": "a", "addresses": ["set", ["192.0.2.1", "x"]] })),
            "found \"x\"",
        ),
        (insert("Port_Group", json!({ "name": "servers" })), "as in 1_servers"),
        (json!([{ "op": "delete", "table": "Logical_Flow" }]), "where: expected a list"),
        (
            json!([{ "op": "delete", "table": "Logical_Flow", "where": [["match", "=", "1"]] }]),
            "expected ==, !=",
        ),
        (
            json!([{ "op": "wait", "table": "Logical_Flow", "where": [], "until": "==",
                     "rows": [], "timeout": 5 }]),
            "expected 0 (a wait is checked at once), found 5",
        ),
        (json!([{ "op": "comment" }, { "op": "abort" }]), "operation 1 (abort): aborted"),
    ];
    for (operations, expected) in cases {
        let mut database = Database::default();
        let error = run(&mut database, operations.clone()).unwrap_err().to_string();
        assert!(error.contains(expected), "{operations}: {error}");
        assert!(error.starts_with("operation "), "{error}");
        assert!(database.is_empty());
    }
}

#[test]
fn an_operation_sees_what_those_before_it_did() {
    let mut database = Database::default();
    let results = run(
        &mut database,
        json!([
            { "op": "insert", "table": "Address_Set", "row": { "name": "a", "addresses": "192.0.2.1" } },
            { "op": "mutate", "table": "Address_Set", "where": [["name", "==", "a"]],
              "mutations": [["addresses", "insert", "192.0.2.2"], ["addresses", "delete", "192.0.2.1"]] },
            { "op": "wait", "table": "Address_Set", "where": [], "columns": ["addresses"],
              "until": "==", "rows": [{ "addresses": "192.0.2.2" }], "timeout": 0 },
            { "op": "select", "table": "Address_Set", "where": [["addresses", "includes", "192.0.2.2"]],
              "columns": ["name"] },
            { "op": "update", "table": "Address_Set", "where": [], "row": { "name": "b" } },
            { "op": "delete", "table": "Address_Set", "where": [["name", "==", "a"]] },
        ]),
    )
    .unwrap();
    assert_eq!(results[1]["count"], 1);
    assert_eq!(results[3]["rows"], json!([{ "name": "a" }]));
    assert_eq!(results[5]["count"], 0);
    let row = database.rows("Address_Set").next().unwrap().1;
    assert_eq!(row.string("name"), Ok("b"));
}

#[test]
fn a_row_may_keep_the_uuid_that_its_user_gives_it_but_no_other_rows() {
    let mut database = Database::default();
    let insert = json!([{ "op": "insert", "table": "Datapath_Binding", "uuid": Uuid::from_u128(7),
                          "row": { "tunnel_key": 5 } }]);
    let results = run(&mut database, insert.clone()).unwrap();
    assert_eq!(results[0]["uuid"][1], Uuid::from_u128(7).to_string());
    let error = run(&mut database, insert.clone()).unwrap_err();
    assert!(error.details.contains("is a row that exists"), "{error}");
    let southbound = |table: &str, row: Uuid| table == "Port_Binding" && row == Uuid::from_u128(7);
    assert!(stage(&Database::default(), &Operations::from(&insert), &southbound).is_err());
}
