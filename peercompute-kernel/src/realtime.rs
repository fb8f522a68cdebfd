//! The pure cores of rooms that share one state: who may write it, and how all advance it alike. No I/O, no clock: time is an argument.

mod authority;
pub mod limits;

pub use authority::{
    AtHealing, Authority, AuthorityConfig, AuthorityEvent, AuthorityMode, AuthorityStats,
    HandOverError, HostRule, Ownership,
};
