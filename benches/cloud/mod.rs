//! A cloud's Southbound DB in the shape that northd writes, as the text of monitor messages.
//!
//! Switches on one router, so that every datapath concerns every chassis; on each switch VMs and
//! containers nested in them, a seventh of the flows' number in all. One address set that 3,500 ACLs
//! share and one of 10,000 addresses; port groups; load balancer VIPs in a group of datapaths. What
//! is ours: 4,000 containers and their VMs at 1,000,000 flows, fewer in proportion below.

use ovn_xdp_compile::southbound::monitored;
use ovn_xdp_compile::{Compiler, Identity, LocalPort};
use ovn_xdp_datapath::key::{InterfaceId, VlanId};
use ovn_xdp_datapath::publish::{Generation, Tag};
use ovn_xdp_ovsdb::file::FileDatabase;
use ovn_xdp_ovsdb::intern::Interner;
use ovn_xdp_ovsdb::monitor::{Notation, Shapes, UpdatesSeed, Wanted};
use ovn_xdp_ovsdb::replica::Replica;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// Rows by table: the columns of each as text.
pub type Tables = BTreeMap<&'static str, Vec<(u64, String)>>;

/// A port of this chassis: its name, its VM, and its tag if it is a container in it.
pub type Ours = (String, u32, Option<u16>);

/// What is where.
pub struct Cloud {
    /// All rows.
    pub tables: Tables,
    /// Logical flows.
    pub flows: usize,
    /// Bytes of their matches and actions.
    pub text: usize,
    /// Ports of this chassis.
    pub ours: Vec<Ours>,
    next: u64,
}

/// The set that many ACLs share.
pub const SHARED: (&str, usize) = ("shared", 450);

/// The large set.
pub const LARGE: (&str, usize) = ("large", 10_000);

/// The number of row that are known by it.
pub mod row {
    pub const SHARED: u64 = 1;
    pub const LARGE: u64 = 2;
    pub const ROUTER: u64 = 3;
    pub const FIRST_SWITCH: u64 = 1000;
}

/// ACLs, of which the first is taken out and put in.
const ACLS: usize = 3_500;

/// Containers in a VM.
const NESTED: usize = 5;

pub fn uuid(row: u64) -> String {
    format!("{row:08x}-1111-4222-8333-{row:012x}")
}

/// The `n`th address of a set.
pub fn address(n: usize) -> String {
    format!("10.{}.{}.{}", 200 + n / 62_500, n / 250 % 250, n % 250)
}

fn set(values: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = values.map(|value| format!("\"{value}\"")).collect();
    format!("[\"set\",[{}]]", all.join(","))
}

fn set_row(name: &str, many: usize) -> String {
    format!("\"name\":\"{name}\",\"addresses\":{}", set((0..many).map(address)))
}

pub fn mac(switch: usize, host: usize) -> String {
    format!("0a:00:{switch:02x}:{:02x}:{:02x}:01", host / 256, host % 256)
}

impl Cloud {
    /// As near to this many flows as whole ports allow.
    pub fn new(flows: usize) -> Self {
        let mut cloud = Self {
            tables: Tables::new(),
            flows: 0,
            text: 0,
            ours: Vec::new(),
            next: row::FIRST_SWITCH,
        };
        cloud.row_as(row::SHARED, "Address_Set", set_row(SHARED.0, SHARED.1));
        cloud.row_as(row::LARGE, "Address_Set", set_row(LARGE.0, LARGE.1));
        let name = |name: &str, key: usize| {
            format!("\"tunnel_key\":{key},\"external_ids\":[\"map\",[[\"name\",\"{name}\"]]]")
        };
        cloud.row_as(row::ROUTER, "Datapath_Binding", name("router", 1));
        let many = (flows / 5_000).clamp(4, 200);
        let switches: Vec<u64> = (0..many)
            .map(|n| cloud.row("Datapath_Binding", name(&format!("sw{n}"), n + 2)))
            .collect();
        for (n, switch) in switches.iter().enumerate() {
            let (here, there) = (format!("sw{n}-lr"), format!("lr-sw{n}"));
            cloud.port(*switch, 1, &here, "patch", &format!("[\"peer\",\"{there}\"]"));
            cloud.port(row::ROUTER, n + 1, &there, "patch", &format!("[\"peer\",\"{here}\"]"));
        }
        cloud.shared_stages(&switches);
        cloud.balancers(&switches, flows * 15 / 1000);
        cloud.acls(switches[0], ACLS.min(flows / 4));
        let mut host = 0;
        while cloud.flows < flows {
            for (n, switch) in switches.iter().enumerate() {
                cloud.vm(n, *switch, host, flows);
            }
            host += 1 + NESTED;
        }
        cloud
    }

    pub fn row(&mut self, table: &'static str, columns: String) -> u64 {
        let row = self.next;
        self.next += 1;
        self.row_as(row, table, columns);
        row
    }

    fn row_as(&mut self, row: u64, table: &'static str, columns: String) {
        self.tables.entry(table).or_default().push((row, columns));
    }

    fn port(&mut self, datapath: u64, key: usize, name: &str, kind: &str, options: &str) {
        let columns = port_row(datapath, key, name, kind, options);
        self.row("Port_Binding", columns);
    }

    fn flow(&mut self, to: To, stage: (&str, u8), priority: u16, matches: &str, actions: &str) {
        self.flows += 1;
        self.text += matches.len() + actions.len();
        let columns = flow_row(to, stage, priority, matches, actions);
        self.row("Logical_Flow", columns);
    }

    /// What every switch has: a default in each stage.
    fn shared_stages(&mut self, switches: &[u64]) {
        let group = self.group(switches);
        for (pipeline, last) in [("ingress", 27), ("egress", 9)] {
            for table in 0..last {
                self.flow(To::Group(group), (pipeline, table), 0, "1", "next;");
            }
        }
        self.flow(To::Group(group), ("egress", 9), 0, "1", "output;");
    }

    fn group(&mut self, switches: &[u64]) -> u64 {
        let members: Vec<String> =
            switches.iter().map(|switch| format!("[\"uuid\",\"{}\"]", uuid(*switch))).collect();
        self.row("Logical_DP_Group", format!("\"datapaths\":[\"set\",[{}]]", members.join(",")))
    }

    fn balancers(&mut self, switches: &[u64], many: usize) {
        let group = self.group(&switches[..switches.len().min(4)]);
        for n in 0..many {
            let vip = format!("172.{}.{}.{}", 16 + n / 62_500, n / 250 % 250, n % 250);
            let matches =
                format!("ct.new && ip4.dst == {vip} && reg1[16..23] == 6 && reg1[0..15] == 80");
            let backends = (0..3).map(|b| format!("{}:8080", address(3 * n + b)));
            let backends = backends.collect::<Vec<_>>().join(",");
            let actions = format!("reg0[1] = 0; ct_lb_mark(backends={backends});");
            self.flow(To::Group(group), ("ingress", 13), 120, &matches, &actions);
        }
    }

    fn acls(&mut self, switch: u64, many: usize) {
        for n in 0..many {
            let matches = acl(n);
            self.flow(
                To::Datapath(switch),
                ("egress", 4),
                1000 + (n % 1000) as u16,
                &matches,
                "next;",
            );
        }
        let matches = format!("inport == @pg0 && ip4.dst == ${}", LARGE.0);
        self.flow(To::Datapath(switch), ("ingress", 8), 2000, &matches, "next;");
        let ports = set((0..50).map(|host| format!("p0-{}", host * (1 + NESTED))));
        self.row("Port_Group", format!("\"name\":\"2_pg0\",\"ports\":{ports}"));
    }

    /// A VM and the containers in it.
    fn vm(&mut self, n: usize, switch: u64, host: usize, flows: usize) {
        let parent = format!("p{n}-{host}");
        let vms = self.ours.iter().filter(|port| port.2.is_none()).count();
        let ours = vms < flows / 1250 && host / (1 + NESTED) <= flows / 1250 / 4;
        for nested in 0..=NESTED {
            let (host, name) = (host + nested, format!("p{n}-{}", host + nested));
            let tag = (nested > 0).then_some(nested as u16);
            let key = self.next;
            self.next += 1;
            let columns = port_row_of(switch, host + 2, &name, tag.map(|tag| (&*parent, tag)));
            self.row_as(key, "Port_Binding", columns);
            for (to, stage, priority, matches, actions) in port_flows(n, switch, host) {
                self.flow(to, stage, priority, &matches, &actions);
            }
            if ours {
                self.ours.push((name, vms as u32 + 1, tag));
            }
        }
    }

    /// The message with which everything comes.
    pub fn initial(&self) -> String {
        let mut text = String::from("{");
        for (table, rows) in &self.tables {
            let _ = write!(text, "{}\"{table}\":{{", if text.len() > 1 { "," } else { "" });
            for (at, (row, columns)) in rows.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let _ = write!(text, "{comma}\"{}\":{{\"initial\":{{{columns}}}}}", uuid(*row));
            }
            text.push('}');
        }
        text.push('}');
        text
    }
}

/// Where a flow is.
#[derive(Clone, Copy)]
pub enum To {
    Datapath(u64),
    Group(u64),
}

/// The match of an ACL.
pub fn acl(n: usize) -> String {
    format!("outport == \"p0-{}\" && ip4.src == ${} && tcp && tcp.dst == {n}", n % 100, SHARED.0)
}

pub fn flow_row(to: To, stage: (&str, u8), priority: u16, matches: &str, actions: &str) -> String {
    let (pipeline, table) = stage;
    let to = match to {
        To::Datapath(row) => format!("\"logical_datapath\":[\"uuid\",\"{}\"]", uuid(row)),
        To::Group(row) => format!("\"logical_dp_group\":[\"uuid\",\"{}\"]", uuid(row)),
    };
    let (matches, actions) = (matches.replace('"', "\\\""), actions.replace('"', "\\\""));
    format!(
        "{to},\"pipeline\":\"{pipeline}\",\"table_id\":{table},\"priority\":{priority},\"match\":\"{matches}\",\
         \"actions\":\"{actions}\",\"external_ids\":[\"map\",[[\"source\",\"northd.c:{}\"],[\"stage-hint\",\
         \"{:08x}\"],[\"stage-name\",\"stage_{pipeline}_{table}\"]]]",
        9000 + u32::from(table),
        u32::from(priority) * 77_777
    )
}

fn port_row(datapath: u64, key: usize, name: &str, kind: &str, options: &str) -> String {
    format!(
        "\"logical_port\":\"{name}\",\"type\":\"{kind}\",\"datapath\":[\"uuid\",\"{}\"],\
         \"tunnel_key\":{key},\"options\":[\"map\",[{options}]]",
        uuid(datapath)
    )
}

/// A port of a VM, or of a container in one.
pub fn port_row_of(datapath: u64, key: usize, name: &str, nested: Option<(&str, u16)>) -> String {
    let row = port_row(datapath, key, name, "", "");
    match nested {
        Some((parent, tag)) => format!("{row},\"parent_port\":\"{parent}\",\"tag\":{tag}"),
        None => row,
    }
}

/// The flows that a port brings.
pub type PortFlow = (To, (&'static str, u8), u16, String, String);

/// What northd writes for a port of a switch, and for its addresses on the router.
pub fn port_flows(n: usize, switch: u64, host: usize) -> Vec<PortFlow> {
    let (name, mac) = (format!("p{n}-{host}"), mac(n, host));
    let (v4, v6) =
        (format!("10.{n}.{}.{}", host / 250, host % 250), format!("fd00:{n:x}::{host:x}"));
    let on = To::Datapath(switch);
    let mut flows = vec![
        (
            on,
            ("ingress", 0),
            70,
            format!("inport == \"{name}\""),
            "reg0[15] = check_in_port_sec(); next;".into(),
        ),
        (
            on,
            ("ingress", 19),
            50,
            format!("arp.tpa == {v4} && arp.op == 1"),
            format!(
                "eth.dst = eth.src; eth.src = {mac}; arp.op = 2; /* ARP reply */ arp.tha = arp.sha; \
                 arp.sha = {mac}; arp.tpa = arp.spa; arp.spa = {v4}; outport = inport; \
                 flags.loopback = 1; output;"
            ),
        ),
        (
            on,
            ("ingress", 19),
            50,
            format!("nd_ns && ip6.dst == {{{v6}, ff02::1:ff00:{host:x}}} && nd.target == {v6}"),
            format!(
                "nd_na {{ eth.src = {mac}; ip6.src = {v6}; nd.target = {v6}; nd.tll = {mac}; \
                 outport = inport; flags.loopback = 1; output; }};"
            ),
        ),
        (
            on,
            ("ingress", 25),
            50,
            format!("eth.dst == {mac}"),
            format!("outport = \"{name}\"; output;"),
        ),
        (
            on,
            ("egress", 8),
            100,
            format!("outport == \"{name}\" && eth.mcast"),
            "reg0[15] = 0; next;".into(),
        ),
    ];
    for (register, address) in [("reg0", &v4), ("xxreg0", &v6)] {
        flows.push((
            To::Datapath(row::ROUTER),
            ("ingress", 14),
            100,
            format!("outport == \"lr-sw{n}\" && {register} == {address}"),
            format!("eth.dst = {mac}; next;"),
        ));
    }
    flows
}

/// A chassis from the text of messages to generations.
pub struct Chassis {
    shapes: Shapes,
    strings: Interner,
    pub replica: Replica,
    pub compiler: Compiler,
}

impl Chassis {
    pub fn new(ours: &[Ours]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = path.join("control/compile/tests/fixtures/stateless.db");
        let wanted: Vec<Wanted> = monitored()
            .into_iter()
            .map(|(table, columns)| Wanted::columns(table, columns))
            .collect();
        let file = FileDatabase::read(&path, "OVN_Southbound", &wanted).expect("a recording");
        let mut compiler = Compiler::new(Identity { chassis: "hv1".into() });
        for (name, interface, tag) in ours {
            let vid = tag.and_then(VlanId::new);
            let (id, tag) = (InterfaceId(*interface), vid.map(|vid| Tag { tpid: 0x8100, vid }));
            if tag.is_none() {
                compiler.set_interface(id, &format!("tap{interface}"));
            }
            compiler.bind(name, Some(LocalPort { interface: id, tag }));
        }
        Self {
            shapes: file.shapes,
            strings: Interner::default(),
            replica: Replica::default(),
            compiler,
        }
    }

    /// Takes a message and publishes what comes of it.
    pub fn hear(&mut self, text: &str) -> Arc<Generation> {
        self.read(text);
        self.compiler.publish()
    }

    /// Takes a message: the rows of it are known, and nothing has been made of them.
    pub fn read(&mut self, text: &str) {
        let seed = UpdatesSeed {
            shapes: &self.shapes,
            notation: Notation::Difference,
            strings: &mut self.strings,
        };
        let updates = seed.parse(text).expect("a message");
        let (changes, unknown) = self.replica.apply(updates);
        assert!(unknown.is_none(), "{unknown:?}");
        self.compiler.apply(&changes);
    }
}
