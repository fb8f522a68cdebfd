//! The relay's figures for Prometheus, which begin with `peercompute_relay_`, beside libp2p's own, which begin with `libp2p_`.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
    },
    registry::Registry,
};

use crate::relay::RelayFigures;

const PREFIX: &str = "peercompute_relay";

/// Where the figures are read at each scrape.
pub(crate) type Source = Arc<dyn Fn() -> RelayFigures + Send + Sync>;

/// What `/metrics` shows.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    answered: Family<Answer, Counter>,
}

/// One entry for each status code that the server gives, which are a handful.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    code: u16,
}

impl Metrics {
    /// Adds the relay's figures to those that are in `registry`.
    pub(crate) fn new(mut registry: Registry, source: Source) -> Self {
        let answered = Family::default();
        let ours = registry.sub_registry_with_prefix(PREFIX);
        ours.register("http_requests", "HTTP requests answered", answered.clone());
        ours.register_collector(Box::new(Figures(source)));
        Self { registry, answered }
    }

    pub(crate) fn handle_answered(&self, code: u16) {
        self.answered.get_or_create(&Answer { code }).inc();
    }

    /// OpenMetrics text.
    pub(crate) fn encode(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("a string takes any text");
        page
    }
}

struct Figures(Source);

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Figures").field(&(self.0)()).finish()
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = (self.0)();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let gauges = [
            (
                "uptime_seconds",
                "Seconds since the relay started",
                now.uptime.as_secs(),
            ),
            (
                "draining",
                "1 while the relay takes no new clients, else 0",
                now.draining.into(),
            ),
            ("peers", "Connected peers", count(now.peers)),
            (
                "reservations",
                "Reservations that hold now",
                now.relay.reservations,
            ),
            ("circuits", "Circuits that are open now", now.relay.circuits),
            ("rooms", "Rooms with members", count(now.rooms)),
            (
                "listed_rooms",
                "Rooms that strangers are told of",
                count(now.listed_rooms),
            ),
            ("members", "Members of all rooms", count(now.members)),
        ];
        for (name, help, value) in gauges {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)?;
        }
        let counters = [
            (
                "reservations_accepted",
                "Reservations given",
                now.relay.reservations_accepted,
            ),
            (
                "reservations_renewed",
                "Reservations renewed",
                now.relay.reservations_renewed,
            ),
            (
                "reservations_denied",
                "Reservations refused",
                now.relay.reservations_denied,
            ),
            (
                "circuits_accepted",
                "Circuits opened",
                now.relay.circuits_accepted,
            ),
            (
                "circuits_denied",
                "Circuits refused",
                now.relay.circuits_denied,
            ),
        ];
        for (name, help, value) in counters {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(descriptor)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        let mut figures = RelayFigures::default();
        figures.relay.circuits = 7;
        figures.relay.reservations_denied = 3;
        figures.rooms = 2;
        figures.draining = true;
        Metrics::new(Registry::default(), Arc::new(move || figures))
    }

    #[test]
    fn every_figure_is_shown_under_the_relays_prefix() {
        let page = metrics().encode();
        for line in [
            "peercompute_relay_circuits 7",
            "peercompute_relay_reservations_denied_total 3",
            "peercompute_relay_rooms 2",
            "peercompute_relay_draining 1",
        ] {
            assert!(
                page.lines().any(|shown| shown == line),
                "{line} is not in\n{page}"
            );
        }
        assert!(page.ends_with("# EOF\n"), "{page}");
    }

    #[test]
    fn answers_are_counted_by_their_code() {
        let metrics = metrics();
        metrics.handle_answered(200);
        metrics.handle_answered(404);
        metrics.handle_answered(200);
        let page = metrics.encode();
        assert!(
            page.contains("peercompute_relay_http_requests_total{code=\"200\"} 2\n"),
            "{page}"
        );
        assert!(
            page.contains("peercompute_relay_http_requests_total{code=\"404\"} 1\n"),
            "{page}"
        );
    }
}
