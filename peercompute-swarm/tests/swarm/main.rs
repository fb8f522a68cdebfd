//! The life cycle of tasks, with both roles on virtual time, and the cell.

mod cell;
mod desk;
mod frames;
mod handshake;
mod hostile;
mod jobs;
mod leases;
mod model;
mod scene;
mod sharing;
mod worker;
