//! The commands of the API.

/// A command that the daemon understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
    /// Flows that could not be used, with the reason.
    Skipped,
    /// Bindings of this chassis and where they stand.
    LocalBindings,
    /// Datapaths that concern this chassis.
    LocalDatapaths,
    /// The names of the last transaction and its server are forgotten (RBAC-3).
    ResetCluster,
}

/// What `list-commands` says.
pub const LIST: &str = "The available commands are:
  connection-status
  debug/dump-local-bindings
  debug/dump-local-datapaths
  debug/dump-skipped-flows
  exit                    [--restart]
  list-commands
  sb-cluster-state-reset
  show                    [--json]
  version
";

impl Command {
    /// Reads a command.
    ///
    /// # Errors
    /// A text for the user, in the words of OVS.
    pub fn parse(method: &str, params: &[String]) -> Result<Self, String> {
        let params: Vec<&str> = params.iter().map(String::as_str).collect();
        let command = match (method, params.as_slice()) {
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
            _ if LIST.lines().any(|line| line.split_whitespace().next() == Some(method)) => {
                return Err(format!("\"{method}\" command does not take these arguments"));
            }
            _ => return Err(format!("\"{method}\" is not a valid command")),
        };
        Ok(command)
    }
}

/// What `version` says.
pub fn version() -> String {
    format!("ovn-xdp {}\n", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_list_is_understood() {
        for line in LIST.lines().skip(1) {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap();
            assert!(Command::parse(name, &[]).is_ok(), "{name}");
            if let Some(option) = words.next() {
                let option = option.trim_matches(['[', ']']).to_owned();
                assert!(Command::parse(name, &[option]).is_ok(), "{line}");
            }
            let error = Command::parse(name, &["nonsense".to_owned()]).unwrap_err();
            assert!(error.contains(name) && error.contains("arguments"), "{error}");
        }
    }

    #[test]
    fn an_unknown_command_is_refused_as_ovs_does_it() {
        let error = Command::parse("nonsense", &[]).unwrap_err();
        assert_eq!(error, "\"nonsense\" is not a valid command");
    }
}
