use peercompute_net::{Libp2pTransport, Transport};
use peercompute_rt::Runtime;
use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::support::{config, echo, echoes, listening, run};

#[test]
fn connections_and_bytes_are_counted_in_the_registry() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        echo(&alice);
        let mut registry = Registry::default();
        let bob = Libp2pTransport::start_with_metrics(config(), &Runtime::tokio(), &mut registry)
            .unwrap();
        bob.dial(at).await.unwrap();
        echoes(&bob, alice.local_peer()).await;
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let counts = |name: &str| {
            text.lines()
                .any(|line| line.starts_with(name) && !line.ends_with(" 0"))
        };
        assert!(
            counts("libp2p_swarm_connections_established_total"),
            "{text}"
        );
        assert!(counts("libp2p_bandwidth_bytes_total"), "{text}");
    });
}
