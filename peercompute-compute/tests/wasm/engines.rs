//! The same module in another engine.
