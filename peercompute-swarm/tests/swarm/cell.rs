//! The cell: alone, between neighbours on virtual time, and in whole networks.

mod choice;
mod faults;
mod hostile;
mod model;
mod networks;
mod oracle;
mod rates;
mod rig;
mod setters;
mod town;
mod tree;
mod workers;
