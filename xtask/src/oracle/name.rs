//! What a network is, by its name.

use std::{fmt, str::FromStr};

/// A network's name, such as `fixed-ba-36-100`: group, kind, nodes and, but in a network that is made, the seed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) group: Group,
    pub(super) kind: String,
    pub(super) nodes: usize,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Nobody comes or goes.
    Fixed,
    /// Likewise, with kinds and seeds on which no constant was tried.
    Unseen,
    /// Likewise, with more work to hand on than the others.
    Heavy,
    /// Who links to whom is to be found.
    Overlay,
    /// Nodes leave and come back.
    Churn,
    /// Made by the program, to show what size costs.
    Scale,
}

impl Group {
    const ALL: [Self; 6] = [
        Self::Fixed,
        Self::Unseen,
        Self::Heavy,
        Self::Overlay,
        Self::Churn,
        Self::Scale,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Unseen => "unseen",
            Self::Heavy => "heavy",
            Self::Overlay => "overlay",
            Self::Churn => "churn",
            Self::Scale => "scale",
        }
    }
}

impl Name {
    /// The name of a network that the program makes.
    pub(super) fn scale(kind: &str, nodes: usize) -> Self {
        Self {
            group: Group::Scale,
            kind: kind.to_owned(),
            nodes,
            text: format!("scale-{kind}-{nodes}"),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Networks that are compared with each other, whatever their size.
    pub(super) fn family(&self) -> String {
        format!("{} {}", self.group.word(), self.kind)
    }

    /// Whether somebody means it. A pattern with `*` is the whole name with gaps, any other a part of it.
    pub(super) fn fits(&self, pattern: &str) -> bool {
        if pattern.contains('*') {
            fits(&self.text, pattern)
        } else {
            self.text.contains(pattern)
        }
    }
}

/// Whether `pattern` is `text` with any characters in place of each `*`.
fn fits(text: &str, pattern: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return text == pattern;
    };
    text.strip_prefix(head).is_some_and(|rest| {
        (0..=rest.len())
            .filter(|at| rest.is_char_boundary(*at))
            .any(|at| fits(&rest[at..], tail))
    })
}

/// The name says neither group nor size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of a network; it must be GROUP-KIND-NODES-SEED, such as fixed-ba-36-100, with the group fixed, unseen, heavy, overlay or churn"
)]
pub(super) struct NoName(String);

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let mut parts = text.splitn(4, '-');
        let (group, kind, nodes) = (parts.next(), parts.next(), parts.next());
        let group = Group::ALL
            .into_iter()
            .find(|known| Some(known.word()) == group);
        match (group, kind, nodes.and_then(|nodes| nodes.parse().ok())) {
            (Some(group), Some(kind), Some(nodes)) if !kind.is_empty() => Ok(Self {
                group,
                kind: kind.to_owned(),
                nodes,
                text: text.to_owned(),
            }),
            _ => Err(NoName(text.to_owned())),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    #[test]
    fn a_name_says_group_kind_and_size() {
        let ba = name("fixed-ba-1000-102");
        assert_eq!(
            (ba.group, ba.kind.as_str(), ba.nodes),
            (Group::Fixed, "ba", 1000)
        );
        assert_eq!(ba.family(), "fixed ba");
        assert_eq!(name("scale-grid-10000"), Name::scale("grid", 10_000));
        for wrong in [
            "",
            "fixed",
            "fixed-ba",
            "fixed-ba-x-1",
            "mixed-ba-36-100",
            "fixed--36-1",
        ] {
            assert_eq!(wrong.parse::<Name>(), Err(NoName(wrong.to_owned())));
        }
    }

    #[test]
    fn a_pattern_is_a_part_of_the_name_or_the_name_with_gaps() {
        let ba = name("fixed-ba-36-100");
        for fitting in [
            "",
            "ba",
            "fixed-ba-36-100",
            "*",
            "fixed-*",
            "*-36-*",
            "f*a*0",
        ] {
            assert!(ba.fits(fitting), "{fitting}");
        }
        for other in ["tree", "ba-*", "*-36", "fixed-*-144-*"] {
            assert!(!ba.fits(other), "{other}");
        }
    }

    #[test]
    fn names_stand_in_the_order_of_group_kind_and_size() {
        let sorted = [
            "fixed-ba-36-100",
            "fixed-ba-1000-102",
            "fixed-tree-36-106",
            "overlay-full-40-129",
            "churn-regular-300-134",
            "scale-ba-100",
        ]
        .map(name);
        assert!(sorted.is_sorted());
    }
}
