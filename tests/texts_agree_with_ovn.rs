//! What `ovn-northd` writes prints as OVN prints it, and what OVN refuses is refused in its words.
//!
//! The texts are those of the networks that `traces_agree_with_ovn_trace` walks, as a real northd
//! makes them. OVN's program that prints them is not packaged: `scripts/record-ovstest` builds it and
//! keeps its answers in `tests/ovstest`. A text without an answer there is a failure. Errors are
//! asked of the packaged `ovn-trace`, which says what is wrong with a flow that it cannot read.

use anyhow::Result;
use ovn_xdp_compile::check::check;
use ovn_xdp_control::contents;
use ovn_xdp_control::lflow::{Given, Layout, Lflow, Step};
use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::dice::Dice;
use ovn_xdp_kit::network::{FEATURES, Network};
use ovn_xdp_kit::process;
use ovn_xdp_kit::texts::Texts;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::Command;

const EXPRESSIONS: &str = include_str!("ovstest/expressions");
const ACTIONS: &str = include_str!("ovstest/actions");
const SETS: &str = include_str!("ovstest/sets");

const STEPS: [(&str, Step); 4] = [
    ("parse", Step::Parse),
    ("annotate", Step::Annotate),
    ("simplify", Step::Simplify),
    ("normalize", Step::Normalize),
];

/// OVN's answers, by text: the lines below it, without their indentation.
fn recorded(all: &'static str) -> HashMap<&'static str, Vec<&'static str>> {
    let mut found = HashMap::new();
    let mut answers = &mut Vec::new();
    for line in all.lines() {
        match line.strip_prefix("    ") {
            Some(answer) => answers.push(answer),
            None => answers = found.entry(line).or_insert_with(Vec::new),
        }
    }
    found
}

/// What is in the sets that texts name.
fn sets() -> BTreeMap<String, BTreeSet<String>> {
    let set = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        (words.next().unwrap_or_default(), words.collect())
    };
    SETS.lines().map(set).collect()
}

fn lflow() -> Lflow {
    let mut given = Given { ovstest: true, table: 10, ..Given::default() };
    for (name, members) in sets() {
        let set = format!("{}={}", &name[1..], Vec::from_iter(members).join(","));
        match name.starts_with('$') {
            true => given.address_sets.push(set),
            false => given.port_groups.push(set),
        }
    }
    Lflow::new(given).unwrap()
}

#[test]
fn every_text_of_the_networks_prints_as_in_ovn() {
    let central = Central::new(Southbound::Standalone).unwrap();
    let mut texts = Texts::default();
    for number in 0..FEATURES.len() {
        Network::random(&mut Dice::new(1000 + number as u64), number).build(&central).unwrap();
        texts.read(&central).unwrap();
    }
    let again = "run scripts/record-ovstest";
    assert_eq!(texts.sets, sets(), "what is in sets is not what was recorded: {again}");
    assert!(texts.matches.len() > 500 && texts.actions.len() > 250, "a poor mixture");
    let lflow = lflow();
    let mut differ = Vec::new();
    let expressions = recorded(EXPRESSIONS);
    for text in &texts.matches {
        let Some(answers) = expressions.get(&**text) else {
            panic!("no answer was recorded for the match {text}: {again}");
        };
        let mut last = text.clone();
        for (name, step) in STEPS {
            let theirs = answers.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix(' '));
            last = theirs.map_or(last, str::to_owned);
            let ours = lflow.answer(&step, text).text;
            if ours != last {
                differ.push(format!("{text}\n{name}, ours: {ours}\n{name}, OVN:  {last}"));
            }
        }
    }
    let actions = recorded(ACTIONS);
    for text in &texts.actions {
        let Some(answers) = actions.get(&**text) else {
            panic!("no answer was recorded for the actions {text}: {again}");
        };
        let ours = lflow.answer(&Step::Actions(Layout::Ovstest), text).text;
        let ours: Vec<&str> = ours.lines().skip(1).map(str::trim_start).collect();
        if ours != *answers {
            differ.push(format!("{text}\nours: {ours:?}\nOVN:  {answers:?}"));
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n\n"));
}

/// A wrong match, and the row of the errors that it is a case of.
const WRONG_MATCHES: [(&str, &str); 62] = [
    ("EX-E1", "xyzzy == 1"),
    ("EX-E1", "tcp.dst == 1 && xyzzy"),
    ("EX-E2", "ip4.src == $gone"),
    ("EX-E2", "ip4.src == {10.0.0.1, $gone}"),
    ("EX-E2", "inport == @gone"),
    ("EX-E3", "ip4 && tcp || udp"),
    ("EX-E3", "ip4 || tcp && udp"),
    ("EX-E4", ""),
    ("EX-E4", "ip4 &&"),
    ("EX-E4", "&& ip4"),
    ("EX-E4", "ip4.src =="),
    ("EX-E4", "tcp.dst == xyz"),
    ("EX-E4", "5"),
    ("EX-E4", "0x1"),
    ("EX-E4", "inport"),
    ("EX-E4", "reg0[7] = 1"),
    ("EX-E5", "ip4.src == ::1"),
    ("EX-E5", "reg0[0..7] == 0x1ffffffff"),
    ("EX-E5", "tcp.dst == {80, 65536}"),
    ("EX-E6", "inport == 5"),
    ("EX-E6", "tcp.dst == \"a\""),
    ("EX-E6", "inport == {\"a\", 5}"),
    ("EX-E6", "tcp.dst == {5, \"a\"}"),
    ("EX-E7", "tcp.dst < {1, 2}"),
    ("EX-E7", "ip.proto > 6"),
    ("EX-E7", "eth.bcast < 1"),
    ("EX-E7", "inport < \"a\""),
    ("EX-E7", "eth.src > 00:00:00:00:11:11/00:00:00:00:ff:ff"),
    ("EX-E7", "ip4.src < $mixed"),
    ("EX-E7", "ip4.src < $empty"),
    ("EX-E8", "eth.type != 0x800"),
    ("EX-E8", "!(ip.proto == 6)"),
    ("EX-E8", "!ip4"),
    ("EX-E8", "inport != \"a\""),
    ("EX-E8", "!(ip.proto == 6 || ip.proto == 17)"),
    ("EX-E9", "tcp.dst"),
    ("EX-E9", "ip4 && reg0[0..3]"),
    ("EX-E10", "1 < tcp.dst > 2"),
    ("EX-E10", "1 == tcp.dst == 2"),
    ("EX-E11", "inport[0..3] == 1"),
    ("EX-E11", "reg0[8..7] == 0"),
    ("EX-E11", "reg0[0..32] == 0"),
    ("EX-E11", "ip.ttl[0..3] == 0"),
    ("EX-E11", "reg0[x] == 0"),
    ("EX-E12", "ip4.src == {}"),
    ("EX-E13", "(ip4"),
    ("EX-E13", "ip4)"),
    ("EX-E13", "ip4.src == {1.2.3.4"),
    ("EX-E13", "reg0[0"),
    ("EX-E15", "ip4.src == 10.0.0.0/33"),
    ("EX-E15", "ip4.src == 10.0.0.0/ffff::"),
    ("EX-E15", "eth.src == 00:00:00:00:00:01/16"),
    ("EX-E16", "ip4.src == ^vip"),
    ("EX-E17", "foo(\"x\")"),
    ("EX-E17", "is_chassis_resident(x)"),
    ("EX-E17", "is_chassis_resident(\"x\""),
    ("EX-E18", "ip4 tcp"),
    ("EX-E19", "tcp.dst & 1"),
    ("EX-E19", "tcp.dst == 007"),
    ("EX-E19", "inport == \"a"),
    ("EX-E19", "ip4 /* and more"),
    ("EX-E19", "ip4.src == $"),
];

/// Wrong actions, and the row of the rule that they break.
const WRONG_ACTIONS: [(&str, &str); 58] = [
    ("ACT-P1", "output"),
    ("ACT-P1", ";"),
    ("ACT-P1", "drop; next;"),
    ("ACT-P1", "next; drop;"),
    ("ACT-P1", "clone {"),
    ("ACT-P1", "clone { output };"),
    ("ACT-P2", "reg0 == 1;"),
    ("ACT-P3", "ip.proto = 6;"),
    ("ACT-P3", "ct.new = 1;"),
    ("ACT-P3", "ct_mark = 1;"),
    ("ACT-P3", "ct_commit { reg0 = 1; };"),
    ("ACT-P3", "ip4 = 1;"),
    ("ACT-P3", "tcp.dst = 0x10000;"),
    ("ACT-P3", "inport = 5;"),
    ("ACT-P3", "reg0 = \"a\";"),
    ("ACT-P3", "reg0 = $gone;"),
    ("ACT-P3", "reg0 = ^var;"),
    ("ACT-P3", "reg0[0] = vlan.pcp;"),
    ("ACT-P3", "inport = reg0;"),
    ("ACT-P3", "inport <-> reg0;"),
    ("ACT-P3", "reg0[0] <-> vlan.pcp;"),
    ("ACT-P3", "pop(eth.type);"),
    ("ACT-P3", "reg0[0..14] = select(1, 2);"),
    ("ACT-P3", "get_arp(outport, ip6.dst);"),
    ("ACT-P3", "get_arp(reg0, ip4.dst);"),
    ("ACT-P3", "reg0 = check_pkt_larger(1500);"),
    ("ACT-P3", "reg0[0..1] = chk_lb_hairpin();"),
    ("ACT-P4", "next(64);"),
    ("ACT-P4", "next(pipeline=egress, table=64);"),
    ("ACT-P4", "next();"),
    ("ACT-P4", "next(10;"),
    ("ACT-P7", "xyzzy;"),
    ("ACT-P7", "output; garbage;"),
    ("ACT-P7", "ct_next(foo);"),
    ("ACT-P7", "ct_dnat(foo);"),
    ("ACT-P7", "ct_dnat(1.2.3.4/24);"),
    ("ACT-P7", "ct_dnat(1.2.3.4, 5-4);"),
    ("ACT-P7", "ct_dnat(1.2.3.4, 0);"),
    ("ACT-P7", "ct_lb_mark(foo);"),
    ("ACT-P7", "ct_lb_mark(backends=fd0f::2:80x);"),
    ("ACT-P7", "ct_lb_mark(backends=[1.2.3.4]:80);"),
    ("ACT-P7", "reg0 = select(1);"),
    ("ACT-P7", "reg0 = select(1=0, 2);"),
    ("ACT-P7", "reg0[0] = put_dhcp_opts(router = 10.0.0.1);"),
    ("ACT-P7", "reg0[0] = put_dhcp_opts(offerip = \"xyzzy\");"),
    ("ACT-P7", "reg0[0] = put_dhcp_opts(offerip = 10.0.0.4, xyzzy = 1);"),
    ("ACT-P7", "reg0[0] = put_nd_ra_opts(addr_mode = \"maybe\", slla = ae:01:02:03:04:05);"),
    ("ACT-P7", "reg0[0] = put_nd_ra_opts(addr_mode = \"slaac\");"),
    ("ACT-P7", "reg0[0] = dns_lookup(foo);"),
    ("ACT-P7", "log(verdict=bad);"),
    ("ACT-P7", "log(verdict=drop, severity=foo);"),
    ("ACT-P7", "log();"),
    ("ACT-P7", "set_queue(61441);"),
    ("ACT-P7", "set_meter(0);"),
    ("ACT-P7", "trigger_event(event = \"x\");"),
    ("ACT-P7", "trigger_event(event = \"empty_lb_backends\", load_balancer = \"x\");"),
    ("ACT-P7", "sample(probability=0);"),
    ("ACT-P7", "fwd_group(childports=s1);"),
];

/// Where we say something else than OVN 23.03, and why.
const DIFFERENT: [(&str, &str); 5] = [
    ("ip4.src == ^vip", "23.03 reads the name without its sigil; we say which variable is missing"),
    ("reg0 = ^var;", "the same"),
    ("next(64);", "ACT-P4: 23.03 has fewer tables, and the largest pipeline is accepted"),
    ("next(pipeline=egress, table=64);", "the same"),
    ("ct_next(foo);", "23.03 has no parameter there, 26.03 has"),
];

/// A flow of which one text is wrong.
struct Flow<'a> {
    central: &'a Central,
    row: String,
}

impl Flow<'_> {
    fn set(&self, matching: &str, actions: &str) -> Result<()> {
        let column = |name, text| Ok(format!("{name}={}", serde_json::to_string(text)?));
        let columns: [Result<String>; 2] = [column("match", matching), column("actions", actions)];
        let [matching, actions] = columns;
        self.central.sbctl(&["set", "Logical_Flow", &self.row, &matching?, &actions?]).map(drop)
    }

    /// What `ovn-trace` finds wrong with it.
    fn theirs(&self) -> Result<Option<String>> {
        let mut command = Command::new("ovn-trace");
        command.arg(format!("--db={}", self.central.remote())).args(["sw", "inport == \"p1\""]);
        let log = String::from_utf8(process::output(&mut command)?.stderr)?;
        let warning = log.lines().find_map(|line| line.split_once(" failed (").map(|it| it.1));
        Ok(warning.map(|text| text.trim_end_matches(')').to_owned()))
    }

    /// What `ovn-xdp check` finds wrong with it.
    async fn ours(&self) -> Result<Option<String>> {
        let client = contents::read(&self.central.remote(), None, false).await?;
        Ok(check(client.replica()).skipped.first().map(|it| it.reason.clone()))
    }
}

#[test]
fn what_ovn_refuses_is_refused_in_its_words() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut central = Central::new(Southbound::Standalone).unwrap();
    central.nb("ls-add sw -- lsp-add sw p1 -- dhcp-options-create 10.0.0.0/24").unwrap();
    central.sync().unwrap();
    // From here on the flows are ours.
    central.stop_northd();
    central.sb("--all destroy Logical_Flow").unwrap();
    central.sb("create Address_Set name=mixed addresses=10.0.0.0/8,10.0.0.1").unwrap();
    central.sb("create Address_Set name=empty").unwrap();
    let datapath = central.sb("--bare --columns=_uuid list Datapath_Binding").unwrap();
    let create = format!(
        "create Logical_Flow logical_datapath={} pipeline=ingress table_id=0 priority=1 match=1",
        datapath.trim()
    );
    let row = central.sb(&create).unwrap().trim().to_owned();
    let flow = Flow { central: &central, row };
    let mut differ = Vec::new();
    let deep = ["(".repeat(101), "ip4".into(), ")".repeat(101)].concat();
    let nested = ["clone { ".repeat(40), "output; ".into(), "}; ".repeat(40)].concat();
    let matches = WRONG_MATCHES.into_iter().chain([("EX-E14", &*deep)]);
    let actions = WRONG_ACTIONS.into_iter().chain([("ACT-P1", &*nested)]);
    let matches = matches.map(|(row, text)| (row, text, text, "next;"));
    let actions = actions.map(|(row, text)| (row, text, "1", text));
    for (row, text, matching, actions) in matches.chain(actions) {
        flow.set(matching, actions).unwrap_or_else(|error| panic!("{text}: {error:#}"));
        let (ours, theirs) = (runtime.block_on(flow.ours()).unwrap(), flow.theirs().unwrap());
        let different = DIFFERENT.iter().any(|(known, _)| *known == text);
        if ours.is_none() || (ours == theirs) == different {
            differ.push(format!("{row}, {text}\n    ours: {ours:?}\n    OVN:  {theirs:?}"));
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}
