//! What became of a packet: the end of a walk, and all that the cache needs to repeat it.
//!
//! A verdict holds no reference into a generation. It names what it rests on by epoch, the bits
//! of the packet outside its key that it consulted, and the lengths of frames for which it holds;
//! as long as those hold, applying it equals walking the pipelines again.

use crate::classify::Domain;
use crate::counters::{Counter, PortCounters};
use crate::geneve::Outer;
use crate::key::{DatapathKey, FlowId, InterfaceId, TunnelId};
use crate::path::Path;
use crate::publish::{Generation, Tag};
use crate::rewrite::Rewrite;
use ovn_xdp_abi::drop::DropReason;
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

/// The end of a walk.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Copies to send, none for a drop. The last consumes the frame.
    pub outputs: Outputs,
    /// Why nothing is sent, if nothing is.
    pub drop: Option<Arc<Drop>>,
    /// The port that the packet came from, as its counters.
    pub arrival: Option<Arc<PortCounters>>,
    /// The logical flows that it passed, as what counts there; none where nobody counts.
    pub path: Option<Arc<Path>>,
    /// Bits of slot 12 that were consulted, and their values.
    pub guard: (u128, u128),
    /// Wire lengths, tags beside the frame counted, for which the verdict holds; inclusive.
    pub lengths: (u32, u32),
    /// TTL must be above this.
    pub ttl_above: u8,
    /// Nanoseconds after which the walk is to be made again, for what it reports to control.
    pub expires: u64,
    /// What it rests on.
    pub rests_on: Box<[Dependency]>,
    /// Whether it may be kept at all.
    pub cacheable: bool,
}

impl Verdict {
    /// A hash of what tells verdicts apart.
    pub fn print(&self, state: &impl BuildHasher) -> u64 {
        let mut hasher = state.build_hasher();
        self.path.as_ref().map(Arc::as_ptr).hash(&mut hasher);
        self.drop.as_ref().map(Arc::as_ptr).hash(&mut hasher);
        (self.guard, self.lengths).hash(&mut hasher);
        self.rests_on.hash(&mut hasher);
        for Output { rewrite, target, .. } in &*self.outputs {
            (rewrite.link, rewrite.addresses, rewrite.ports).hash(&mut hasher);
            match target {
                Target::Interface { to, tag, .. } => (to, tag.map(|tag| tag.vid)).hash(&mut hasher),
                Target::Tunnel(outer) => outer.headers().hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    /// Whether the two do the same, count in the same places and rest on the same.
    pub fn is(&self, other: &Self) -> bool {
        let counters = |verdict: &Self| {
            let Self { drop, arrival, path, .. } = verdict;
            let path = path.as_ref().map(Arc::as_ptr);
            (drop.as_ref().map(Arc::as_ptr), arrival.as_ref().map(Arc::as_ptr), path)
        };
        counters(self) == counters(other)
            && (self.guard, self.lengths) == (other.guard, other.lengths)
            && (self.ttl_above, self.expires) == (other.ttl_above, other.expires)
            && self.cacheable == other.cacheable
            && self.rests_on == other.rests_on
            && self.outputs.len() == other.outputs.len()
            && self.outputs.iter().zip(&*other.outputs).all(|(one, other)| one.is(other))
    }
}

/// What to send. Almost every verdict has one output, which is kept where the verdict is, so that a
/// hit reads one run of memory.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "the large variant is the one that is there")]
pub enum Outputs {
    /// One.
    One(Output),
    /// None, or several.
    Many(Box<[Output]>),
}

impl std::ops::Deref for Outputs {
    type Target = [Output];

    #[inline]
    fn deref(&self) -> &[Output] {
        match self {
            Self::One(output) => std::slice::from_ref(output),
            Self::Many(outputs) => outputs,
        }
    }
}

impl From<SmallVec<[Output; 1]>> for Outputs {
    fn from(mut outputs: SmallVec<[Output; 1]>) -> Self {
        match outputs.pop() {
            Some(output) if outputs.is_empty() => Self::One(output),
            last => {
                outputs.extend(last);
                Self::Many(outputs.into_boxed_slice())
            }
        }
    }
}

/// Why a packet was dropped, and by which logical flow.
#[derive(Debug)]
pub struct Drop {
    /// The reason.
    pub reason: DropReason,
    /// The last logical flow on its way, zero if there was none.
    pub flow: FlowId,
    /// How often, in the worker whose verdict it is.
    pub frames: Arc<Counter>,
}

/// One frame to send.
#[derive(Clone, Debug)]
pub struct Output {
    /// Which frame: the one that came, or one that the walk built.
    pub frame: Source,
    /// Changes.
    pub rewrite: Rewrite,
    /// Where to.
    pub target: Target,
}

impl Output {
    fn is(&self, other: &Self) -> bool {
        let target = match (&self.target, &other.target) {
            (
                Target::Interface { to, tag, port },
                Target::Interface { to: other_to, tag: other_tag, port: other_port },
            ) => (to, tag) == (other_to, other_tag) && Arc::ptr_eq(port, other_port),
            (Target::Tunnel(one), Target::Tunnel(other)) => one == other,
            _ => false,
        };
        target && self.frame == other.frame && self.rewrite == other.rewrite
    }
}

/// The frame that an output starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The frame that came.
    Arrived,
    /// An answer, by its place in [`crate::pipeline::Walked::built`].
    Built(usize),
}

/// Where a frame goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// A workload.
    Interface {
        /// Its interface.
        to: InterfaceId,
        /// Tag of a nested container.
        tag: Option<Tag>,
        /// Counters of the logical port.
        port: Arc<PortCounters>,
    },
    /// Another chassis.
    Tunnel(Outer),
}

/// An object of a generation at an epoch; zero means that it was not there. Of shared sets, what
/// they say of one value: other members come and go without it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dependency {
    /// A workload interface.
    Interface(InterfaceId, u64),
    /// A logical switch or router.
    Datapath(DatapathKey, u64),
    /// A tunnel.
    Tunnel(TunnelId, u64),
    /// Which shared sets a value of the packet belongs to.
    Membership {
        /// The sets that it was looked up in.
        domain: Domain,
        /// The value, its high and low half.
        value: [u64; 2],
        /// What it belonged to ([`crate::classify::Sets::print`]).
        print: u64,
    },
}

impl Dependency {
    /// Whether the object is still at its epoch.
    pub fn holds(self, generation: &Generation) -> bool {
        match self {
            Self::Interface(id, epoch) => {
                generation.interfaces.get(id).map_or(0, |interface| interface.epoch) == epoch
            }
            Self::Datapath(key, epoch) => {
                generation.datapaths.get(&key).map_or(0, |datapath| datapath.epoch) == epoch
            }
            Self::Tunnel(id, epoch) => {
                generation.tunnels.get(&id).map_or(0, |tunnel| tunnel.epoch) == epoch
            }
            Self::Membership { domain, value: [high, low], print } => {
                let value = u128::from(high) << 64 | u128::from(low);
                generation.sets.print(domain, value) == print
            }
        }
    }
}
