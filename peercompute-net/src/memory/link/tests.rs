use proptest::prelude::*;

use super::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Sends 10,000 messages a millisecond apart and counts what arrives.
fn arrivals(config: LinkConfig, seed: u64) -> Vec<Deliveries> {
    let (mut link, mut rng) = (LinkModel::new(config), SimRng::new(seed));
    (0..10_000)
        .map(|at| link.send(millis(at), 100, &mut rng))
        .collect()
}

/// How often something happened out of 10,000, within five standard deviations of what `probability` makes likely.
fn is_about(count: usize, probability: f64) -> bool {
    let expected = 10_000.0 * probability;
    let deviation = (expected * (1.0 - probability)).sqrt();
    (count as f64 - expected).abs() <= 5.0 * deviation
}

fn messages() -> impl Strategy<Value = Vec<(u64, usize)>> {
    prop::collection::vec((0_u64..50, 1_usize..20_000), 1..200)
}

fn any_link() -> impl Strategy<Value = LinkConfig> {
    (
        0_u64..200,
        0_u64..100,
        0.0..0.5,
        0.0..0.5,
        0.0..0.5,
        prop::option::of(1_000_u64..10_000_000),
    )
        .prop_map(
            |(latency, jitter, loss, duplication, reordering, bandwidth)| LinkConfig {
                latency: millis(latency),
                jitter: millis(jitter),
                loss,
                duplication,
                reordering,
                bandwidth: bandwidth.map(Bandwidth::bytes_per_second),
                queue: millis(500),
            },
        )
}

/// Calls `visit` with each message's time, size and arrivals.
fn send_all(
    config: LinkConfig,
    seed: u64,
    messages: &[(u64, usize)],
    mut visit: impl FnMut(Duration, usize, Deliveries),
) {
    let (mut link, mut rng) = (LinkModel::new(config), SimRng::new(seed));
    let mut now = Duration::ZERO;
    for (gap, len) in messages {
        now += millis(*gap);
        visit(now, *len, link.send(now, *len, &mut rng));
    }
}

proptest! {
    #[test]
    fn no_message_arrives_before_the_latency_is_over(
        config in any_link(), seed: u64, messages in messages(),
    ) {
        send_all(config, seed, &messages, |now, _, deliveries| {
            assert!(deliveries.as_slice().iter().all(|at| *at >= now + config.latency));
        });
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals(config in any_link(), seed: u64, messages in messages()) {
        let run = || {
            let mut all = Vec::new();
            send_all(config, seed, &messages, |_, _, deliveries| all.push(deliveries));
            all
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn without_reordering_messages_arrive_in_the_order_they_were_sent(
        config in any_link(), seed: u64, messages in messages(),
    ) {
        let mut latest = Duration::ZERO;
        send_all(LinkConfig { reordering: 0.0, ..config }, seed, &messages, |_, _, deliveries| {
            for at in deliveries.as_slice() {
                assert!(*at >= latest, "{at:?} after {latest:?}");
                latest = *at;
            }
        });
    }

    #[test]
    fn segments_of_a_stream_all_arrive_in_order_whatever_the_link_loses(
        config in any_link(), seed: u64, messages in messages(),
    ) {
        let (mut link, mut rng) = (LinkModel::new(config), SimRng::new(seed));
        let (mut now, mut latest) = (Duration::ZERO, Duration::ZERO);
        for (gap, len) in messages {
            now += millis(gap);
            let arrival = link.transfer(now, len, &mut rng);
            prop_assert!(arrival >= latest && arrival >= now + config.latency);
            latest = arrival;
        }
    }

    /// What arrives in a window has left in a window that is longer by the jitter; the rate bounds that, but for the one message that was under way at its start.
    #[test]
    fn the_bandwidth_is_kept_over_any_window(
        bandwidth in 1_000_u64..1_000_000, jitter in 0_u64..50, seed: u64, messages in messages(),
        from in 0_usize..200, to in 0_usize..200,
    ) {
        let config = LinkConfig::default()
            .with_bandwidth(Bandwidth::bytes_per_second(bandwidth))
            .with_jitter(millis(jitter))
            .with_queue(Duration::from_secs(3600));
        let mut arrived = Vec::new();
        send_all(config, seed, &messages, |_, len, deliveries| {
            arrived.extend(deliveries.as_slice().iter().map(|at| (*at, len)));
        });
        let (from, to) = (from.min(to) % arrived.len(), to.max(from) % arrived.len());
        let (from, to) = (from.min(to), from.max(to));
        let window = arrived[to].0 - arrived[from].0 + millis(jitter);
        let bytes: usize = arrived[from..=to].iter().map(|(_, len)| len).sum();
        let largest = arrived[from..=to].iter().map(|(_, len)| *len).max().unwrap();
        let allowed = window.as_secs_f64() * bandwidth as f64 + largest as f64 + 1.0;
        prop_assert!(bytes as f64 <= allowed, "{bytes} bytes in {window:?}, {allowed} allowed");
    }

    #[test]
    fn a_queue_longer_than_its_bound_loses_what_comes(bandwidth in 1_000_u64..100_000, seed: u64) {
        let queue = millis(100);
        let config = LinkConfig::default()
            .with_bandwidth(Bandwidth::bytes_per_second(bandwidth))
            .with_queue(queue);
        let (mut link, mut rng) = (LinkModel::new(config), SimRng::new(seed));
        let mut lost = 0;
        for _ in 0..1000 {
            let deliveries = link.send(Duration::ZERO, 1000, &mut rng);
            lost += usize::from(deliveries.is_lost());
            let longest = queue + Bandwidth::bytes_per_second(bandwidth).time_for(1000);
            prop_assert!(deliveries.as_slice().iter().all(|at| *at <= longest));
        }
        prop_assert!(lost > 0);
    }

    #[test]
    fn a_random_time_is_never_above_its_limit(seed: u64, limit in 0_u64..u64::MAX) {
        let limit = Duration::from_nanos(limit);
        prop_assert!(SimRng::new(seed).up_to(limit) <= limit);
    }
}

#[test]
fn a_perfect_link_delivers_at_once() {
    let mut link = LinkModel::new(LinkConfig::default());
    let deliveries = link.send(millis(3), 1_000_000, &mut SimRng::new(0));
    assert_eq!(deliveries.as_slice(), [millis(3)]);
}

#[test]
fn as_many_messages_are_lost_as_the_probability_says() {
    for (seed, loss) in [(1, 0.01), (2, 0.1), (3, 0.5), (4, 0.0), (5, 1.0)] {
        let lost = arrivals(LinkConfig::default().with_loss(loss), seed)
            .iter()
            .filter(|deliveries| deliveries.is_lost())
            .count();
        assert!(
            is_about(lost, loss),
            "seed {seed}: {lost} of 10000 lost at {loss}"
        );
    }
}

#[test]
fn as_many_messages_come_twice_as_the_probability_says() {
    for (seed, duplication) in [(1, 0.01), (2, 0.1), (3, 0.5), (4, 0.0), (5, 1.0)] {
        let doubled = arrivals(LinkConfig::default().with_duplication(duplication), seed)
            .iter()
            .filter(|deliveries| deliveries.as_slice().len() == 2)
            .count();
        assert!(
            is_about(doubled, duplication),
            "seed {seed}: {doubled} of 10000 at {duplication}"
        );
    }
}

#[test]
fn messages_overtake_each_other_where_reordering_is_on() {
    let config = LinkConfig::default()
        .with_latency(millis(20))
        .with_reordering(0.1);
    let arrived: Vec<_> = arrivals(config, 1)
        .iter()
        .map(|deliveries| deliveries.times[0])
        .collect();
    let overtaken = arrived.windows(2).filter(|pair| pair[0] > pair[1]).count();
    // Not every message that is held back is overtaken, but most are.
    assert!((600..1100).contains(&overtaken), "{overtaken} of 10000");
}

#[test]
fn jitter_spreads_over_its_whole_range() {
    let config = LinkConfig::default()
        .with_jitter(millis(100))
        .with_reordering(0.0);
    let mut rng = SimRng::new(9);
    let delays: Vec<_> = (0..1000)
        .map(|_| {
            LinkModel::new(config)
                .send(Duration::ZERO, 1, &mut rng)
                .times[0]
        })
        .collect();
    assert!(delays.iter().min().unwrap() < &millis(5));
    assert!(delays.iter().max().unwrap() > &millis(95));
}

#[test]
fn losses_delay_a_stream_and_take_bandwidth_again() {
    let perfect = LinkConfig::default().with_latency(millis(20));
    let lossy = perfect.with_loss(0.2);
    let finish = |config| {
        let (mut link, mut rng) = (LinkModel::new(config), SimRng::new(3));
        (0..100)
            .map(|at| link.transfer(millis(at), 1000, &mut rng))
            .last()
            .unwrap()
    };
    assert_eq!(finish(perfect), millis(99 + 20));
    assert!(finish(lossy) >= millis(99 + 20));
    let first = |loss| {
        let (mut link, mut rng) = (LinkModel::new(perfect.with_loss(loss)), SimRng::new(3));
        link.transfer(Duration::ZERO, 1000, &mut rng)
    };
    assert!(
        first(1.0) > Duration::from_secs(1),
        "all tries but the last are lost"
    );
}

#[test]
fn a_link_can_be_changed_while_it_is_used() {
    let mut link = LinkModel::new(LinkConfig::default().with_loss(1.0));
    let mut rng = SimRng::new(1);
    assert!(link.send(millis(0), 1, &mut rng).is_lost());
    link.set_config(LinkConfig::default().with_latency(millis(7)));
    assert_eq!(link.send(millis(1), 1, &mut rng).as_slice(), [millis(8)]);
}
