use std::sync::Arc;

use peercompute_net::{
    Multiaddr, Transport,
    conformance::{self, Harness, Verdict},
};
use peercompute_rt::{BoxFuture, Runtime};

use crate::support::{node, run_within};

struct Libp2p(&'static str);

impl Harness for Libp2p {
    fn runtime(&self) -> Runtime {
        Runtime::tokio()
    }

    fn transport(&self, _: String) -> BoxFuture<'_, Arc<dyn Transport>> {
        Box::pin(async { Arc::new(node()) as _ })
    }

    fn listen_address(&self) -> Multiaddr {
        self.0.parse().unwrap()
    }
}

fn conforms_over(address: &'static str) {
    // All checks in a row, each of them with a limit of its own.
    run_within(std::time::Duration::from_secs(600), async {
        let report = match conformance::run(&Libp2p(address)).await {
            Ok(report) => report,
            Err(violation) => panic!("{violation}"),
        };
        let offered = |(_, verdict): &(_, Verdict)| *verdict == Verdict::Passed;
        assert!(report.results.iter().all(offered), "{report}");
    });
}

#[test]
fn libp2p_conforms_over_tcp() {
    conforms_over("/ip4/127.0.0.1/tcp/0");
}

#[test]
fn libp2p_conforms_over_quic() {
    conforms_over("/ip4/127.0.0.1/udp/0/quic-v1");
}

#[test]
fn libp2p_conforms_over_websocket() {
    conforms_over("/ip4/127.0.0.1/tcp/0/ws");
}
