//! What every [`Transport`] has to do, as checks for whoever writes one.
//!
//! Implement [`Harness`] for your transport and [`run`] the checks in a test. Each check makes transports of its own and closes them; time limits are only there to fail by.
//!
//! ```
//! use std::sync::Arc;
//! use peercompute_net::{Multiaddr, Transport, conformance, memory::MemoryNetwork};
//! use peercompute_rt::{BoxFuture, Runtime, Simulation};
//!
//! struct Memory {
//!     runtime: Runtime,
//!     network: MemoryNetwork,
//! }
//!
//! impl conformance::Harness for Memory {
//!     fn runtime(&self) -> Runtime {
//!         self.runtime.clone()
//!     }
//!
//!     fn transport(&self, name: String) -> BoxFuture<'_, Arc<dyn Transport>> {
//!         Box::pin(async move { Arc::new(self.network.transport(&name)) as _ })
//!     }
//!
//!     fn listen_address(&self) -> Multiaddr {
//!         "/memory/0".parse().unwrap()
//!     }
//! }
//!
//! let simulation = Simulation::new(1);
//! let runtime = simulation.runtime();
//! let network = MemoryNetwork::new(runtime.clone(), 1);
//! let report = simulation.run(async { conformance::run(&Memory { runtime, network }).await })?;
//! println!("{}", report?);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod bench;
mod broadcasting;
mod connecting;
mod ending;
mod streaming;

use std::{fmt, sync::Arc, time::Duration};

use multiaddr::Multiaddr;
use peercompute_rt::{BoxFuture, MaybeSend, MaybeSync, Runtime};
use thiserror::Error;

use self::bench::{Bench, Outcome};
use crate::Transport;

/// Makes the transports that are checked.
pub trait Harness: MaybeSend + MaybeSync {
    /// The runtime that the transports run on.
    fn runtime(&self) -> Runtime;

    /// A new transport, a peer of its own, that can reach all others which this harness makes. `name` is another one each time.
    fn transport(&self, name: String) -> BoxFuture<'_, Arc<dyn Transport>>;

    /// An address to listen at that is free each time, such as `/ip4/127.0.0.1/tcp/0`.
    fn listen_address(&self) -> Multiaddr;

    /// How long any one step may take before its check fails. Default: one minute.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// One thing that every transport has to do.
#[derive(Clone, Copy)]
pub struct Check {
    name: &'static str,
    body: Body,
}

type Body = for<'a> fn(&'a Bench<'a>) -> BoxFuture<'a, Outcome>;

macro_rules! checks {
    ($($module:ident: $($name:ident)*;)*) => {
        &[$($(Check { name: stringify!($name), body: |bench| Box::pin($module::$name(bench)) }),*),*]
    };
}

/// All checks, in an order in which the first one that fails says most.
pub const CHECKS: &[Check] = checks! {
    connecting:
        an_address_that_was_listened_at_names_the_peer_and_the_port
        a_dial_reports_the_peer_that_answers_and_both_see_the_connection
        an_address_without_a_peer_id_leads_to_whoever_answers
        another_peer_than_the_address_names_is_refused
        an_address_where_nobody_listens_is_unreachable
        an_address_of_ones_own_is_not_dialled
        an_address_of_another_kind_is_unsupported
        an_address_that_is_taken_is_not_listened_at_twice
        a_connected_peer_that_is_dialled_again_stays_connected_once
        two_peers_that_dial_each_other_at_the_same_time_are_connected
        events_begin_with_the_connections_that_are_there
        listening_is_told_by_an_event;
    streaming:
        bytes_arrive_in_order_and_complete_in_both_directions
        a_stream_comes_with_the_peer_that_opened_it
        the_end_of_one_direction_is_seen_and_leaves_the_other_open
        a_dropped_stream_ends_at_the_other_end
        a_writer_waits_for_its_reader_while_other_streams_go_on
        a_protocol_that_nobody_accepts_is_unsupported
        a_peer_that_is_not_connected_gets_no_stream
        a_protocol_is_accepted_once_at_a_time
        a_protocol_is_refused_once_its_receiver_is_dropped
        many_streams_run_at_once
        a_large_transfer_arrives_unchanged;
    ending:
        a_disconnect_is_reported_to_both_and_ends_their_streams
        peers_can_connect_again_after_a_disconnect
        closing_ends_everything
        closing_again_does_nothing;
    broadcasting:
        a_message_reaches_those_who_subscribe_to_its_topic_and_nobody_else
        a_message_as_large_as_allowed_arrives_and_a_larger_one_is_refused
        a_subscription_ends_with_the_transport;
};

impl Check {
    /// The name, a sentence with underscores.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs this check alone.
    ///
    /// # Errors
    ///
    /// [`Violation`], with what the transport did wrong.
    pub async fn run(&self, harness: &dyn Harness) -> Result<Verdict, Violation> {
        let bench = Bench::new(harness, self.name);
        let outcome = (self.body)(&bench).await;
        bench.close().await;
        outcome.map_err(|what| Violation {
            check: self.name,
            what,
        })
    }
}

/// What came of a check that found nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The transport does what it has to.
    Passed,
    /// The check is about something that the transport does not offer and need not.
    NotOffered,
}

/// Runs all [`CHECKS`], one after the other.
///
/// # Errors
///
/// The first [`Violation`].
pub async fn run(harness: &dyn Harness) -> Result<Report, Violation> {
    let mut report = Report {
        results: Vec::new(),
    };
    for check in CHECKS {
        report.results.push((check.name, check.run(harness).await?));
    }
    Ok(report)
}

/// What a transport was found to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Every check by its name.
    pub results: Vec<(&'static str, Verdict)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, verdict) in &self.results {
            let verdict = match verdict {
                Verdict::Passed => "ok",
                Verdict::NotOffered => "--",
            };
            writeln!(f, "{verdict} {}", name.replace('_', " "))?;
        }
        Ok(())
    }
}

/// Something that a transport does wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {what}", check.replace('_', " "))]
#[non_exhaustive]
pub struct Violation {
    /// The check's name.
    pub check: &'static str,
    /// What was seen instead.
    pub what: String,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
