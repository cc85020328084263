//! What a trace is asked: the options and arguments of `ovn-trace`.

use super::TraceError;
use super::script::{Script, ScriptError};
use clap::{Args, FromArgMatches};

/// Options and arguments.
#[derive(Clone, PartialEq, Eq, Default, Debug, Args)]
pub struct Question {
    /// Table by table (the default).
    #[arg(long)]
    pub detailed: bool,
    /// Without tables.
    #[arg(long)]
    pub summary: bool,
    /// Only what can be seen from outside.
    #[arg(long)]
    pub minimal: bool,
    /// All three.
    #[arg(long)]
    pub all: bool,
    /// State of a connection, such as new or est,rpl; once for each time that one is looked up.
    #[arg(long, value_name = "FLAGS")]
    pub ct: Vec<String>,
    /// Backend that the first load balancer with this one chooses.
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub lb_dst: Option<String>,
    /// Member that `select` chooses.
    #[arg(long, value_name = "ID")]
    pub select_id: Option<String>,
    /// Ports and datapaths by names for people (the default).
    #[arg(long, overrides_with = "no_friendly_names")]
    pub friendly_names: bool,
    /// Ports and datapaths by the names of their rows.
    #[arg(long, overrides_with = "friendly_names")]
    pub no_friendly_names: bool,
    /// With a running chassis: the frame that comes from the port, which is then the only argument; or
    /// from an interface, with all its tags; or from a NIC, with the headers of the tunnel.
    #[arg(long, value_name = "HEX")]
    pub frame: Option<String>,
    /// With a running chassis: as JSON.
    #[arg(long)]
    pub json: bool,
    /// Datapath that the packet is in, and the packet.
    #[arg(value_name = "[DATAPATH] MICROFLOW", num_args = 0..)]
    pub arguments: Vec<String>,
}

impl Question {
    /// Reads words as they stand on a command line.
    ///
    /// # Errors
    /// What is wrong, and what is expected.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let command = clap::Command::new("trace").no_binary_name(true).disable_help_flag(true);
        let command = command.infer_long_args(true).args_override_self(true);
        let mut command = Self::augment_args(command);
        let usage = command.render_usage().to_string();
        let read = command.try_get_matches_from(words);
        let read = read.and_then(|matches| Self::from_arg_matches(&matches)).map_err(|error| {
            let error = error.to_string();
            error.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        });
        let whole = |question: Self| match question.packet() {
            Ok(_) => Ok(question),
            Err(error) => Err(error.to_string()),
        };
        read.and_then(whole).map_err(|what| {
            format!("trace: {what}; expected: {}", usage.trim_start_matches("Usage: "))
        })
    }

    /// The same words again, for another process to read.
    pub fn words(&self) -> Vec<String> {
        let flags = [
            (self.detailed, "--detailed"),
            (self.summary, "--summary"),
            (self.minimal, "--minimal"),
            (self.all, "--all"),
            (self.no_friendly_names, "--no-friendly-names"),
            (self.json, "--json"),
        ];
        let flags = flags.iter().filter(|(given, _)| *given).map(|(_, flag)| flag.to_string());
        let states = self.ct.iter().map(|state| format!("--ct={state}"));
        let backend = self.lb_dst.iter().map(|backend| format!("--lb-dst={backend}"));
        let member = self.select_id.iter().map(|member| format!("--select-id={member}"));
        let frame = self.frame.iter().map(|frame| format!("--frame={frame}"));
        let options = flags.chain(states).chain(backend).chain(member).chain(frame);
        options.chain(["--".to_owned()]).chain(self.arguments.iter().cloned()).collect()
    }

    /// Whether the detailed, the summary and the minimal form are wanted.
    pub(super) fn forms(&self) -> [bool; 3] {
        let none = !(self.detailed || self.summary || self.minimal);
        [self.detailed || none, self.summary, self.minimal].map(|form| form || self.all)
    }

    /// What the packet meets.
    pub(super) fn script(&self) -> Result<Script, ScriptError> {
        Script::new(&self.ct, self.lb_dst.as_deref(), self.select_id.as_deref())
    }

    /// What the options say that no connection tracker would.
    ///
    /// # Errors
    /// What no trace could be made of.
    pub fn check(&self) -> Result<Vec<String>, TraceError> {
        self.packet()?;
        Ok(self.script()?.contradictions())
    }

    /// The datapath, if one is named, and the packet.
    ///
    /// # Errors
    /// If there are more arguments, or none.
    pub(super) fn packet(&self) -> Result<(Option<&str>, &str), TraceError> {
        match &self.arguments[..] {
            [datapath, microflow] => Ok((Some(datapath), microflow)),
            [microflow] => Ok((None, microflow)),
            _ => Err(TraceError::Arguments),
        }
    }
}
