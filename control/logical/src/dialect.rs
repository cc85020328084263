//! What differs in the language between releases of OVN that both know the words.
//!
//! Of IGMP and MLD was any packet of the protocol (`igmp`, `mldv1`, `mldv2`), until OVN asked for a
//! multicast destination as well (FLD-37). That was mended in point releases too: the programs of
//! 22.03.8, 23.03.1, 24.03.1 and 24.03.2 have the early meaning, those of 24.03.8, 25.03.0 and 26.03
//! the late one. Which release between 24.03.2 and 24.03.8 was the first could not be found out, nor
//! whether series before 24.03 were mended after the releases named.

/// What `igmp`, `mldv1` and `mldv2` stand for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Dialect {
    /// All packets of the protocol, whatever their destination: up to 24.03.2.
    Early,
    /// Those to a multicast address.
    #[default]
    Late,
}

impl Dialect {
    /// The symbols that a dialect gives its own meaning to.
    pub(crate) const OWN: [&str; 3] = ["igmp", "mldv1", "mldv2"];

    /// That of a release; of one that is not known, the newest.
    pub fn of(release: Option<Release>) -> Self {
        const LAST_EARLY: Release = Release::new(24, 3, 2);
        match release {
            Some(release) if release <= LAST_EARLY => Self::Early,
            _ => Self::Late,
        }
    }

    /// Whether a text may mean one thing in one dialect, and another in another. It may be said of too
    /// many, of none too few.
    pub fn matters(text: &str) -> bool {
        Self::OWN.iter().any(|name| text.contains(name))
    }
}

/// A release of OVN, such as 24.03.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Release {
    year: u16,
    month: u16,
    point: u16,
}

impl Release {
    /// The release of a month, and the number of its point release.
    pub const fn new(year: u16, month: u16, point: u16) -> Self {
        Self { year, month, point }
    }

    /// What an internal version starts with: 24.03.2 of `24.03.2-20.33.0-72.6`.
    pub fn read(version: &str) -> Option<Self> {
        let mut numbers = version.split(['.', '-']).map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self { year: next()?, month: next()?, point: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbol::Symbols;

    #[test]
    fn the_dialect_is_that_of_the_release_that_a_version_starts_with() {
        for (version, dialect) in [
            ("22.03.8-20.21.0-58.3", Dialect::Early),
            ("23.03.1-20.27.0-70.6", Dialect::Early),
            ("24.03.2-20.33.0-72.6", Dialect::Early),
            ("24.03.8-20.33.0-72.6", Dialect::Late),
            ("25.03.0-20.41.0-78.9", Dialect::Late),
            ("26.03.1-21.8.0-82.14", Dialect::Late),
            ("", Dialect::Late),
            ("23", Dialect::Late),
            ("unknown", Dialect::Late),
        ] {
            assert_eq!(Dialect::of(Release::read(version)), dialect, "{version}");
        }
        assert_eq!(Dialect::of(None), Dialect::Late);
    }

    #[test]
    fn the_dialects_differ_in_what_igmp_and_mld_are_and_in_nothing_else() {
        let of = |dialect, name| Symbols::of(dialect).get(name).map(|symbol| symbol.predicate);
        let late = Symbols::of(Dialect::Late);
        assert_eq!(late.iter().count(), Symbols::of(Dialect::Early).iter().count());
        for symbol in late.iter() {
            let same = of(Dialect::Early, symbol.name) == Some(symbol.predicate);
            assert_eq!(same, !Dialect::OWN.contains(&symbol.name), "{symbol:?}");
        }
    }
}
