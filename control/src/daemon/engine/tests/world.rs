//! What the engine is tested in: a compiler and ports that only remember what they were told, and rows.

use super::*;

pub(super) struct NoNames;

impl Names for NoNames {
    fn port(&self, _: DatapathKey, _: PortKey) -> Option<(Uuid, Arc<str>)> {
        Some((Uuid::nil(), "lrp".into()))
    }

    fn is_localnet(&self, _: DatapathKey, _: PortKey) -> bool {
        false
    }
}

#[derive(Default)]
pub(super) struct FakeCompiler {
    pub(super) bound: BTreeMap<String, InterfaceId>,
    pub(super) tunnels: BTreeMap<TunnelId, Way>,
    pub(super) peers: BTreeSet<IpAddr>,
    pub(super) local: Vec<(Uuid, DatapathKey)>,
    pub(super) generation: u64,
    pub(super) applied: Vec<String>,
    /// Publishing finds nothing new for the workers.
    pub(super) unchanged: bool,
}

impl Compiler for FakeCompiler {
    type Names = NoNames;
    fn apply(&mut self, changes: &[Change]) {
        self.applied.extend(changes.iter().map(|change| change.table.to_string()));
    }
    fn knows(&self, _: &str, _: Uuid) -> bool {
        false
    }
    fn verify(&mut self, changes: &[Change]) -> Result<(), Objection> {
        let wrong = changes.iter().find(|change| {
            let new = change.new.as_ref();
            new.is_some_and(|row| row.string("match").is_ok_and(|text| text == "wrong"))
        });
        match wrong {
            Some(change) => Err(Objection { row: change.row, reason: "it is wrong".to_owned() }),
            None => Ok(()),
        }
    }
    fn set_interface(&mut self, _: InterfaceId, _: &str) {}
    fn remove_interface(&mut self, _: InterfaceId) {}
    fn bind(&mut self, _: Uuid, port: &Arc<str>, interface: InterfaceId, _: Option<Tag>) {
        self.bound.insert(port.to_string(), interface);
        self.local = vec![(Uuid::from_u128(50), DatapathKey::new(1).unwrap())];
    }
    fn unbind(&mut self, _: Uuid, port: &Arc<str>) {
        self.bound.remove(&**port);
        if self.bound.is_empty() {
            self.local.clear();
        }
    }
    fn set_tunnel(&mut self, id: TunnelId, way: &Way) {
        self.tunnels.insert(id, way.clone());
    }
    fn remove_tunnel(&mut self, id: TunnelId) {
        self.tunnels.remove(&id);
    }
    fn set_peers(&mut self, peers: &BTreeSet<IpAddr>) {
        self.peers = peers.clone();
    }
    fn local_datapaths(&mut self) -> Vec<(Uuid, DatapathKey)> {
        self.local.clone()
    }
    fn publish(&mut self) -> u64 {
        self.generation += u64::from(!self.unchanged);
        self.generation
    }
    fn names(&self) -> NoNames {
        NoNames
    }
}

#[derive(Default)]
pub(super) struct FakePorts {
    pub(super) attached: BTreeMap<InterfaceId, String>,
    pub(super) admitted: BTreeSet<InterfaceId>,
    pub(super) next: u32,
    pub(super) nics: Vec<String>,
    pub(super) broken: bool,
}

impl Ports for FakePorts {
    fn attach_interface(&mut self, name: &str) -> Result<InterfaceId, String> {
        if self.broken {
            return Err("no".to_owned());
        }
        self.next += 1;
        self.attached.insert(InterfaceId(self.next), name.to_owned());
        Ok(InterfaceId(self.next))
    }
    fn admit_interface(&mut self, id: InterfaceId) -> Result<(), String> {
        self.admitted.insert(id);
        Ok(())
    }
    fn detach_interface(&mut self, id: InterfaceId) {
        self.attached.remove(&id);
        self.admitted.remove(&id);
    }
    fn open_nic(&mut self, name: &str) -> Result<u16, String> {
        if self.broken {
            return Err("no".to_owned());
        }
        self.nics.push(name.to_owned());
        Ok(self.nics.len() as u16 - 1)
    }
    fn set_tunnel_addresses(&mut self, _: &[IpAddr]) {}
}

pub(super) struct World {
    pub(super) engine: Engine<FakeCompiler, FakePorts>,
    pub(super) links: Links,
    pub(super) now: Duration,
}

pub(super) fn change(table: &str, row: Uuid, new: Option<Row>) -> Change {
    Change { table: table.into(), row, old: None, new }
}

pub(super) fn encap(ip: &str, chassis: &str) -> Row {
    Row::made(
        "Encap",
        [
            ("type", Datum::from("geneve")),
            ("ip", Datum::from(ip)),
            ("options", Datum::map([("csum", "true")])),
            ("chassis_name", Datum::from(chassis)),
        ],
    )
}

pub(super) fn chassis(name: &str, encap: Uuid) -> Row {
    Row::made("Chassis", [("name", Datum::from(name)), ("encaps", Datum::from(encap))])
}

pub(super) fn port(chassis: Option<Uuid>, up: bool) -> Row {
    Row::made(
        "Port_Binding",
        [
            ("logical_port", Datum::from("vm1")),
            ("type", Datum::from("")),
            ("chassis", chassis.map_or(Datum::empty(), Datum::from)),
            ("up", Datum::from(up)),
        ],
    )
}

impl World {
    pub(super) fn new(text: &str) -> Self {
        let config = Config::parse(text).unwrap();
        let ports = FakePorts::default();
        let engine = Engine::new(config, FakeCompiler::default(), ports, false);
        Self { engine, links: Links::default(), now: Duration::ZERO }
    }

    pub(super) fn link(&mut self, index: u32, name: &str) {
        self.link_of(LinkLayerType::Ether, index, name);
    }

    pub(super) fn link_of(&mut self, kind: LinkLayerType, index: u32, name: &str) {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.link_layer_type = kind;
        message.header.flags = LinkFlags::Up;
        message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
        self.links.set(&message);
        self.engine.links(&self.links, self.now);
    }

    pub(super) fn turn(&mut self) -> Turn {
        self.engine.turn(Clock { now: self.now, wall: Duration::from_secs(1) })
    }

    /// Connected, with our rows in the database.
    pub(super) fn connect(&mut self) {
        let mut rows = vec![
            change("Encap", ENCAP, Some(encap("192.0.2.1", "hv1"))),
            change("Chassis", ME, Some(chassis("hv1", ENCAP))),
        ];
        let private = [("name", Datum::from("hv1")), ("chassis", Datum::from(ME))];
        rows.push(change("Chassis_Private", PRIVATE, Some(Row::made("Chassis_Private", private))));
        self.change(rows);
        self.engine.initial();
        self.engine.writable(true, self.now);
    }

    pub(super) fn change(&mut self, changes: Vec<Change>) {
        self.engine.changes(&changes, self.now);
    }

    pub(super) fn settle(&mut self, turn: &Turn) {
        if turn.conditions.is_some() {
            self.engine.conditions_sent(1);
            self.engine.conditions_settled(1);
        }
    }

    pub(super) fn nb_cfg(&mut self, nb_cfg: i64) {
        let row = Row::made("SB_Global", [("nb_cfg", Datum::from(nb_cfg))]);
        self.change(vec![change("SB_Global", Uuid::from_u128(4), Some(row))]);
    }
}

pub(super) fn of<'a>(turn: &'a Turn, concern: &Concern) -> Option<&'a Vec<Value>> {
    turn.transactions.iter().find(|(found, _)| found == concern).map(|(_, operations)| operations)
}
