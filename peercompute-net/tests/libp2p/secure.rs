use peercompute_net::{
    Identity, Libp2pConfig, Libp2pTransport, StartError, TlsCertificate, Transport,
};
use peercompute_rt::Runtime;

use crate::support::{config, echo, echoes, listening, node, run, start};

const CERTIFICATE: &[u8] = include_bytes!("fixtures/localhost.certificate.der");
const KEY: &[u8] = include_bytes!("fixtures/localhost.key.der");

fn with_certificate() -> Libp2pConfig {
    let mut config = config();
    config.tls = Some(TlsCertificate::new(
        vec![CERTIFICATE.to_vec()],
        KEY.to_vec(),
    ));
    config
}

#[test]
fn secure_websocket_carries_streams_to_those_who_trust_the_certificate() {
    run(async {
        let (alice, at) = listening(with_certificate(), "/ip4/127.0.0.1/tcp/0/tls/ws").await;
        echo(&alice);
        let mut trusting = config();
        trusting.trusted_certificates = vec![CERTIFICATE.to_vec()];
        let bob = start(trusting);
        assert_eq!(bob.dial(at.clone()).await, Ok(alice.local_peer()));
        echoes(&bob, alice.local_peer()).await;
        let error = node().dial(at).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    });
}

#[test]
fn a_certificate_that_is_none_is_refused_at_the_start() {
    run(async {
        for (chain, key) in [
            (vec![CERTIFICATE.to_vec()], b"no key".to_vec()),
            (vec![CERTIFICATE.to_vec()], KEY[..40].to_vec()),
            (vec![b"no certificate".to_vec()], KEY.to_vec()),
            (vec![], KEY.to_vec()),
        ] {
            let runtime = Runtime::tokio();
            let mut config = Libp2pConfig::new(Identity::generate(&runtime));
            config.tls = Some(TlsCertificate::new(chain, key));
            let error = Libp2pTransport::start(config, &runtime).unwrap_err();
            assert!(matches!(error, StartError::Certificate { .. }), "{error:?}");
        }
    });
}
