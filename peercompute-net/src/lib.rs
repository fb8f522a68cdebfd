//! To be written.
mod transport;
