use std::{sync::Arc, time::Duration};

use peercompute_net::{
    Multiaddr, Transport,
    conformance::{self, CHECKS, Harness, Verdict},
    memory::{Bandwidth, LinkConfig, MemoryNetwork},
};
use peercompute_rt::{BoxFuture, Runtime, Simulation};

struct Memory {
    runtime: Runtime,
    network: MemoryNetwork,
}

impl Memory {
    fn new(runtime: Runtime, link: LinkConfig) -> Self {
        let network = MemoryNetwork::new(runtime.clone(), 7);
        network.set_default_link(link);
        Self { runtime, network }
    }
}

impl Harness for Memory {
    fn runtime(&self) -> Runtime {
        self.runtime.clone()
    }

    fn transport(&self, name: String) -> BoxFuture<'_, Arc<dyn Transport>> {
        Box::pin(async move { Arc::new(self.network.transport(&name)) as _ })
    }

    fn listen_address(&self) -> Multiaddr {
        "/memory/0".parse().unwrap()
    }
}

fn run(link: LinkConfig) {
    let simulation = Simulation::new(7);
    let memory = Memory::new(simulation.runtime(), link);
    let report = simulation
        .run(async { conformance::run(&memory).await })
        .unwrap()
        .unwrap();
    assert_eq!(report.results.len(), CHECKS.len());
    assert!(
        report
            .results
            .iter()
            .all(|(_, verdict)| *verdict == Verdict::Passed),
        "{report}"
    );
}

#[test]
fn the_memory_transport_conforms_on_perfect_links() {
    run(LinkConfig::default());
}

#[test]
fn the_memory_transport_conforms_on_long_lossy_links() {
    let link = LinkConfig::default()
        .with_latency(Duration::from_millis(80))
        .with_jitter(Duration::from_millis(40))
        .with_loss(0.05)
        .with_duplication(0.05)
        .with_reordering(0.1);
    run(link);
}

#[test]
fn the_memory_transport_conforms_on_narrow_links() {
    let link = LinkConfig::default()
        .with_latency(Duration::from_millis(5))
        .with_bandwidth(Bandwidth::bytes_per_second(2_000_000));
    run(link);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_transport_conforms_in_real_time_on_several_threads() {
    let link = LinkConfig::default().with_latency(Duration::from_millis(1));
    let memory = Memory::new(Runtime::tokio(), link);
    conformance::run(&memory).await.unwrap();
}

#[test]
fn a_transport_without_broadcast_conforms_and_the_report_says_so() {
    let simulation = Simulation::new(7);
    let memory = Memory::new(simulation.runtime(), LinkConfig::default());
    memory.network.set_broadcast(false);
    let report = simulation
        .run(async { conformance::run(&memory).await })
        .unwrap()
        .unwrap();
    let not_offered = report
        .results
        .iter()
        .filter(|(_, verdict)| *verdict == Verdict::NotOffered)
        .count();
    assert_eq!(not_offered, 3, "{report}");
}
