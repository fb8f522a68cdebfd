//! The cell: alone, between neighbours on virtual time, and in whole networks.

mod faults;
mod hostile;
mod model;
mod networks;
mod oracle;
mod rates;
mod rig;
mod setters;
mod workers;
