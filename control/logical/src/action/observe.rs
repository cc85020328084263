//! Logs and samples (ACT-41, ACT-59).

use super::Action;
use super::context::Context;
use crate::error::{Error, Refused};
use crate::field::FieldRef;
use crate::lexer::{Mark, Token};

/// Bytes of a name in `log`, which must fit a packet to the agent.
const MAX_NAME: usize = 63;

/// What became of a packet, as a log says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// `allow`
    Allow,
    /// `drop`
    Drop,
    /// `reject`
    Reject,
    /// `pass`
    Pass,
}

impl Verdict {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Pass => "pass",
        }
    }
}

/// How bad what is logged is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// `alert`
    Alert,
    /// `warning`
    Warning,
    /// `notice`
    Notice,
    /// `info`
    Info,
    /// `debug`
    Debug,
}

impl Severity {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// Where a sample was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ObservationPoint {
    /// `$cookie`: the first 32 bits of the flow's UUID.
    Cookie,
    /// A number.
    Number(u32),
    /// 32 bits of the packet's context.
    Field(FieldRef),
}

impl Context<'_> {
    /// ACT-41.
    pub(super) fn log(&mut self) -> Result<Action, Error> {
        let (mut name, mut meter, mut verdict) = (None, None, None);
        let mut severity = Severity::Info;
        if self.cursor.accept(Mark::LeftParen) {
            while !self.cursor.accept(Mark::RightParen) {
                if self.cursor.accept_id("verdict") {
                    self.cursor.expect(Mark::Assign)?;
                    verdict = Some(self.verdict()?);
                } else if self.cursor.accept_id("name") {
                    self.cursor.expect(Mark::Assign)?;
                    let shorter = self.cursor.syntax("name must be shorter than 64 characters");
                    let text = self.cursor.expect_string("expecting string")?;
                    if text.len() > MAX_NAME {
                        return Err(shorter);
                    }
                    name = Some(text);
                } else if self.cursor.accept_id("severity") {
                    self.cursor.expect(Mark::Assign)?;
                    severity = self.severity()?;
                } else if self.cursor.accept_id("meter") {
                    self.cursor.expect(Mark::Assign)?;
                    meter = Some(self.cursor.expect_string("expecting string")?);
                } else {
                    return Err(self.cursor.syntax(""));
                }
                self.cursor.accept(Mark::Comma);
            }
        }
        let verdict = verdict.ok_or_else(|| self.cursor.syntax("expecting verdict"))?;
        Ok(Action::Log { name, verdict, severity, meter })
    }

    fn verdict(&mut self) -> Result<Verdict, Error> {
        let verdict = match self.cursor.token {
            Token::Id("drop") => Verdict::Drop,
            Token::Id("reject") => Verdict::Reject,
            Token::Id("allow") => Verdict::Allow,
            Token::Id("pass") => Verdict::Pass,
            _ => return Err(self.cursor.syntax("unknown verdict")),
        };
        self.cursor.advance();
        Ok(verdict)
    }

    fn severity(&mut self) -> Result<Severity, Error> {
        let severity = match self.cursor.token {
            Token::Id("alert") => Severity::Alert,
            Token::Id("warning") => Severity::Warning,
            Token::Id("notice") => Severity::Notice,
            Token::Id("info") => Severity::Info,
            Token::Id("debug") => Severity::Debug,
            Token::Id(_) => return Err(self.cursor.syntax("unknown severity")),
            _ => return Err(self.cursor.syntax("expecting severity")),
        };
        self.cursor.advance();
        Ok(severity)
    }

    /// ACT-59.
    pub(super) fn sample(&mut self) -> Result<Action, Error> {
        let (mut probability, mut collector_set, mut obs_domain) = (0, 0, 0);
        let mut obs_point = ObservationPoint::Number(0);
        if self.cursor.accept(Mark::LeftParen) {
            while !self.cursor.accept(Mark::RightParen) {
                if self.cursor.accept_id("probability") {
                    self.cursor.expect(Mark::Assign)?;
                    // As in OVN, anything else is taken for the next argument.
                    if self.cursor.decimal().is_some() {
                        probability = self.cursor.expect_u16("probability")?;
                    }
                } else if self.cursor.accept_id("collector_set") {
                    collector_set = self.number_below(u32::MAX.into(), "collector_set")? as u32;
                } else if self.cursor.accept_id("obs_domain") {
                    let wide = "obs_domain must be 8-bit long";
                    obs_domain = self.number_below(u8::MAX.into(), wide)? as u8;
                } else if self.cursor.accept_id("obs_point") {
                    obs_point = self.observation_point()?;
                } else {
                    return Err(self.cursor.syntax("unknown argument"));
                }
                self.cursor.accept(Mark::Comma);
            }
        }
        if probability == 0 {
            return Err(self.refuse(Refused::Probability));
        }
        Ok(Action::Sample { probability, collector_set, obs_domain, obs_point })
    }

    /// `= number`, at most `max`.
    fn number_below(&mut self, max: u64, expected: &'static str) -> Result<u64, Error> {
        self.cursor.expect(Mark::Assign)?;
        let found = self.cursor.decimal().filter(|&value| value <= max);
        let value = found.ok_or_else(|| self.cursor.syntax(expected))?;
        self.cursor.advance();
        Ok(value)
    }

    fn observation_point(&mut self) -> Result<ObservationPoint, Error> {
        self.cursor.expect(Mark::Assign)?;
        if self.cursor.token == Token::AddressSet("cookie") {
            self.cursor.advance();
            return Ok(ObservationPoint::Cookie);
        }
        if let Some(value) = self.cursor.decimal() {
            self.cursor.advance();
            // OVN keeps 32 bits of it.
            return Ok(ObservationPoint::Number(value as u32));
        }
        Ok(ObservationPoint::Field(self.argument(32)?))
    }
}
