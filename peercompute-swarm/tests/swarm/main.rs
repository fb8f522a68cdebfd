//! The life cycle of tasks, with both roles on virtual time.

mod model;
mod scene;
