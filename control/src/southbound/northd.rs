//! `ovn-match-northd-version` (LDB-13): whether to follow an `ovn-northd` of another version.
//!
//! northd writes its internal version into `SB_Global.options:northd_internal_version`.
//! ovn-controller compares it with its own, which is of the same release; we are of no release of
//! OVN. What the key is for is kept: with it set, a chassis follows the northd that it found when it
//! started, and when northd is upgraded it goes on forwarding as it does, changes nothing and writes
//! nothing, until northd is back at that version or the chassis is restarted, which is what its own
//! upgrade does. Without the key, flows of any northd are taken, read as its release means them
//! ([`Dialect`](ovn_xdp_logical::dialect::Dialect)), and `show` counts those that cannot
//! be used.

/// Which northd is followed.
#[derive(Debug, Default)]
pub struct Northd {
    /// `northd_internal_version`, once SB_Global was seen.
    current: Option<String>,
    /// The one that was found first.
    first: Option<String>,
}

/// Everything stands still.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "frozen by ovn-match-northd-version: ovn-northd is {found}, this chassis started with {first}; \
     forwarding goes on as it is: upgrade and restart ovn-xdp"
)]
pub struct Frozen {
    /// The version that we started with.
    first: String,
    /// What it is now.
    found: String,
}

impl Northd {
    /// What SB_Global says; empty for a northd that says nothing.
    pub fn version(&mut self, version: &str) {
        self.current = Some(version.to_owned());
        self.first.get_or_insert_with(|| version.to_owned());
    }

    /// Whether the chassis must stand still, if it is configured to `matches`.
    pub fn frozen(&self, matches: bool) -> Option<Frozen> {
        let (Some(first), Some(found)) = (&self.first, &self.current) else { return None };
        let frozen = || Frozen { first: first.clone(), found: found.clone() };
        (matches && first != found).then(frozen)
    }
}
