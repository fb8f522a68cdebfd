//! Rates that no network has: whatever a shell measures, a cell reckons with numbers.

use std::time::Duration;

use peercompute_swarm::cell::{
    Action, Buffer, ByteRate, Cell, CellConfig, CellView, LinkConfig, TaskRate, TaskShape,
};
use proptest::{collection::vec, prelude::*};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::rig::Rig;

/// The most events of one case: rates without bounds make events without end.
const EVENTS: usize = 1_500;

fn any_rate() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        4 => 0.1..1e7,
        1 => prop_oneof![
            Just(0.0), Just(-0.0), Just(-1.0), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(f64::MAX),
            Just(f64::MIN), Just(f64::MIN_POSITIVE), Just(1e15), Just(1e-15),
        ],
    ]
}

fn any_config() -> impl Strategy<Value = CellConfig> {
    let sizes = (1e3..1e6, 1e3..1e6);
    let rates = (any_rate(), any_rate(), any_rate());
    (sizes, rates, 0_u32..4, any::<bool>()).prop_map(
        |((input, output), (compute, up, down), workers, tight)| {
            let shape = TaskShape::new(input, output);
            let mut config =
                CellConfig::new(shape, TaskRate(compute), ByteRate(up), ByteRate(down));
            config.workers = workers;
            config.buffer = if tight { Buffer::Tight } else { Buffer::Roomy };
            config
        },
    )
}

/// What is no rate at all, or one that a link may have.
fn any_link_rate() -> impl Strategy<Value = f64> + Clone {
    any_rate().prop_map(|rate| if rate > 1e7 { f64::NAN } else { rate })
}

fn any_link(rate: impl Strategy<Value = f64> + Clone) -> impl Strategy<Value = LinkConfig> {
    (rate.clone(), rate, 0_u64..2_000).prop_map(|(up, down, latency)| {
        LinkConfig::new(ByteRate(up), ByteRate(down), Duration::from_millis(latency))
    })
}

/// Whether all that a cell shows is a number.
fn finite(view: &CellView) -> bool {
    let mut numbers = vec![
        view.compute.0,
        view.up.0,
        view.down.0,
        view.work.0,
        view.up_price,
        view.down_price,
    ];
    numbers.extend(view.value.0);
    for link in &view.links {
        numbers.extend([link.price, link.trust]);
        numbers.extend(link.gain.0);
        numbers.extend(link.sends.0.map(|rate| rate.0));
        numbers.extend(link.receives.0.map(|rate| rate.0));
    }
    numbers.into_iter().all(f64::is_finite)
}

/// Checks a cell by itself; the rig checks the rates of transfers.
fn check(rig: &Rig, node: usize) {
    let view = rig.cell(node).view();
    assert!(finite(&view), "{view:?}");
    assert!(rig.cell(node).poll_timeout() < Duration::MAX);
}

proptest! {
    #[test]
    fn a_cell_of_any_rates_begins_with_numbers(config in any_config(), source: bool, links in vec(any_link(any_rate()), 0..4)) {
        let mut config = config;
        config.source = source;
        let mut cell = Cell::new(config, Duration::ZERO, 0);
        for link in links {
            cell.add_link(Duration::ZERO, link);
        }
        for _ in 0..200 {
            cell.handle_timeout(cell.poll_timeout());
            while let Some(action) = cell.poll_action() {
                if let Action::Pace { rate, .. } = action {
                    prop_assert!(rate.0.is_finite());
                }
            }
            prop_assert!(finite(&cell.view()), "{:?}", cell.view());
        }
    }

    #[test]
    fn cells_of_any_rates_that_hand_work_to_each_other_reckon_with_numbers(
        configs in [any_config(), any_config(), any_config()], links in [any_link(any_link_rate()), any_link(any_link_rate())], later in any_link(any_link_rate()),
        capacity in (any_rate(), any_rate()),
    ) {
        let mut rig = Rig::new(1);
        for (node, mut config) in configs.into_iter().enumerate() {
            config.source = node == 0;
            rig.add(config);
        }
        let edges = [rig.link([0, 1], links[0], Duration::ZERO), rig.link([1, 2], links[1], Duration::ZERO)];
        for round in 0..3 {
            rig.run_events(Duration::from_secs(5), EVENTS);
            for node in 0..3 {
                check(&rig, node);
            }
            if round == 0 {
                let port = rig.edges[edges[0]].port;
                rig.with(0, |cell, now| cell.set_link(now, port, later));
                rig.with(1, |cell, now| cell.set_capacity(now, ByteRate(capacity.0), ByteRate(capacity.1)));
            }
        }
        rig.set_compute(2, f64::NAN);
        let begun = rig.nodes[2].begun;
        rig.run_events(Duration::from_secs(5), EVENTS);
        prop_assert_eq!(rig.nodes[2].begun, begun, "what is no number computes nothing");
    }
}
