//! What we ask the server to show (MON-1 to MON-9).
//!
//! The conditions are a function of who we are, which interfaces there are and which datapaths are
//! local. They are compared with the ones asked for last, so that only tables whose condition
//! changed are asked for anew.

use ovn_xdp_ovsdb::condition::{Clause, Conditions, TableConditions};
use ovn_xdp_ovsdb::value::{Atom, Datum};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Facts that the conditions follow from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// `Chassis.name`.
    pub name: String,
    /// Our row of Chassis, once it exists.
    pub chassis: Option<Uuid>,
    /// `ovn-monitor-all`.
    pub all: bool,
    /// Logical ports that our interfaces are for.
    pub interface_ids: BTreeSet<Arc<str>>,
    /// Rows of Datapath_Binding that are local (MON-8).
    pub datapaths: BTreeSet<Uuid>,
}

/// Tables that have a condition; all others are shown whole (MON-2, MON-7).
pub const TABLES: [&str; 9] = [
    "Port_Binding",
    "Logical_Flow",
    "MAC_Binding",
    "FDB",
    "Multicast_Group",
    "IP_Multicast",
    "DNS",
    "Chassis_Private",
    "Chassis_Template_Var",
];

/// The condition of every table of [`TABLES`]. `keys` are the tunnel keys of the local datapaths,
/// by which FDB names them.
pub fn conditions(facts: &Facts, keys: &BTreeSet<i64>) -> TableConditions {
    TABLES.iter().map(|table| (Arc::from(*table), condition(table, facts, keys))).collect()
}

fn condition(table: &str, facts: &Facts, keys: &BTreeSet<i64>) -> Conditions {
    let local = |column: &str| {
        let clause = |uuid: &Uuid| Clause::equal(column, *uuid);
        facts.datapaths.iter().map(clause).collect::<Vec<_>>()
    };
    let own = |column: &str| match facts.chassis {
        Some(_) => Conditions::any([Clause::equal(column, facts.name.as_str())]),
        // Until our row exists, all are shown (MON-6).
        None => Conditions::All,
    };
    match table {
        _ if facts.all => Conditions::All,
        "Port_Binding" => Conditions::any(port_binding(facts)),
        "Logical_Flow" => {
            let mut clauses = local("logical_datapath");
            clauses.push(Clause::not_equal("logical_dp_group", Datum::set::<Atom>([])));
            Conditions::any(clauses)
        }
        "FDB" => Conditions::any(keys.iter().map(|key| Clause::equal("dp_key", *key))),
        "DNS" => {
            let clause = |uuid: &Uuid| Clause::includes("datapaths", *uuid);
            Conditions::any(facts.datapaths.iter().map(clause))
        }
        "Chassis_Private" => own("name"),
        "Chassis_Template_Var" => own("chassis"),
        _ => Conditions::any(local("datapath")),
    }
}

fn port_binding(facts: &Facts) -> Vec<Clause> {
    let option = |key: &str, value: &str| {
        Clause::includes("options", Datum::map([(key.to_owned(), value.to_owned())]))
    };
    let mut clauses = vec![
        Clause::equal("type", "patch"),
        Clause::equal("type", "chassisredirect"),
        Clause::equal("type", "external"),
        Clause::not_equal("parent_port", Datum::set::<Atom>([])),
        option("ipv6_ra_send_periodic", "true"),
        option("l2gateway-chassis", &facts.name),
        option("l3gateway-chassis", &facts.name),
    ];
    if let Some(me) = facts.chassis {
        clauses.push(Clause::equal("chassis", me));
        clauses.push(Clause::equal("requested_chassis", me));
        clauses.push(Clause::includes("additional_chassis", me));
        clauses.push(Clause::includes("requested_additional_chassis", me));
    }
    // Names of bound ports stay: leaving them out would change the condition with every claim.
    let name = |name: &Arc<str>| Clause::equal("logical_port", name.clone());
    clauses.extend(facts.interface_ids.iter().map(name));
    clauses.extend(facts.datapaths.iter().map(|datapath| Clause::equal("datapath", *datapath)));
    clauses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { name: "hv1".to_owned(), ..Facts::default() }
    }

    fn of(facts: &Facts, table: &str) -> Conditions {
        conditions(facts, &BTreeSet::from([7]))[table].clone()
    }

    fn asks(facts: &Facts, table: &str, clause: &Clause) -> bool {
        match of(facts, table) {
            Conditions::All => true,
            Conditions::Any(clauses) => clauses.contains(clause),
        }
    }

    #[test]
    fn containers_and_patch_ports_of_the_whole_cloud_are_always_asked_for() {
        let containers = Clause::not_equal("parent_port", Datum::empty());
        assert!(asks(&facts(), "Port_Binding", &containers));
        assert!(asks(&facts(), "Port_Binding", &Clause::equal("type", "patch")));
    }

    #[test]
    fn conditions_grow_and_shrink_with_the_local_datapaths() {
        let datapath = Uuid::from_u128(5);
        let mut facts = facts();
        assert_eq!(of(&facts, "MAC_Binding"), Conditions::none());
        facts.datapaths.insert(datapath);
        let clause = Clause::equal("datapath", datapath);
        assert_eq!(of(&facts, "MAC_Binding"), Conditions::any([clause.clone()]));
        assert!(asks(&facts, "Port_Binding", &clause));
        assert!(asks(&facts, "Logical_Flow", &Clause::equal("logical_datapath", datapath)));
        assert_eq!(of(&facts, "FDB"), Conditions::any([Clause::equal("dp_key", 7)]));
        facts.datapaths.clear();
        assert!(!asks(&facts, "Port_Binding", &clause));
    }

    #[test]
    fn the_own_row_is_asked_for_once_it_is_known_and_all_before() {
        let mut facts = facts();
        assert_eq!(of(&facts, "Chassis_Private"), Conditions::All);
        let me = Uuid::from_u128(1);
        facts.chassis = Some(me);
        let own = Conditions::any([Clause::equal("name", "hv1")]);
        assert_eq!(of(&facts, "Chassis_Private"), own);
        assert!(asks(&facts, "Port_Binding", &Clause::equal("chassis", me)));
    }

    #[test]
    fn monitor_all_asks_for_everything() {
        let facts = Facts { all: true, ..facts() };
        let all = conditions(&facts, &BTreeSet::new());
        assert!(all.values().all(|condition| *condition == Conditions::All), "{all:?}");
    }

    #[test]
    fn the_name_of_an_interface_is_asked_for() {
        let mut facts = facts();
        facts.interface_ids.insert("vm1".into());
        assert!(asks(&facts, "Port_Binding", &Clause::equal("logical_port", "vm1")));
    }
}
