//! All groups of a table under way, and which of them are looked up together.
//!
//! A look-up costs a hash for each group, whatever is in it. Groups of few clauses, if a table has
//! many, are therefore looked up together, on a [`Screen`].

use super::group::{Candidate, FEW, Group};
use super::plan::{self, Choice, Look, Plan};
use super::screen::{Row, Screen};
use super::trie::Entry;
use super::{Literal, Rank, Rule, order};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Groups of few clauses that are as well hashed one after the other as looked up on a screen: a
/// group costs 6 to 19 ns, by whether it is in the processor's cache, and a block of the screen 40 to
/// 65 and 24 KB (`cargo bench --bench classify`). No table that northd writes has as many.
const MOST_HASHED: usize = 32;

/// A group under way.
#[derive(Clone, Debug)]
struct Building {
    group: Arc<Group>,
    /// How many candidates have each order.
    orders: BTreeMap<u32, u32>,
}

/// All groups of a table under way.
#[derive(Clone, Default, Debug)]
pub(super) struct Groups {
    hashed: HashMap<Arc<Look>, Building>,
    /// Groups of few clauses, if there are many of them; what workers see of these is on the screen.
    few: HashMap<Arc<Look>, Building>,
    screen: Screen,
}

impl Groups {
    /// Enters a clause of a rule, and where it starts; `pairs` are the pairs of a field and sets that
    /// it names.
    pub(super) fn insert(&mut self, rule: &Rule, (start, clause): (u32, &[Literal]), pairs: u32) {
        let plan = Plan::new(clause);
        let candidate = Candidate::new(rule, order(rule), start);
        for entry in &plan.entries {
            self.enter(entry, &plan.choice, candidate.clone(), pairs);
        }
    }

    fn enter(&mut self, entry: &plan::Entry, choice: &Choice, candidate: Candidate, pairs: u32) {
        let is_few = self.few.contains_key(&entry.look);
        let is_new = !is_few && !self.hashed.contains_key(&entry.look);
        // With a screen in use a new group starts on it.
        let is_few = is_few || is_new && !self.few.is_empty();
        let home = if is_few { &mut self.few } else { &mut self.hashed };
        let building = Building::of(home, &entry.look);
        let group = Arc::make_mut(&mut building.group);
        let order = candidate.order;
        if !group.insert(entry.hash, choice, candidate.clone(), pairs) {
            return;
        }
        *building.orders.entry(order).or_default() += 1;
        group.best = group.best.min(order);
        if !is_few {
            if is_new && self.hashed.len() > MOST_HASHED {
                self.gather();
            }
        } else if group.entries() > 2 * FEW || !group.is_few() && !group.look.pivots.is_empty() {
            self.grow(&entry.look);
        } else {
            self.screen.insert(Row { candidate, id: entry.id(), pairs });
        }
    }

    /// Enters clauses of rules that are not there yet, and where each starts: what a hash alone finds
    /// is entered at once, if it is much of one group.
    pub(super) fn extend<'a>(
        &mut self,
        clauses: impl Iterator<Item = (&'a Rule, (u32, &'a [Literal]), u32)>,
    ) {
        let mut plain: HashMap<Look, Vec<(u64, Candidate, u32)>> = HashMap::new();
        let mut others = Vec::new();
        for (rule, (start, clause), pairs) in clauses {
            let Plan { entries, choice, rest } = Plan::new(clause);
            let candidate = Candidate::new(rule, order(rule), start);
            for entry in entries {
                let candidate = candidate.clone();
                if choice.sets.is_empty() && rest.is_empty() {
                    plain.entry(entry.look).or_default().push((entry.hash, candidate, pairs));
                } else {
                    others.push((entry, choice.clone(), candidate, pairs));
                }
            }
        }
        for (look, mut candidates) in plain {
            let known = self.hashed.get(&look);
            let are_many = candidates.len() > 2 * FEW && !self.few.contains_key(&look);
            if !are_many || known.is_some_and(|known| known.group.has_crowds()) {
                others.extend(candidates.into_iter().filter_map(|(hash, candidate, pairs)| {
                    let entries = Plan::new(candidate.clause()).entries.into_iter();
                    let mut here = entries.filter(|it| it.look == look && it.hash == hash);
                    Some((here.next()?, Choice::default(), candidate.clone(), pairs))
                }));
                continue;
            }
            candidates.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.order(&b.1)));
            candidates.dedup_by(|a, b| a.0 == b.0 && a.1.order(&b.1).is_eq());
            let building = Building::of(&mut self.hashed, &look);
            let group = Arc::make_mut(&mut building.group);
            for (_, Candidate { order, .. }, _) in &candidates {
                group.best = group.best.min(*order);
                *building.orders.entry(*order).or_default() += 1;
            }
            let pairs = candidates.iter().fold(0, |all, (.., pairs)| all | pairs);
            group.extend(candidates.into_iter().map(|(hash, one, _)| (hash, one)), pairs);
        }
        for (entry, choice, candidate, pairs) in others {
            self.enter(&entry, &choice, candidate, pairs);
        }
        if self.hashed.len() > MOST_HASHED {
            self.gather();
        }
    }

    /// Takes a clause of a rule out.
    pub(super) fn remove(&mut self, rule: &Rule, order: u32, start: u32, clause: &[Literal]) {
        let plan = Plan::new(clause);
        let key = (Rank { order, flow: rule.flow() }, start);
        for entry in &plan.entries {
            let plan::Entry { look, hash, .. } = entry;
            let is_few = self.few.contains_key(look);
            let home = if is_few { &mut self.few } else { &mut self.hashed };
            let Some(building) = home.get_mut(look) else { continue };
            let group = Arc::make_mut(&mut building.group);
            if !group.remove(*hash, &plan.choice, key) {
                continue;
            }
            if is_few {
                self.screen.remove(key, entry.id());
            }
            if let Some(count) = building.orders.get_mut(&order) {
                *count -= 1;
                if *count == 0 {
                    building.orders.remove(&order);
                }
            }
            match building.orders.first_key_value() {
                Some((best, _)) => group.best = *best,
                None => {
                    home.remove(look);
                    if is_few && self.few.len() < MOST_HASHED / 2 {
                        self.hashed.extend(self.few.drain());
                        self.screen = Screen::default();
                    }
                }
            }
        }
    }

    /// Puts the groups of few clauses on the screen, if they are many.
    fn gather(&mut self) {
        let few = |group: &Building| group.group.is_few();
        if self.hashed.values().filter(|it| few(it)).count() <= MOST_HASHED {
            return;
        }
        for (look, building) in self.hashed.extract_if(|_, it| few(it)) {
            building.rows().for_each(|row| {
                self.screen.insert(row);
            });
            self.few.insert(look, building);
        }
    }

    /// A group on the screen is not of few clauses any more.
    fn grow(&mut self, look: &Look) {
        let Some((look, building)) = self.few.remove_entry(look) else { return };
        for row in building.rows() {
            self.screen.remove(row.candidate.key(), row.id);
        }
        self.hashed.insert(look, building);
    }

    /// The groups by their best rule, and the screen.
    pub(super) fn finish(&self) -> (Arc<[Arc<Group>]>, Screen) {
        let mut groups: Vec<_> = self.hashed.values().map(|it| Arc::clone(&it.group)).collect();
        groups.sort_by(|a, b| a.best.cmp(&b.best).then_with(|| a.look.cmp(&b.look)));
        (groups.into(), self.screen.clone())
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The order of the best rule in any group.
    pub(super) fn best(&self) -> u32 {
        let hashed = self.hashed.values().map(|building| building.group.best).min();
        let screened = self.screen.first().map(|row| row.candidate.order);
        hashed.into_iter().chain(screened).min().unwrap_or(u32::MAX)
    }
}

impl Building {
    /// The group that looks so, which may be a new one.
    fn of<'a>(home: &'a mut HashMap<Arc<Look>, Self>, look: &Look) -> &'a mut Self {
        let known = home.get_key_value(look).map(|(look, _)| Arc::clone(look));
        let look = known.unwrap_or_else(|| Arc::new(look.clone()));
        home.entry(look).or_insert_with_key(|look| Self {
            group: Arc::new(Group::new(Arc::clone(look))),
            orders: BTreeMap::new(),
        })
    }

    /// Its clauses, as a screen has them.
    fn rows(&self) -> impl Iterator<Item = Row> {
        self.group.candidates().flat_map(|candidate| {
            let entries = Plan::new(candidate.clause()).entries.into_iter();
            let here = entries.filter(|entry| entry.look == *self.group.look);
            here.map(|entry| Row {
                candidate: candidate.clone(),
                id: entry.id(),
                pairs: self.group.pairs,
            })
        })
    }
}
