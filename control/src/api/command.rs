//! The commands of the API.

use super::unixctl::Params;
use crate::daemon::events::Wish;
use crate::trace::Question;
use ovn_xdp_local::document::Json;
use ovn_xdp_local::transaction::Operations;
use ovn_xdp_local::value::short;
use serde_json::Value;

/// A command that the daemon understands.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// The names of all commands.
    List,
    /// Our version.
    Version,
    /// Ends the daemon; with `--restart` it leaves its rows in place (CH-6).
    Exit {
        /// Another one comes soon.
        restart: bool,
    },
    /// `connected` or `not connected`, as ovn-controller says it.
    ConnectionStatus,
    /// Ports, tunnels, datapaths, workers, drops, connection.
    Show {
        /// As JSON.
        json: bool,
    },
    /// One part of it, or what is too long for it.
    Read {
        /// Which.
        section: Section,
        /// Only what is of this datapath, by name.
        datapath: Option<String>,
        /// As JSON.
        json: bool,
    },
    /// Flows that could not be used, with the reason.
    Skipped,
    /// Bindings of this chassis and where they stand.
    LocalBindings,
    /// Datapaths that concern this chassis.
    LocalDatapaths,
    /// The names of the last transaction and its server are forgotten (RBAC-3).
    ResetCluster,
    /// Counters of events.
    Coverage,
    /// What is logged.
    LogList,
    /// Changes what is logged, in the words of OVS.
    LogSet(Vec<String>),
    /// The names of databases that `transact` knows.
    Databases,
    /// The tables and columns of local rows.
    Schema,
    /// Operations on the local rows.
    Transact {
        /// RFC 7047, section 5.2.
        operations: Operations,
        /// They came as texts, and so does the answer.
        as_text: bool,
    },
    /// What becomes of a packet.
    Trace(Question),
    /// Events from now on.
    Watch(Wish),
}

/// A part of what the daemon knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// Bound ports with their counters.
    Ports,
    /// Local datapaths.
    Datapaths,
    /// Tunnels.
    Tunnels,
    /// Logical flows of local datapaths.
    Flows,
    /// Their tables.
    Tables,
    /// Drops by reason.
    Drops,
    /// Verdicts that the workers keep.
    Connections,
    /// Workers.
    Workers,
    /// Memory.
    Memory,
    /// Versions of what works together.
    Versions,
}

/// What `list-commands` says.
pub const LIST: &str = "The available commands are:
  connection-status
  connections             [--json]
  coverage/show
  datapaths               [--json]
  debug/dump-local-bindings
  debug/dump-local-datapaths
  debug/dump-skipped-flows
  drops                   [--json]
  exit                    [--restart]
  flows                   [--json] [DATAPATH]
  get_schema              OVN_Local
  list-commands
  list_dbs
  memory/show             [--json]
  ports                   [--json]
  sb-cluster-state-reset
  show                    [--json]
  tables                  [--json] [DATAPATH]
  trace                   [OPTION]... [DATAPATH] MICROFLOW
  transact                [OVN_Local] OPERATION...
  tunnels                 [--json]
  version
  versions                [--json]
  vlog/list
  vlog/set                {[MODULE:[console:]]LEVEL}...
  watch                   [drops=FRAMES_PER_SECOND]
  workers                 [--json]
";

/// The command with which local rows are changed.
pub const TRANSACT: &str = "transact";

/// The name of the database of local rows.
pub const DATABASE: &str = "OVN_Local";

impl Section {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ports" => Self::Ports,
            "datapaths" => Self::Datapaths,
            "tunnels" => Self::Tunnels,
            "flows" => Self::Flows,
            "tables" => Self::Tables,
            "drops" => Self::Drops,
            "connections" => Self::Connections,
            "workers" => Self::Workers,
            "memory/show" => Self::Memory,
            "versions" => Self::Versions,
            _ => return None,
        })
    }
}

impl Command {
    /// Reads a command.
    ///
    /// # Errors
    /// A text for the user, in the words of OVS.
    pub fn parse(method: &str, params: Params) -> Result<Self, String> {
        if method == TRANSACT {
            return transact(params);
        }
        let texts: Option<Vec<&str>> = params.iter().map(Json::as_str).collect();
        let texts = texts
            .ok_or_else(|| format!("command {method:?}: expected a list of texts as params"))?;
        if let Some(section) = Section::named(method) {
            return read(method, section, &texts);
        }
        let command = match (method, texts.as_slice()) {
            ("list-commands", []) => Self::List,
            ("version", []) => Self::Version,
            ("exit", []) => Self::Exit { restart: false },
            ("exit", ["--restart"]) => Self::Exit { restart: true },
            ("connection-status", []) => Self::ConnectionStatus,
            ("show", []) => Self::Show { json: false },
            ("show", ["--json"]) => Self::Show { json: true },
            ("debug/dump-skipped-flows", []) => Self::Skipped,
            ("debug/dump-local-bindings", []) => Self::LocalBindings,
            ("debug/dump-local-datapaths", []) => Self::LocalDatapaths,
            ("sb-cluster-state-reset", []) => Self::ResetCluster,
            ("coverage/show", []) => Self::Coverage,
            ("vlog/list", []) => Self::LogList,
            ("vlog/set", [_, ..]) => Self::LogSet(texts.iter().map(ToString::to_string).collect()),
            ("trace", _) => Self::Trace(Question::parse(&texts)?),
            ("get_schema", [DATABASE]) => Self::Schema,
            ("list_dbs", []) => Self::Databases,
            ("watch", []) => Self::Watch(Wish::default()),
            ("watch", [limit]) if limit.starts_with("drops=") => {
                let rate = limit["drops=".len()..].parse();
                let rate = rate.map_err(|_| {
                    format!("watch: expected drops=FRAMES_PER_SECOND, found {limit:?}")
                })?;
                Self::Watch(Wish { drops_above: Some(rate) })
            }
            _ => return Err(wrong(method)),
        };
        Ok(command)
    }
}

/// What is wrong with a command that is not understood.
fn wrong(method: &str) -> String {
    let usage = LIST
        .lines()
        .skip(1)
        .map(str::trim)
        .find(|line| line.split_whitespace().next() == Some(method));
    match usage {
        Some(usage) => {
            let usage = usage.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("\"{method}\" command does not take these arguments; expected: {usage}")
        }
        None => format!("\"{method}\" is not a valid command"),
    }
}

fn read(method: &str, section: Section, texts: &[&str]) -> Result<Command, String> {
    let by_datapath = matches!(section, Section::Flows | Section::Tables);
    let (mut json, mut datapath) = (false, None);
    for text in texts {
        match *text {
            "--json" if !json => json = true,
            name if by_datapath && datapath.is_none() && !name.starts_with('-') => {
                datapath = Some(name.to_owned());
            }
            _ => return Err(wrong(method)),
        }
    }
    Ok(Command::Read { section, datapath, json })
}

/// Operations as objects, or each, or a list of them, as a text.
fn transact(params: Params) -> Result<Command, String> {
    let names = params.iter().next().is_some_and(|first| first.as_str() == Some(DATABASE));
    if params.iter().skip(usize::from(names)).all(|param| param.as_str().is_none()) {
        // With nothing behind it, the name is a text too.
        let as_text = params.iter().count() == usize::from(names);
        return Ok(Command::Transact { operations: params.operations(names.into()), as_text });
    }
    let as_text = params.iter().all(|param| param.as_str().is_some());
    let mut operations = Vec::new();
    for param in params.iter().skip(usize::from(names)) {
        let Some(text) = param.as_str() else {
            operations.push(param.to_value());
            continue;
        };
        match serde_json::from_str(text) {
            Ok(Value::Array(list)) if list.first().is_none_or(|first| first == DATABASE) => {
                operations.extend(list.into_iter().skip(1));
            }
            Ok(Value::Array(list)) => operations.extend(list),
            Ok(Value::Object(one)) => operations.push(Value::Object(one)),
            Ok(_) | Err(_) => {
                return Err(format!(
                    "transact: expected operations of RFC 7047 as JSON objects, or lists of them, \
                     found {}",
                    short(param)
                ));
            }
        }
    }
    let operations = Operations::from(&Value::Array(operations));
    Ok(Command::Transact { operations, as_text })
}

/// What `version` says.
pub fn version() -> String {
    format!("ovn-xdp {}\n", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(name: &str, params: &[&str]) -> Result<Command, String> {
        Command::parse(name, Params::from(&json!(params)))
    }

    #[test]
    fn every_command_of_the_list_is_understood() {
        for line in LIST.lines().skip(1) {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap();
            let usage: Vec<&str> = words.collect();
            let example: &[&str] = match name {
                "get_schema" => &["OVN_Local"],
                "vlog/set" => &["info"],
                "trace" => &["--ct=new", "inport == \"vm1\""],
                _ => &[],
            };
            assert!(parse(name, example).is_ok(), "{name}");
            for option in usage.iter().filter(|word| word.starts_with("[--")) {
                assert!(parse(name, &[option.trim_matches(['[', ']'])]).is_ok(), "{line}");
            }
            if !["vlog/set", "flows", "tables", "trace"].contains(&name) {
                let error = parse(name, &["nonsense"]).unwrap_err();
                assert!(error.contains(name) && error.contains("expected"), "{error}");
            }
        }
    }

    #[test]
    fn an_unknown_command_is_refused_as_ovs_does_it() {
        let error = parse("nonsense", &[]).unwrap_err();
        assert_eq!(error, "\"nonsense\" is not a valid command");
    }

    #[test]
    fn a_trace_takes_the_options_of_ovn_trace_and_says_which_it_does_not_know() {
        for wrong in [&["--colour", "ip4"][..], &[], &["a", "b", "c"]] {
            let error = parse("trace", wrong).unwrap_err();
            assert!(error.contains("trace: ") && error.contains("expected: trace "), "{error}");
        }
    }

    #[test]
    fn operations_come_as_objects_as_texts_and_as_ovsdb_client_sends_them() {
        let one = json!({ "op": "comment" });
        let operations = Operations::from(&json!([one]));
        let read = |params: Value| Command::parse("transact", Params::from(&params));
        let expected = |as_text| {
            let Ok(Command::Transact { operations: found, as_text: text }) = as_text else {
                panic!("expected a transaction, found {as_text:?}");
            };
            (found.iter().collect::<Vec<_>>() == operations.iter().collect::<Vec<_>>(), text)
        };
        let text = one.to_string();
        for params in [json!([one]), json!([DATABASE, one])] {
            assert_eq!(expected(read(params)), (true, false));
        }
        let lists = [format!("[{text}]"), format!("[\"OVN_Local\", {text}]")];
        for text in lists.iter().chain([&text]) {
            assert_eq!(expected(parse("transact", &[text])), (true, true));
        }
    }
}
