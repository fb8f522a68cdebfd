//! The programs are in `examples/`. What stands below is the workspace's README, whose program is tested here.
#![doc = include_str!("../../README.md")]
