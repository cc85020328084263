//! Random transactions of another client, restarts and changes of conditions: after each of them
//! the replica is what a fresh `select` of the server says, in every dialect.

use ovn_xdp_ovsdb::condition::{Clause, Conditions};
use ovn_xdp_ovsdb::monitor::Method;
use ovn_xdp_ovsdb::value::Datum;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::database::{Content, Peer, replicated};
use crate::follower::{Follower, config, within_a_minute};
use crate::server::Server;

#[derive(Clone, Debug)]
enum Step {
    Transact(Vec<Value>),
    Compare,
    Restart,
    Conditions(Option<Vec<u8>>),
}

fn name() -> impl Strategy<Value = String> {
    "[a-d]"
}

fn strings() -> impl Strategy<Value = Value> {
    prop::collection::btree_set("[a-e]|\\PC{1,3}", 0..4).prop_map(|set| {
        json!(["set", set.into_iter().filter(|s| !s.contains('\0')).collect::<Vec<_>>()])
    })
}

fn pairs() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-e]", "[a-c\"\\\\é]{0,2}", 0..4)
        .prop_map(|map| json!(["map", map.into_iter().map(|(k, v)| [k, v]).collect::<Vec<_>>()]))
}

fn optional(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!(["set", []])), value]
}

/// Columns of Port_Binding: sets, maps, and optional scalars of all types.
fn port() -> impl Strategy<Value = Value> {
    let tag = optional((1..=3i64).prop_map(Value::from));
    let parent = optional(name().prop_map(Value::from));
    let up = optional(any::<bool>().prop_map(Value::from));
    (tag, parent, up, strings(), pairs(), 0..8u8).prop_map(
        |(tag, parent, up, mac, options, some)| {
            let mut row = json!({"tag": tag, "parent_port": parent});
            if some & 1 != 0 {
                row["up"] = up;
            }
            if some & 2 != 0 {
                row["mac"] = mac;
            }
            if some & 4 != 0 {
                row["options"] = options;
            }
            row
        },
    )
}

pub fn operations() -> impl Strategy<Value = Vec<Value>> {
    let by_name = |name: &String| json!([["logical_port", "==", name]]);
    let insert = (name(), 1..9i64, port()).prop_map(|(name, key, mut row)| {
        row["logical_port"] = json!(name);
        row["tunnel_key"] = json!(key);
        row["datapath"] = json!(["named-uuid", "dp"]);
        vec![
            json!({"op": "insert", "table": "Datapath_Binding", "uuid-name": "dp",
                   "row": {"tunnel_key": key + 100 * i64::from(name.as_bytes()[0])}}),
            json!({"op": "insert", "table": "Port_Binding", "row": row}),
        ]
    });
    let update = (name(), port()).prop_map(move |(name, row)| {
        vec![json!({"op": "update", "table": "Port_Binding", "where": by_name(&name), "row": row})]
    });
    let mutate =
        (name(), strings(), pairs(), any::<bool>()).prop_map(move |(name, set, map, add)| {
            let mutator = if add { "insert" } else { "delete" };
            vec![json!({"op": "mutate", "table": "Port_Binding", "where": by_name(&name),
                    "mutations": [["mac", mutator, set], ["options", mutator, map]]})]
        });
    let delete = name().prop_map(move |name| {
        vec![json!({"op": "delete", "table": "Port_Binding", "where": by_name(&name)})]
    });
    let address_set = (name(), strings()).prop_map(|(name, addresses)| {
        vec![json!({"op": "insert", "table": "Address_Set",
                    "row": {"name": name, "addresses": addresses}})]
    });
    let gone = name().prop_map(|name| {
        vec![json!({"op": "delete", "table": "Address_Set", "where": [["name", "==", name]]})]
    });
    let one = prop_oneof![4 => insert, 4 => update, 3 => mutate, 1 => delete, 2 => address_set,
                          1 => gone];
    prop::collection::vec(one, 1..3).prop_map(|lists| {
        // Only one insertion of a transaction may use the name.
        let mut named = false;
        let mut all = Vec::new();
        for list in lists {
            let names = list.iter().any(|op: &Value| op.get("uuid-name").is_some());
            if !(names && std::mem::replace(&mut named, true)) {
                all.extend(list);
            }
        }
        all
    })
}

fn walk(restarts: u32, conditions: u32) -> impl Strategy<Value = Vec<Step>> {
    let wish = prop::option::weighted(0.8, prop::collection::vec(0..6u8, 0..3));
    prop::collection::vec(
        prop_oneof![
            12 => operations().prop_map(Step::Transact),
            3 => Just(Step::Compare),
            restarts => Just(Step::Restart),
            conditions => wish.prop_map(Step::Conditions),
        ],
        5..40,
    )
}

fn clause(which: u8) -> Clause {
    match which {
        0..4 => Clause::equal("logical_port", ["a", "b", "c", "d"][usize::from(which)]),
        4 => Clause::not_equal("parent_port", Datum::empty()),
        _ => Clause::includes("options", Datum::map([("a", "a")])),
    }
}

/// The same conditions, said of the content that the peer selected.
fn keeps(clauses: &[u8], row: &std::collections::BTreeMap<String, String>) -> bool {
    clauses.iter().any(|which| match which {
        0..4 => row["logical_port"] == format!("{:?}", ["a", "b", "c", "d"][usize::from(*which)]),
        4 => row["parent_port"] != "set ",
        _ => row["options"].contains("[\"a\",\"a\"]"),
    })
}

async fn follow(steps: Vec<Step>, method: Method) {
    let mut server = Server::standalone();
    let mut config = config(vec![server.remote()]);
    config.method = method;
    let mut follower = Follower::spawn(config);
    let mut peer = Peer::connect(&server.socket());
    let mut wish: Option<Vec<u8>> = None;
    let mut generation = 0;
    for step in steps.into_iter().chain([Step::Compare]) {
        match step {
            Step::Transact(operations) => {
                peer.transact(&operations);
            }
            Step::Compare => {
                follower.settle(generation).await;
                follower.catch_up(&mut peer).await;
                let mut expected: Content = peer.content(None);
                if let (Some(clauses), false) = (&wish, method == Method::Monitor) {
                    let ports = expected.get_mut("Port_Binding").expect("a table");
                    ports.retain(|_, row| keeps(clauses, row));
                }
                assert_eq!(replicated(&follower.client), expected);
            }
            Step::Restart => {
                server.kill();
                server.start();
                peer = Peer::connect(&server.socket());
            }
            Step::Conditions(clauses) => {
                let conditions = match &clauses {
                    None => Conditions::All,
                    Some(clauses) => Conditions::any(clauses.iter().copied().map(clause)),
                };
                generation = follower.client.set_conditions("Port_Binding", conditions);
                wish = clauses;
            }
        }
    }
    let told = follower.told;
    follower.catch_up(&mut peer).await;
    assert_eq!(follower.told, told + 1, "only the mark is told again");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_replica_equals_the_server_after_any_transactions(steps in walk(0, 0)) {
        within_a_minute(follow(steps, Method::MonitorCondSince));
    }

    #[test]
    fn the_replica_equals_the_server_across_restarts_and_conditions(steps in walk(1, 4)) {
        within_a_minute(follow(steps, Method::MonitorCondSince));
    }

    #[test]
    fn the_replica_equals_the_server_with_monitor_cond(steps in walk(1, 4)) {
        within_a_minute(follow(steps, Method::MonitorCond));
    }

    #[test]
    fn the_replica_equals_the_server_with_plain_monitor(steps in walk(1, 2)) {
        within_a_minute(follow(steps, Method::Monitor));
    }
}

/// The three dialects say the same of one database at one time.
#[test]
fn all_dialects_tell_the_same_content() {
    within_a_minute(async {
        let server = Server::standalone();
        let mut peer = Peer::connect(&server.socket());
        for name in ["a", "b"] {
            peer.must(&[json!({"op": "insert", "table": "Address_Set",
                               "row": {"name": name, "addresses": ["set", ["1", "2"]]}})]);
        }
        let mut contents = Vec::new();
        for method in [Method::MonitorCondSince, Method::MonitorCond, Method::Monitor] {
            let mut config = config(vec![server.remote()]);
            config.method = method;
            let mut follower = Follower::spawn(config);
            let changes = follower.initial().await;
            assert!(changes.iter().all(|change| change.old.is_none()));
            assert_eq!(follower.client.status().method, Some(method));
            contents.push(replicated(&follower.client));
        }
        assert_eq!(contents[0], contents[1]);
        assert_eq!(contents[0], contents[2]);
        assert_eq!(contents[0], peer.content(None));
    });
}

/// One transaction of the database is one event (TRAP-12).
#[test]
fn one_transaction_is_one_batch_of_changes() {
    within_a_minute(async {
        let server = Server::standalone();
        let mut follower = Follower::spawn(config(vec![server.remote()]));
        follower.initial().await;
        let mut peer = Peer::connect(&server.socket());
        let insert =
            |name: &str| json!({"op": "insert", "table": "Address_Set", "row": {"name": name}});
        peer.must(&[insert("a"), insert("b"), insert("c")]);
        let event = follower.event().await;
        let ovn_xdp_ovsdb::client::Event::Changes(changes) = event else {
            panic!("expected changes, found {event:?}")
        };
        let mut names: Vec<String> = changes
            .iter()
            .filter_map(|change| change.new.as_ref())
            .map(|row| row.string("name").expect("a name").to_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["a", "b", "c"]);
    });
}
