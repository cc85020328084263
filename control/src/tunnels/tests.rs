use super::*;
use proptest::prelude::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn encap() -> Encap {
    Encap {
        addresses: vec![address("192.0.2.1"), address("2001:db8::1")],
        default: None,
        csum: true,
        tos: Some(0),
        df: true,
    }
}

#[derive(Default)]
struct Tables {
    chassis: BTreeMap<Uuid, ChassisRow>,
    encaps: BTreeMap<Uuid, EncapRow>,
}

impl Tables {
    fn put(&mut self, number: u128, name: &str, ips: &[(&str, &str)]) -> &mut ChassisRow {
        let mut references = BTreeSet::new();
        for (index, (kind, ip)) in ips.iter().enumerate() {
            let uuid = Uuid::from_u128(number * 100 + index as u128);
            references.insert(uuid);
            let row = EncapRow {
                kind: (*kind).to_owned(),
                ip: (*ip).to_owned(),
                options: BTreeMap::new(),
                chassis: name.to_owned(),
            };
            self.encaps.insert(uuid, row);
        }
        let uuid = Uuid::from_u128(number);
        let row = ChassisRow {
            name: name.to_owned(),
            hostname: String::new(),
            encaps: references,
            other_config: BTreeMap::new(),
            transport_zones: BTreeSet::new(),
        };
        self.chassis.insert(uuid, row);
        self.chassis.get_mut(&uuid).unwrap()
    }

    fn update(&self, tunnels: &mut Tunnels) -> Vec<Change> {
        self.update_in(tunnels, &[])
    }

    fn update_in(&self, tunnels: &mut Tunnels, zones: &[String]) -> Vec<Change> {
        let encap = encap();
        let us = Ourselves { name: "hv1", zones, interconn: false, encap: &encap };
        tunnels.update(&self.chassis, &self.encaps, us)
    }
}

fn set(change: &Change) -> (TunnelId, &Way) {
    match change {
        Change::Set(id, way) => (*id, way),
        Change::Remove(_) => panic!("{change:?}"),
    }
}

#[test]
fn a_chassis_that_speaks_geneve_gets_a_tunnel_and_we_ourselves_do_not() {
    let mut tables = Tables::default();
    tables.put(1, "hv1", &[("geneve", "192.0.2.1")]);
    tables.put(2, "hv2", &[("geneve", "192.0.2.2")]);
    tables.put(3, "hv3", &[("vxlan", "192.0.2.3")]);
    let mut tunnels = Tunnels::default();
    let changes = tables.update(&mut tunnels);
    assert_eq!(changes.len(), 1);
    let (_, way) = set(&changes[0]);
    assert_eq!((&*way.ends.chassis, way.tunnel.local), ("hv2", address("192.0.2.1")));
    assert!(way.preferred && way.tunnel.csum && way.tunnel.df);
    assert_eq!(tunnels.peers(), BTreeSet::from([address("192.0.2.2")]));
}

#[test]
fn our_end_is_of_the_family_of_the_other_end() {
    let mut tables = Tables::default();
    tables.put(2, "hv2", &[("geneve", "2001:db8::2")]);
    let changes = tables.update(&mut Tunnels::default());
    assert_eq!(set(&changes[0]).1.tunnel.local, address("2001:db8::1"));
}

#[test]
fn of_several_addresses_the_default_is_preferred_and_each_is_a_peer() {
    let mut tables = Tables::default();
    tables.put(2, "hv2", &[("geneve", "192.0.2.2"), ("geneve", "192.0.2.3")]);
    tables
        .encaps
        .get_mut(&Uuid::from_u128(201))
        .unwrap()
        .options
        .insert("is_default".into(), "true".into());
    let mut tunnels = Tunnels::default();
    let changes = tables.update(&mut tunnels);
    let preferred: Vec<bool> = changes.iter().map(|change| set(change).1.preferred).collect();
    assert_eq!(preferred, [false, true]);
    assert_eq!(tunnels.peers().len(), 2);
}

#[test]
fn chassis_that_share_no_transport_zone_get_no_tunnel() {
    let zone = |name: &str| vec![name.to_owned()];
    for (ours, theirs, speaks) in
        [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "", false), ("", "a", false)]
    {
        let mut tables = Tables::default();
        let row = tables.put(2, "hv2", &[("geneve", "192.0.2.2")]);
        row.transport_zones = zone(theirs).into_iter().filter(|zone| !zone.is_empty()).collect();
        let ours: Vec<String> = zone(ours).into_iter().filter(|zone| !zone.is_empty()).collect();
        let changes = tables.update_in(&mut Tunnels::default(), &ours);
        assert_eq!(!changes.is_empty(), speaks, "{ours:?} {theirs}");
    }
}

#[test]
fn a_chassis_of_another_availability_zone_is_left_to_interconnection_gateways() {
    let mut tables = Tables::default();
    let row = tables.put(2, "hv2", &[("geneve", "192.0.2.2")]);
    row.other_config.insert("is-remote".into(), "true".into());
    assert!(tables.update(&mut Tunnels::default()).is_empty());
}

#[test]
fn a_next_hop_that_becomes_known_changes_that_tunnel_alone() {
    let mut tables = Tables::default();
    tables.put(2, "hv2", &[("geneve", "192.0.2.2")]);
    tables.put(3, "hv3", &[("geneve", "192.0.2.3")]);
    let mut tunnels = Tunnels::default();
    tables.update(&mut tunnels);
    let link = Link { nic: 0, source: [1; 6], destination: [2; 6], mtu: 1500 };
    let (ours, theirs) = (address("192.0.2.1"), address("192.0.2.3"));
    let changes = tunnels.hop(ours, theirs, Some(link));
    assert_eq!(changes.len(), 1);
    assert_eq!(set(&changes[0]).1.tunnel.link, Some(link));
    assert!(tunnels.hop(ours, theirs, Some(link)).is_empty());
    assert!(tables.update(&mut tunnels).is_empty(), "a second look changes nothing");
    assert_eq!(tunnels.hop(ours, theirs, None).len(), 1);
}

proptest! {
    /// Whatever chassis come, change and go: a tunnel keeps its number while it exists, no number
    /// is used twice, and nothing is said of tunnels that did not change.
    #[test]
    fn a_change_of_one_chassis_never_touches_the_tunnels_of_another(
        steps in proptest::collection::vec((2..6u128, proptest::option::of(1..5u8)), 1..40)
    ) {
        let mut tables = Tables::default();
        let mut tunnels = Tunnels::default();
        let mut seen: BTreeMap<TunnelId, Ends> = BTreeMap::new();
        for (number, ip) in steps {
            let name = format!("hv{number}");
            match ip {
                Some(ip) => {
                    let ip = format!("192.0.2.{}", number * 10 + u128::from(ip));
                    tables.put(number, &name, &[("geneve", &ip)]);
                }
                None => {
                    tables.chassis.remove(&Uuid::from_u128(number));
                }
            }
            for change in tables.update(&mut tunnels) {
                match change {
                    Change::Set(id, way) => {
                        prop_assert_eq!(&way.ends.chassis, &name);
                        let first = seen.entry(id).or_insert_with(|| way.ends.clone());
                        prop_assert_eq!(&*first, &way.ends);
                    }
                    Change::Remove(id) => prop_assert_eq!(&seen[&id].chassis, &name),
                }
            }
        }
    }
}
