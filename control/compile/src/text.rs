//! The text of a flow: read once, lowered for each datapath that it applies to.
//!
//! What came of a text that names nothing is the same in every datapath and kept: most flows that
//! northd writes are of few texts. A text with names is read again when a name changes its meaning,
//! which costs microseconds and saves the memory of the tree.

use crate::lower::lower;
use crate::names::Name;
use crate::recent::Recent;
use crate::sets::{Access, Resolver};
use crate::southbound::{DatapathBinding, LogicalFlow};
use crate::{database::Database, locality::Own};
use hashbrown::Equivalent;
use ovn_xdp_datapath::classify::Clause;
use ovn_xdp_datapath::program::{Pipeline, Program};
use ovn_xdp_logical::action::{OptionTable, Parameters, Position, parse_actions};
use ovn_xdp_logical::annotate::Annotated;
use ovn_xdp_logical::clauses::ClauseError;
use ovn_xdp_logical::dialect::Dialect;
use ovn_xdp_logical::error::Error;
use ovn_xdp_logical::parse::parse;
use ovn_xdp_logical::symbol::Symbols;
use ovn_xdp_logical::{action::Actions, template};
use std::sync::Arc;

/// Why a flow did not compile. It is skipped, and the others work (ACT-P7).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// The match does not read.
    #[error("match, at byte {}: {problem}", problem.offset)]
    Match {
        /// What and where.
        problem: Error,
    },
    /// The actions do not read.
    #[error("actions, at byte {}: {problem}", problem.offset)]
    Actions {
        /// What and where.
        problem: Error,
    },
    /// The match reads, but cannot be compiled here.
    #[error("match: {0}")]
    Clauses(ClauseError),
}

/// What a flow is in one datapath.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Compiled {
    pub(crate) clauses: Arc<[Clause]>,
    pub(crate) program: Program,
    /// Names of actions that are not executed.
    pub(crate) inert: Arc<[&'static str]>,
}

/// The result for one datapath, and what it asked for.
pub(crate) struct Outcome {
    pub(crate) result: Result<Compiled, Problem>,
    pub(crate) asked: Vec<Name>,
}

/// A text, as far as it matters to what it means.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key<T> {
    matches: T,
    place: Place<T>,
}

/// The text of actions, as far as it matters to what they do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Place<T> {
    actions: T,
    pipeline: Pipeline,
    table: u8,
    translated: bool,
}

impl Key<&str> {
    fn owned(self) -> Key<Box<str>> {
        Key { matches: self.matches.into(), place: self.place.owned() }
    }
}

impl Place<&str> {
    fn owned(self) -> Place<Box<str>> {
        let Self { actions, pipeline, table, translated } = self;
        Place { actions: actions.into(), pipeline, table, translated }
    }
}

impl Equivalent<Key<Box<str>>> for Key<&str> {
    fn equivalent(&self, key: &Key<Box<str>>) -> bool {
        *self.matches == *key.matches && self.place.equivalent(&key.place)
    }
}

impl Equivalent<Place<Box<str>>> for Place<&str> {
    fn equivalent(&self, place: &Place<Box<str>>) -> bool {
        let Place { actions, pipeline, table, translated } = place;
        *self.actions == **actions
            && (self.pipeline, self.table, self.translated) == (*pipeline, *table, *translated)
    }
}

/// A program, and the names of its actions that are not executed.
type Lowered = (Program, Arc<[&'static str]>);

/// Everything that texts are read with.
#[derive(Default, Debug)]
pub(crate) struct Texts {
    /// What came of texts that name nothing.
    kept: Recent<Key<Box<str>>, Result<Compiled, Problem>>,
    programs: Recent<Place<Box<str>>, Lowered>,
    none: Option<Arc<[&'static str]>>,
    /// That of the northd that wrote them.
    pub(crate) dialect: Dialect,
    pub(crate) dhcp: Arc<OptionTable>,
    pub(crate) dhcpv6: Arc<OptionTable>,
}

/// What names mean, apart from the datapath.
pub(crate) struct World<'a> {
    pub(crate) database: &'a Database,
    pub(crate) own: &'a Own,
    pub(crate) sets: Access<'a>,
}

impl Texts {
    /// Forgets what is kept, because what it was read with has changed.
    pub(crate) fn clear(&mut self) {
        self.kept = Recent::default();
        self.programs = Recent::default();
    }

    /// What another reader starts with.
    pub(crate) fn another(&self) -> Self {
        let (none, dhcp, dhcpv6) = (self.none.clone(), self.dhcp.clone(), self.dhcpv6.clone());
        Self { none, dialect: self.dialect, dhcp, dhcpv6, ..Self::default() }
    }

    /// The names that flows speak with, translated ones (FLD-51) or others.
    pub(crate) fn symbols(&self, translated: bool) -> &'static Symbols {
        if translated { Symbols::acl_ct_translation() } else { Symbols::of(self.dialect) }
    }

    /// Compiles a flow for some datapaths.
    pub(crate) fn compile(
        &mut self,
        flow: &LogicalFlow,
        datapaths: &[&DatapathBinding],
        world: &mut World<'_>,
        mut each: impl FnMut(&DatapathBinding, Outcome),
    ) {
        let key = Key {
            matches: flow.matches(),
            place: Place {
                actions: flow.actions(),
                pipeline: flow.pipeline(),
                table: flow.table(),
                translated: flow.is_translated(),
            },
        };
        if let Some(kept) = self.kept.get(&key) {
            for datapath in datapaths {
                each(datapath, Outcome { result: kept.clone(), asked: Vec::new() });
            }
            return;
        }
        let mut templates = Vec::new();
        let read = self.read(key, world, &mut templates);
        for datapath in datapaths {
            let mut resolver = Resolver {
                database: world.database,
                own: world.own,
                datapath,
                sets: &mut world.sets,
                asked: templates.clone(),
            };
            let result = match &read {
                Ok((matches, actions)) => self.lower(key.place, matches, actions, &mut resolver),
                Err(problem) => Err(problem.clone()),
            };
            let asked = resolver.asked;
            if asked.is_empty() {
                self.kept.insert(key.owned(), result.clone());
            }
            each(datapath, Outcome { result, asked });
        }
    }

    fn read(
        &self,
        key: Key<&str>,
        world: &World<'_>,
        asked: &mut Vec<Name>,
    ) -> Result<(Annotated, Actions), Problem> {
        let symbols = self.symbols(key.place.translated);
        let mut value = |name: &str| {
            asked.push(Name::Template(name.into()));
            template_value(world.database, &world.own.name, name)
        };
        let matches = template::expand(key.matches, &mut value).map_err(in_match)?;
        let actions = template::expand(key.place.actions, &mut value).map_err(in_actions)?;
        let matches = parse(&matches, symbols).map_err(in_match)?;
        let parameters = Parameters {
            symbols,
            position: Position::new(key.place.pipeline, key.place.table),
            dhcp_options: &self.dhcp,
            dhcpv6_options: &self.dhcpv6,
        };
        let mut actions = parse_actions(&actions, &parameters).map_err(in_actions)?;
        let matches = match actions.prerequisites.take() {
            Some(prerequisites) => matches.and(prerequisites),
            None => matches,
        };
        Ok((matches.annotate(), actions))
    }

    fn lower(
        &mut self,
        place: Place<&str>,
        matches: &Annotated,
        actions: &Actions,
        resolver: &mut Resolver<'_, '_>,
    ) -> Result<Compiled, Problem> {
        let clauses = matches.clauses(resolver).map_err(Problem::Clauses)?;
        let (program, inert) = match self.programs.get(&place) {
            Some(known) => known.clone(),
            None => {
                let by_match = std::mem::take(&mut resolver.asked);
                let (program, inert) = lower(&actions.list, resolver);
                let none = self.none.get_or_insert_with(|| Arc::from([]));
                let inert = if inert.is_empty() { none.clone() } else { inert.into() };
                let lowered = (program, inert);
                if resolver.asked.is_empty() && !place.actions.contains('^') {
                    self.programs.insert(place.owned(), lowered.clone());
                }
                resolver.asked.extend(by_match);
                lowered
            }
        };
        Ok(Compiled { clauses: clauses.into(), program, inert })
    }
}

fn in_match(problem: Error) -> Problem {
    Problem::Match { problem }
}

fn in_actions(problem: Error) -> Problem {
    Problem::Actions { problem }
}

/// The value of a template variable on a chassis (EX-S7).
fn template_value(database: &Database, chassis: &str, name: &str) -> Option<Arc<str>> {
    database
        .templates_of_chassis
        .rows(chassis)
        .find_map(|row| database.templates.get(&row)?.variables.get(name).cloned())
}
