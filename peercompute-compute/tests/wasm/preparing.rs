//! From a job to something that runs.
