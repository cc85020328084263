//! `ovn-xdp lflow`: what texts of logical flows come to, a line for a line, in OVN's own words.
//!
//! Lines are taken as OVN's `ovstest test-ovn` takes them: what stands behind a `#` does not count,
//! and a line that starts with one, or holds nothing, is answered with itself. An answer is the
//! canonical text or the error that OVN gives; [`Lflow::answer`] also says where the error is. No
//! database says of what release its northd is: names mean what they mean to the newest.

use ovn_xdp_datapath::field::Context;
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_logical::action::{Actions, OptionTable, Parameters, Position, parse_actions};
use ovn_xdp_logical::canonical::{AnnotateError, Canonical, MicroflowError, Names, parse};
use ovn_xdp_logical::error::Error;
use ovn_xdp_logical::set::member;
use ovn_xdp_logical::symbol::Symbols;
use ovn_xdp_logical::template;
use std::collections::BTreeMap;
use std::io::{BufRead, Write};

/// What is made of each line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A match as it was read.
    Parse,
    /// With prerequisites, over whole fields.
    Annotate,
    /// With `==` only, and ports resident or not.
    Simplify,
    /// An OR of ANDs of tests of single fields.
    Normalize,
    /// 1 or 0: whether the packet that is described matches.
    Evaluate(Box<Context>),
    /// Actions.
    Actions(Layout),
}

/// How actions are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// `ACTIONS`, or `ACTIONS has prereqs MATCH`, on one line.
    Line,
    /// As `ovstest` lays it out: the text, `formats as` what differs from it, `has prereqs`.
    Ovstest,
}

/// What surrounds the texts.
#[derive(Debug)]
pub struct Lflow {
    symbols: &'static Symbols,
    names: Names,
    ports: BTreeMap<String, u32>,
    templates: BTreeMap<String, String>,
    position: Position,
    dhcp_options: OptionTable,
    dhcpv6_options: OptionTable,
    ovstest: bool,
}

/// A wrong option of the command.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{option} {value}: expected {wanted}")]
pub struct Wrong {
    option: &'static str,
    value: String,
    wanted: &'static str,
}

/// What was given on the command line, each as it was written.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `NAME=ADDRESS,…`
    pub address_sets: Vec<String>,
    /// `NAME=PORT,…`
    pub port_groups: Vec<String>,
    /// `NAME=KEY`
    pub ports: Vec<String>,
    /// `NAME=TEXT`
    pub templates: Vec<String>,
    /// `NAME=CODE,TYPE`
    pub dhcp_options: Vec<String>,
    /// `NAME=CODE,TYPE`
    pub dhcpv6_options: Vec<String>,
    /// The dialect of ACLs that read the connection's ports (FLD-51).
    pub acl_ct_translation: bool,
    /// Whether the actions are of the egress pipeline.
    pub egress: bool,
    /// The table that the actions are in.
    pub table: u8,
    /// Adds what `ovstest test-ovn` knows.
    pub ovstest: bool,
}

/// An answer to a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What OVN would print.
    pub text: String,
    /// Byte of the line where the error is, if it is one with a place.
    pub place: Option<usize>,
}

fn pair<'a>(
    option: &'static str,
    text: &'a str,
    wanted: &'static str,
) -> Result<(&'a str, &'a str), Wrong> {
    text.split_once('=').ok_or_else(|| Wrong { option, value: text.into(), wanted })
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn options(option: &'static str, given: &[String]) -> Result<Vec<(String, u16, String)>, Wrong> {
    let wanted = "NAME=CODE,TYPE, such as mtu=26,uint16";
    given
        .iter()
        .map(|text| {
            let wrong = || Wrong { option, value: text.clone(), wanted };
            let (name, rest) = pair(option, text, wanted)?;
            let (code, kind) = rest.split_once(',').ok_or_else(wrong)?;
            let code = code.parse().map_err(|_| wrong())?;
            Ok((name.to_owned(), code, kind.to_owned()))
        })
        .collect()
}

impl Lflow {
    /// What was given.
    ///
    /// # Errors
    /// If something was not written as it must be.
    pub fn new(mut given: Given) -> Result<Self, Wrong> {
        if given.ovstest {
            given.add_ovstest();
        }
        let mut names = Names::default();
        for text in &given.address_sets {
            let wanted = "NAME=ADDRESS,…";
            let (name, addresses) = pair("--address-set", text, wanted)?;
            names.address_sets.insert(name.into(), list(addresses).filter_map(member).collect());
        }
        for text in &given.port_groups {
            let (name, ports) = pair("--port-group", text, "NAME=PORT,…")?;
            names.port_groups.insert(name.into(), list(ports).map(str::to_owned).collect());
        }
        let mut ports = BTreeMap::new();
        for text in &given.ports {
            let wanted = "NAME=TUNNEL_KEY";
            let (name, key) = pair("--port", text, wanted)?;
            let wrong = |_| Wrong { option: "--port", value: text.clone(), wanted };
            ports.insert(name.to_owned(), key.parse().map_err(wrong)?);
        }
        let mut templates = BTreeMap::new();
        for text in &given.templates {
            let (name, value) = pair("--template", text, "NAME=TEXT")?;
            templates.insert(name.to_owned(), value.to_owned());
        }
        let table = |option, given: &[String]| {
            options(option, given).map(|rows| {
                OptionTable::new(rows.iter().map(|(name, code, kind)| (&**name, *code, &**kind)))
            })
        };
        let pipeline = if given.egress { Pipeline::Egress } else { Pipeline::Ingress };
        Ok(Self {
            symbols: match (given.acl_ct_translation, given.ovstest) {
                (true, _) => Symbols::acl_ct_translation(),
                (_, true) => Symbols::ovstest(),
                _ => Symbols::flow(),
            },
            names,
            ports,
            templates,
            position: Position::new(pipeline, given.table),
            dhcp_options: table("--dhcp-option", &given.dhcp_options)?,
            dhcpv6_options: table("--dhcpv6-option", &given.dhcpv6_options)?,
            ovstest: given.ovstest,
        })
    }

    /// A packet to evaluate matches for. A port without `--port`, and every port to `ovstest`, has
    /// the number that its name starts with as its key, or 0.
    ///
    /// # Errors
    /// If the text does not describe one packet.
    pub fn microflow(&self, text: &str) -> Result<Step, MicroflowError> {
        let port = |name: &str| Some(self.key(name));
        let context = parse(text, self.symbols, &self.names)?.microflow(self.symbols, &port)?;
        Ok(Step::Evaluate(Box::new(context)))
    }

    fn key(&self, name: &str) -> u32 {
        let digits = name.bytes().take_while(u8::is_ascii_digit).count();
        let known = self.ports.get(name).filter(|_| !self.ovstest).copied();
        known.unwrap_or_else(|| name[..digits].parse().unwrap_or(0))
    }

    /// Answers every line of `input`, and says on `places` where errors are.
    ///
    /// # Errors
    /// If reading or writing fails.
    pub fn answer_all(
        &self,
        step: &Step,
        input: impl BufRead,
        mut output: impl Write,
        mut places: impl Write,
    ) -> std::io::Result<()> {
        for (number, line) in input.split(b'\n').enumerate() {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            let case = line.split('#').next().unwrap_or_default();
            if line.starts_with('#') || case.trim_matches([' ', '\t']).is_empty() {
                writeln!(output, "{}", if line.starts_with('#') { &*line } else { "" })?;
                continue;
            }
            let answer = self.answer(step, case);
            writeln!(output, "{}", answer.text)?;
            if let Some(place) = answer.place {
                let column = case.get(..place).map_or(place, |head| head.chars().count()) + 1;
                writeln!(places, "line {}, column {column}: {}", number + 1, answer.text.trim())?;
            }
        }
        output.flush()
    }

    /// Answers one line.
    pub fn answer(&self, step: &Step, case: &str) -> Answer {
        if let Step::Actions(layout) = step {
            return self.actions(case, *layout);
        }
        let (text, place) = match self.expression(step, case) {
            Ok(text) => (text, None),
            Err(Fault::Place(error)) => (error.to_string(), Some(error.offset)),
            Err(Fault::Symbol(error)) => (error.to_string(), None),
        };
        Answer { text, place }
    }

    fn expression(&self, step: &Step, case: &str) -> Result<String, Fault> {
        let expanded;
        let case = if self.templates.is_empty() {
            case
        } else {
            expanded = template::expand(case, |name| self.templates.get(name))?;
            &expanded
        };
        let parsed = parse(case, self.symbols, &self.names)?;
        if *step == Step::Parse {
            return Ok(parsed.to_string());
        }
        let annotated = parsed.annotated(self.symbols)?;
        let resident = |port: &str| self.ports.contains_key(port);
        Ok(match step {
            Step::Evaluate(packet) => {
                u8::from(annotated.holds(packet, &|name| Some(self.key(name)))).to_string()
            }
            Step::Simplify => annotated.simplified().resolved(&resident).to_string(),
            Step::Normalize => annotated.simplified().resolved(&resident).normalized().to_string(),
            Step::Parse | Step::Annotate | Step::Actions(_) => annotated.to_string(),
        })
    }

    fn actions(&self, case: &str, layout: Layout) -> Answer {
        let parameters = Parameters {
            symbols: self.symbols,
            position: self.position,
            dhcp_options: &self.dhcp_options,
            dhcpv6_options: &self.dhcpv6_options,
        };
        let answer = match template::expand(case, |name| self.templates.get(name)) {
            Ok(text) => parse_actions(&text, &parameters).map_err(|e| (e.to_string(), e.offset)),
            Err(error) => Err((format!("failed to parse {case}"), error.offset)),
        };
        let (text, place) = match (answer, layout) {
            (Ok(actions), Layout::Line) => (line(&actions), None),
            (Ok(actions), Layout::Ovstest) => (laid_out(case, &actions), None),
            (Err((error, place)), Layout::Line) => (error, Some(place)),
            (Err((error, place)), Layout::Ovstest) => (format!("{case}\n    {error}"), Some(place)),
        };
        Answer { text, place }
    }
}

/// What is wrong with a match.
enum Fault {
    Place(Error),
    Symbol(AnnotateError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Place(error)
    }
}

impl From<AnnotateError> for Fault {
    fn from(error: AnnotateError) -> Self {
        Self::Symbol(error)
    }
}

fn line(actions: &Actions) -> String {
    match &actions.prerequisites {
        Some(prerequisites) => {
            format!("{actions} has prereqs {}", Canonical::from(prerequisites))
        }
        None => actions.to_string(),
    }
}

fn laid_out(case: &str, actions: &Actions) -> String {
    let mut text = case.to_owned();
    let formatted = actions.to_string();
    if formatted != case {
        text += &format!("\n    formats as {formatted}");
    }
    if let Some(prerequisites) = &actions.prerequisites {
        text += &format!("\n    has prereqs {}", Canonical::from(prerequisites));
    }
    text
}

impl Given {
    /// The sets, groups, ports and options of `ovstest test-ovn`.
    fn add_ovstest(&mut self) {
        let add = |to: &mut Vec<String>, new: &[&str]| {
            to.splice(0..0, new.iter().map(|text| (*text).to_owned()));
        };
        add(
            &mut self.address_sets,
            &[
                "set1=10.0.0.1,10.0.0.2,10.0.0.3",
                "set2=::1,::2,::3",
                "set3=00:00:00:00:00:01,00:00:00:00:00:02,00:00:00:00:00:03",
                "set4=",
            ],
        );
        add(&mut self.port_groups, &["pg1=lsp1,lsp2,lsp3", "pg_empty="]);
        add(&mut self.ports, &["eth0=5", "eth1=6", "LOCAL=65534", "lsp1=17", "lsp2=18", "lsp3=19"]);
        add(
            &mut self.dhcp_options,
            &[
                "offerip=0,ipv4",
                "netmask=1,ipv4",
                "router=3,ipv4",
                "dns_server=6,ipv4",
                "log_server=7,ipv4",
                "lpr_server=9,ipv4",
                "hostname=12,str",
                "domain_name=15,str",
                "swap_server=16,ipv4",
                "ip_forward_enable=19,bool",
                "policy_filter=21,ipv4",
                "default_ttl=23,uint8",
                "mtu=26,uint16",
                "broadcast_address=28,ipv4",
                "router_discovery=31,bool",
                "router_solicitation=32,ipv4",
                "arp_cache_timeout=35,uint32",
                "ethernet_encap=36,bool",
                "tcp_ttl=37,uint8",
                "tcp_keepalive_interval=38,uint32",
                "nis_server=41,ipv4",
                "ntp_server=42,ipv4",
                "netbios_name_server=44,ipv4",
                "netbios_node_type=46,uint8",
                "lease_time=51,uint32",
                "server_id=54,ipv4",
                "tftp_server=66,host_id",
                "bootfile_name=67,str",
                "domain_search_list=119,domains",
                "classless_static_route=121,static_routes",
                "tftp_server_address=150,ipv4",
                "path_prefix=210,str",
                "wpad=252,str",
                "next_server=253,ipv4",
                "bootfile_name_alt=254,str",
            ],
        );
        add(
            &mut self.dhcpv6_options,
            &[
                "server_id=2,mac",
                "ia_addr=5,ipv6",
                "dns_server=23,ipv6",
                "domain_search=24,str",
                "fqdn=39,domain",
                "bootfile_name=59,str",
                "bootfile_name_alt=254,str",
            ],
        );
    }
}
