//! Machine code that is kept.
