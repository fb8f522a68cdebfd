//! Life-like cellular automata.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The rule of a life-like cellular automaton on a plane: with how many of its eight neighbours alive a cell is born, and with how many it
/// stays alive. Written as `B3/S23`, which is Conway's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Automaton {
    birth: u16,
    survival: u16,
}

/// A text that is no rule.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{text:?} is no rule of an automaton; write digits from 0 to 8 as in B3/S23")]
pub struct AutomatonError {
    text: String,
}

impl Automaton {
    /// Conway's life: `B3/S23`.
    pub const LIFE: Self = Self {
        birth: 1 << 3,
        survival: 1 << 2 | 1 << 3,
    };

    /// Bit n is set where n living neighbours bring a cell to life.
    pub fn birth(self) -> u16 {
        self.birth
    }

    /// Bit n is set where n living neighbours keep a cell alive.
    pub fn survival(self) -> u16 {
        self.survival
    }

    /// What a cell becomes.
    #[inline]
    pub(crate) fn next(self, alive: bool, neighbours: u32) -> bool {
        let mask = if alive { self.survival } else { self.birth };
        mask >> neighbours & 1 == 1
    }
}

impl FromStr for Automaton {
    type Err = AutomatonError;

    fn from_str(text: &str) -> Result<Self, AutomatonError> {
        let error = || AutomatonError {
            text: text.chars().take(64).collect(),
        };
        let mask = |part: &str, letter: [char; 2]| {
            part.strip_prefix(letter)?
                .chars()
                .try_fold(0u16, |mask, digit| {
                    let count = digit.to_digit(9)?;
                    Some(mask | 1 << count)
                })
        };
        let (birth, survival) = text.split_once('/').ok_or_else(error)?;
        Ok(Self {
            birth: mask(birth, ['B', 'b']).ok_or_else(error)?,
            survival: mask(survival, ['S', 's']).ok_or_else(error)?,
        })
    }
}

impl fmt::Display for Automaton {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |mask: u16| {
            (0..=8)
                .filter(|count| mask >> count & 1 == 1)
                .map(|count: u32| count.to_string())
                .collect::<String>()
        };
        write!(
            formatter,
            "B{}/S{}",
            digits(self.birth),
            digits(self.survival)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written_alike() {
        for text in ["B3/S23", "B36/S23", "B/S", "B012345678/S8"] {
            assert_eq!(text.parse::<Automaton>().expect("a rule").to_string(), text);
        }
        assert_eq!("b3/s23".parse(), Ok(Automaton::LIFE));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in ["", "B3", "3/23", "B9/S2", "B3/S2x", "S23/B3"] {
            assert!(text.parse::<Automaton>().is_err(), "{text}");
        }
    }
}
