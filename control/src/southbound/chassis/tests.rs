use super::*;

const TEXT: &str = r#"
system-id = "hv1"
hostname = "hv1.example"
ovn-remote = "tcp:192.0.2.10:6642"
ovn-encap-type = "geneve"
ovn-encap-ip = "192.0.2.1,192.0.2.2"
ovn-encap-ip-default = "192.0.2.2"
ovn-transport-zones = "b,a"
"#;

fn config() -> Config {
    Config::parse(TEXT).unwrap()
}

/// A server that executes what [`Registration`] asks for, as far as these operations go.
fn execute(registration: &mut Registration, operations: &[Value]) {
    let uuid_of = |value: &Value| value[1].as_str().unwrap().to_owned();
    let strings = |map: &Value| -> BTreeMap<String, String> {
        let pairs = map[1].as_array().unwrap();
        pairs
            .iter()
            .map(|pair| (pair[0].as_str().unwrap().into(), pair[1].as_str().unwrap().into()))
            .collect()
    };
    let mut names = BTreeMap::new();
    let resolve = |names: &BTreeMap<String, Uuid>, value: &Value| match value[0].as_str() {
        Some("named-uuid") => names[&uuid_of(value)],
        _ => uuid_of(value).parse().unwrap(),
    };
    for operation in operations {
        let row = &operation["row"];
        let target = || resolve(&BTreeMap::new(), &operation["where"][0][2]);
        match (operation["op"].as_str().unwrap(), operation["table"].as_str().unwrap()) {
            ("insert", table) => {
                let uuid = Uuid::from_u128(
                    1000 + (registration.encaps.len() + registration.chassis.len()) as u128,
                );
                if let Some(name) = operation["uuid-name"].as_str() {
                    names.insert(name.to_owned(), uuid);
                }
                match table {
                    "Encap" => registration.encap_row(
                        uuid,
                        Some(EncapRow {
                            kind: row["type"].as_str().unwrap().into(),
                            ip: row["ip"].as_str().unwrap().into(),
                            options: strings(&row["options"]),
                            chassis: row["chassis_name"].as_str().unwrap().into(),
                        }),
                    ),
                    "Chassis" => {
                        let references = row["encaps"][1].as_array().unwrap();
                        let row = ChassisRow {
                            name: row["name"].as_str().unwrap().into(),
                            hostname: row["hostname"].as_str().unwrap().into(),
                            encaps: references.iter().map(|r| resolve(&names, r)).collect(),
                            other_config: strings(&row["other_config"]),
                            transport_zones: row["transport_zones"][1]
                                .as_array()
                                .unwrap()
                                .iter()
                                .map(|zone| zone.as_str().unwrap().into())
                                .collect(),
                        };
                        registration.chassis_row(uuid, Some(row));
                    }
                    _ => registration.private_row(
                        uuid,
                        Some(PrivateRow {
                            name: row["name"].as_str().unwrap().into(),
                            chassis: Some(resolve(&names, &row["chassis"])),
                            nb_cfg: 0,
                        }),
                    ),
                }
            }
            ("update", "Chassis") => {
                let mut new = registration.chassis[&target()].clone();
                if let Some(hostname) = row["hostname"].as_str() {
                    new.hostname = hostname.into();
                }
                if let Some(references) = row["encaps"][1].as_array() {
                    new.encaps = references.iter().map(|r| resolve(&names, r)).collect();
                    registration.encaps.retain(|uuid, _| new.encaps.contains(uuid));
                }
                registration.chassis_row(target(), Some(new));
            }
            ("update", "Encap") => {
                let mut new = registration.encaps[&target()].clone();
                new.options = strings(&row["options"]);
                registration.encap_row(target(), Some(new));
            }
            ("update", _) => {
                let mut new = registration.private[&target()].clone();
                new.chassis = Some(resolve(&names, &row["chassis"]));
                registration.private_row(target(), Some(new));
            }
            ("mutate", _) => {
                let mut new = registration.chassis[&target()].clone();
                new.other_config.extend(strings(&operation["mutations"][1][2]));
                registration.chassis_row(target(), Some(new));
            }
            other => panic!("{other:?}"),
        }
    }
    registration.written(true, Duration::ZERO);
}

fn registered() -> Registration {
    let mut registration = Registration::new(&config());
    let operations = registration.run(Duration::ZERO);
    execute(&mut registration, &operations);
    registration
}

#[test]
fn a_first_start_makes_chassis_private_and_one_encap_for_each_address() {
    let mut registration = registered();
    let row = &registration.chassis[&registration.ours().unwrap()];
    assert_eq!((&*row.name, &*row.hostname), ("hv1", "hv1.example"));
    assert_eq!(row.transport_zones, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    let options: Vec<_> = registration.encaps.values().map(|e| (&*e.ip, &e.options)).collect();
    assert_eq!(options.len(), 2);
    assert!(!options[0].1.contains_key("is_default"));
    assert_eq!(options[1].1["is_default"], "true");
    assert_eq!(options[0].1["csum"], "true");
    assert!(registration.run(Duration::ZERO).is_empty(), "nothing is left to do");
}

#[test]
fn every_flag_that_any_northd_reads_is_advertised() {
    let registration = registered();
    let row = &registration.chassis[&registration.ours().unwrap()];
    for flag in feature::FLAGS {
        assert_eq!(row.other_config.get(flag).map(String::as_str), Some("true"), "{flag}");
    }
}

#[test]
fn what_others_change_is_repaired_and_their_own_keys_are_left_alone() {
    let mut registration = registered();
    let uuid = registration.ours().unwrap();
    let mut row = registration.chassis[&uuid].clone();
    row.other_config.insert("ct-next-zone".into(), "false".into());
    row.other_config.insert("neutron:key".into(), "kept".into());
    row.hostname = "wrong".into();
    registration.chassis_row(uuid, Some(row));
    let operations = registration.run(Duration::ZERO);
    execute(&mut registration, &operations);
    let row = &registration.chassis[&uuid];
    assert_eq!(row.other_config["ct-next-zone"], "true");
    assert_eq!(row.other_config["neutron:key"], "kept");
    assert_eq!(row.hostname, "hv1.example");
    assert!(registration.run(Duration::ZERO).is_empty());
}

#[test]
fn rows_that_others_delete_are_made_again() {
    let mut registration = registered();
    registration.chassis_row(registration.ours().unwrap(), None);
    registration.encaps.clear();
    let operations = registration.run(Duration::ZERO);
    execute(&mut registration, &operations);
    let ours = registration.ours();
    assert!(ours.is_some());
    assert_eq!(registration.our_private().unwrap().1.chassis, ours);
    assert!(registration.run(Duration::ZERO).is_empty());
}

#[test]
fn another_address_leaves_the_encap_that_stays_alone() {
    let mut registration = registered();
    let kept = registration.our_encaps()[&"192.0.2.1".parse::<IpAddr>().unwrap()];
    let text = TEXT
        .replace("192.0.2.1,192.0.2.2", "192.0.2.1,192.0.2.3")
        .replace("ovn-encap-ip-default = \"192.0.2.2\"", "");
    registration.configure(&Config::parse(&text).unwrap());
    let operations = registration.run(Duration::ZERO);
    assert_eq!(operations.len(), 2, "{operations:?}");
    execute(&mut registration, &operations);
    let encaps = registration.our_encaps();
    assert_eq!(encaps.len(), 2);
    assert_eq!(encaps[&"192.0.2.1".parse::<IpAddr>().unwrap()], kept);
    assert!(encaps.contains_key(&"192.0.2.3".parse::<IpAddr>().unwrap()));
}

/// One chassis has our first address, another the second.
#[test]
fn an_encap_of_another_chassis_is_told_with_its_owner_and_used_once_it_is_free() {
    let mut registration = Registration::new(&config());
    let row = |ip: &str, chassis: &str| EncapRow {
        kind: "geneve".into(),
        ip: ip.into(),
        options: BTreeMap::new(),
        chassis: chassis.into(),
    };
    let [first, second] = [7, 8].map(Uuid::from_u128);
    registration.encap_row(first, Some(row("192.0.2.1", "hv8")));
    registration.encap_row(second, Some(row("192.0.2.2", "hv9")));
    let conflict = registration.conflict().unwrap().to_string();
    assert!(conflict.contains("192.0.2.1 for chassis hv8"), "{conflict}");
    assert!(registration.run(Duration::ZERO).is_empty(), "without an address there is no chassis");

    registration.encap_row(first, None);
    let conflict = registration.conflict().unwrap().to_string();
    assert!(conflict.contains("192.0.2.2 for chassis hv9"), "{conflict}");
    let operations = registration.run(Duration::ZERO);
    execute(&mut registration, &operations);
    registration.written(true, Duration::ZERO);
    let addresses: Vec<String> =
        registration.our_encaps().keys().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.1"], "the one that is free");
    assert!(registration.run(Duration::ZERO).is_empty());

    registration.encap_row(second, None);
    assert_eq!(registration.conflict(), None);
    let operations = registration.run(Duration::ZERO);
    execute(&mut registration, &operations);
    assert_eq!(registration.our_encaps().len(), 2);
}

#[test]
fn only_one_write_is_under_way_and_a_refused_one_waits() {
    let mut registration = Registration::new(&config());
    assert!(!registration.run(Duration::ZERO).is_empty());
    assert!(registration.run(Duration::ZERO).is_empty());
    registration.written(false, Duration::ZERO);
    assert!(registration.run(Duration::ZERO).is_empty());
    assert_eq!(registration.deadline(), Some(Duration::from_secs(1)));
    assert!(!registration.run(Duration::from_secs(1)).is_empty());
}

#[test]
fn the_barrier_is_reported_once() {
    let mut registration = registered();
    let operation = registration.report(5, Duration::from_millis(1234)).unwrap();
    assert_eq!(operation["row"], json!({ "nb_cfg": 5, "nb_cfg_timestamp": 1234 }));
    let (uuid, row) = registration.our_private().unwrap();
    let row = PrivateRow { nb_cfg: 5, ..row.clone() };
    registration.private_row(uuid, Some(row));
    assert_eq!(registration.report(5, Duration::ZERO), None);
}

#[test]
fn a_clean_exit_takes_back_bindings_chassis_and_private_row() {
    let operations = registered().removal();
    let ops: Vec<_> = operations
        .iter()
        .map(|op| (op["op"].as_str().unwrap(), op["table"].as_str().unwrap()))
        .collect();
    assert_eq!(
        ops,
        [
            ("update", "Port_Binding"),
            ("update", "Port_Binding"),
            ("delete", "Chassis"),
            ("delete", "Chassis_Private")
        ]
    );
}
