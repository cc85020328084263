//! Conditions, schemas, and servers that are silent or old.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ovn_xdp_ovsdb::client::Config;
use ovn_xdp_ovsdb::condition::{Clause, Conditions};
use ovn_xdp_ovsdb::monitor::{Method, Wanted};
use ovn_xdp_ovsdb::remote::Remote;
use serde_json::{Value, json};

use crate::database::{Peer, replicated};
use crate::follower::{Follower, config, failure, within_a_minute};
use crate::server::{SCHEMA, Server, run, text};

fn address_set(name: &str) -> Value {
    json!({"op": "insert", "table": "Address_Set", "row": {"name": name}})
}

fn named(names: &[&str]) -> Conditions {
    Conditions::any(names.iter().map(|name| Clause::equal("name", *name)))
}

#[test]
fn conditions_settle_only_after_the_rows_they_brought() {
    within_a_minute(async {
        let server = Server::standalone();
        let mut peer = Peer::connect(&server.socket());
        peer.must(&[address_set("a"), address_set("b"), address_set("c")]);
        let mut config = config(vec![server.remote()]);
        config.conditions.insert("Address_Set".into(), Conditions::none());
        let mut follower = Follower::spawn(config);
        follower.initial().await;
        let sets = |follower: &Follower| follower.client.replica().len("Address_Set");
        assert_eq!(sets(&follower), 0);
        for (names, count) in [(&["a"][..], 1), (&["a", "b"], 2), (&["c"], 1), (&[], 0)] {
            let generation = follower.client.set_conditions("Address_Set", named(names));
            follower.settle(generation).await;
            assert_eq!(sets(&follower), count, "{names:?}");
        }
        let generation = follower.client.set_conditions("Address_Set", Conditions::All);
        follower.settle(generation).await;
        assert_eq!(sets(&follower), 3);
    });
}

#[test]
fn conditions_that_change_while_disconnected_hold_after_the_next_connection() {
    within_a_minute(async {
        let mut server = Server::standalone();
        let mut peer = Peer::connect(&server.socket());
        peer.must(&[address_set("a"), address_set("b")]);
        let mut follower = Follower::spawn(config(vec![server.remote()]));
        follower.initial().await;
        server.kill();
        follower.disconnected().await;
        let generation = follower.client.set_conditions("Address_Set", named(&["b"]));
        assert_eq!(follower.client.replica().len("Address_Set"), 2, "the copy stays");
        server.start();
        follower.settle(generation).await;
        assert_eq!(follower.client.replica().len("Address_Set"), 1);
    });
}

#[test]
fn tables_and_columns_that_the_server_does_not_have_are_not_asked_for() {
    within_a_minute(async {
        let server = Server::standalone();
        let mut config = config(vec![server.remote()]);
        config.tables = vec![
            Wanted::columns("Chassis", &["name", "flux_capacitor"]),
            Wanted::table("ECMP_Nexthop"),
            Wanted::table("SB_Global"),
        ];
        config.conditions.insert(
            "Chassis".into(),
            Conditions::any([Clause::equal("name", "a"), Clause::equal("flux_capacitor", 1)]),
        );
        config.conditions.insert("ECMP_Nexthop".into(), Conditions::none());
        let mut follower = Follower::spawn(config);
        follower.initial().await;
        let chassis = |name: &str, ip: &str| {
            [
                json!({"op": "insert", "table": "Encap", "uuid-name": "e",
                       "row": {"type": "geneve", "ip": ip, "chassis_name": name}}),
                json!({"op": "insert", "table": "Chassis",
                       "row": {"name": name, "encaps": ["named-uuid", "e"]}}),
            ]
        };
        let mut peer = Peer::connect(&server.socket());
        peer.must(&chassis("a", "192.0.2.1"));
        peer.must(&chassis("b", "192.0.2.2"));
        follower.catch_up(&mut peer).await;
        let rows: Vec<_> = follower.client.replica().rows("Chassis").collect();
        assert_eq!(rows.len(), 1);
        let columns: Vec<&str> = rows[0].1.columns().map(|(name, _)| &**name).collect();
        assert_eq!(columns, ["name"]);
    });
}

#[test]
fn a_schema_that_changes_under_the_client_is_followed() {
    within_a_minute(async {
        let text_of = std::fs::read_to_string(SCHEMA).expect("the schema; ovn-common installs it");
        let mut schema: Value = serde_json::from_str(&text_of).expect("JSON");
        schema["tables"]["Address_Set"]["columns"]["colour"] = json!({"type": "string"});
        schema["version"] = json!("99.0.0");
        let server = Server::standalone();
        let newer = server.path("newer.ovsschema");
        std::fs::write(&newer, schema.to_string()).expect("a file");
        let mut peer = Peer::connect(&server.socket());
        peer.must(&[address_set("a")]);
        let mut follower = Follower::spawn(config(vec![server.remote()]));
        follower.initial().await;
        run("ovsdb-client", &["convert", &server.remote().to_string(), text(&newer)]);
        follower.disconnected().await;
        follower.initial().await;
        let mut peer = Peer::connect(&server.socket());
        follower.catch_up(&mut peer).await;
        let (_, row) = follower.client.replica().rows("Address_Set").next().expect("the row");
        assert!(row.string("colour").is_ok_and(|colour| colour.is_empty()));
        assert_eq!(replicated(&follower.client), peer.content(None));
    });
}

#[test]
fn a_server_that_falls_silent_is_given_up_after_two_probe_intervals() {
    within_a_minute(async {
        let server = Server::standalone();
        let mut config = config(vec![server.remote()]);
        config.probe = Some(Duration::from_millis(50));
        let mut follower = Follower::spawn(config);
        follower.initial().await;
        server.freeze();
        assert_eq!(follower.disconnected().await, "no answer to an inactivity probe within 50ms");
    });
}

#[test]
fn a_server_without_the_database_is_told_apart_from_one_that_is_away() {
    within_a_minute(async {
        let server = Server::standalone();
        let config = Config { database: "OVN_Northbound".into(), ..config(vec![server.remote()]) };
        let follower = Follower::spawn(config);
        assert_eq!(
            failure(&follower.client).await,
            "the server has no database OVN_Northbound; it has OVN_Southbound, _Server"
        );
    });
}

#[test]
fn the_next_remote_is_tried_when_one_is_away() {
    within_a_minute(async {
        let server = Server::standalone();
        let nobody = Remote::Unix(server.path("nobody"));
        let mut follower = Follower::spawn(config(vec![nobody, server.remote()]));
        follower.initial().await;
        let status = follower.client.status();
        assert_eq!(status.remote, Some(server.remote()));
        assert!(status.last_error.is_some_and(|error| error.starts_with("cannot connect")));
    });
}

/// Stands between a client and a server: refuses methods that an old server does not know, and
/// asks the client for an echo.
struct OldServer {
    socket: PathBuf,
    echoes: Receiver<Value>,
}

impl OldServer {
    fn before(server: &Server, refused: &'static [&'static str]) -> Self {
        let socket = server.path("old");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let real = server.socket();
        let (echo, echoes) = channel();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let real = UnixStream::connect(&real).expect("a server that runs");
                let (from, to) = (real.try_clone().expect("a socket"), client.try_clone());
                let to = to.expect("a socket");
                std::thread::spawn(move || copy(from, to));
                relay(client, real, refused, &echo);
            }
        });
        Self { socket, echoes }
    }
}

fn copy(mut from: UnixStream, mut to: UnixStream) {
    let mut chunk = [0; 65536];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
}

fn relay(client: UnixStream, mut real: UnixStream, refused: &[&str], echo: &Sender<Value>) {
    let mut out = client.try_clone().expect("a socket");
    let ask = json!({"method": "echo", "params": ["are you there?"], "id": "ask"});
    let _ = out.write_all(ask.to_string().as_bytes());
    for message in serde_json::Deserializer::from_reader(BufReader::new(client)).into_iter() {
        let Ok(message): Result<Value, _> = message else { break };
        if message["id"] == "ask" {
            let _ = echo.send(message);
        } else if message["method"].as_str().is_some_and(|method| refused.contains(&method)) {
            let answer = json!({"id": message["id"], "error": "unknown method", "result": null});
            let _ = out.write_all(answer.to_string().as_bytes());
        } else {
            let _ = real.write_all(message.to_string().as_bytes());
        }
    }
}

#[test]
fn an_old_server_is_followed_with_the_best_that_it_knows() {
    for (refused, method) in [
        (&["monitor_cond_since"][..], Method::MonitorCond),
        (&["monitor_cond_since", "monitor_cond", "set_db_change_aware"], Method::Monitor),
    ] {
        within_a_minute(async {
            let server = Server::standalone();
            let old = OldServer::before(&server, refused);
            let mut follower = Follower::spawn(config(vec![Remote::Unix(old.socket.clone())]));
            follower.initial().await;
            assert_eq!(follower.client.status().method, Some(method));
            let mut peer = Peer::connect(&server.socket());
            peer.must(&[address_set("a")]);
            follower.catch_up(&mut peer).await;
            assert_eq!(replicated(&follower.client), peer.content(None));
            let generation = follower.client.set_conditions("Address_Set", named(&["b"]));
            follower.settle(generation).await;
            let answer = old.echoes.recv().expect("an echo");
            assert_eq!(answer["result"], json!(["are you there?"]));
        });
    }
}

#[test]
fn a_server_that_speaks_nonsense_is_left_with_the_place_of_the_nonsense() {
    within_a_minute(async {
        let server = Server::stopped(&[]);
        let listener = UnixListener::bind(server.socket()).expect("a socket");
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let _ = (&client).write_all(b"{\"method\":\"x\",\"params\":[]} HTTP/1.1 400");
                let _ = (&client).read(&mut [0; 4096]);
            }
        });
        let follower = Follower::spawn(config(vec![server.remote()]));
        assert_eq!(
            failure(&follower.client).await,
            "at byte 27 of the stream: expected a JSON object, found 'H'"
        );
    });
}
