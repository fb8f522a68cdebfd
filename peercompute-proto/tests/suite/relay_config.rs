use peercompute_proto::v1::RelayConfig;
use proptest::prelude::*;

use super::strategies;
#[cfg(target_arch = "wasm32")]
use super::test;

fn error(text: &str) -> String {
    RelayConfig::from_json(text).unwrap_err().to_string()
}

#[test]
fn every_key_is_read() {
    let read = RelayConfig::from_json(
        r#"{
            "relayHost": "relay.example.org",
            "relayPort": 443,
            "relayProtocol": "wss",
            "relayPeerId": "12D3KooW",
            "relayIdentityFile": "identity.key",
            "relayConfigUrl": "https://relay.example.org/relay-config.json",
            "relayConfigFile": "relay-config.json",
            "listenHost": "0.0.0.0",
            "listenPort": 4001,
            "publicHost": "example.org",
            "publicPort": 8443,
            "bootstrapPeers": ["/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW"]
        }"#,
    )
    .unwrap();
    let expected = RelayConfig {
        relay_host: "relay.example.org".into(),
        relay_port: 443,
        relay_protocol: "wss".into(),
        relay_peer_id: "12D3KooW".into(),
        relay_identity_file: "identity.key".into(),
        relay_config_url: "https://relay.example.org/relay-config.json".into(),
        relay_config_file: "relay-config.json".into(),
        listen_host: "0.0.0.0".into(),
        listen_port: 4001,
        public_host: "example.org".into(),
        public_port: 8443,
        bootstrap_peers: vec!["/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW".into()],
    };
    assert_eq!(read, expected);
}

#[test]
fn ports_may_be_texts() {
    let read = RelayConfig::from_json(r#"{"relayPort": "65535", "listenPort": "0"}"#).unwrap();
    assert_eq!((read.relay_port, read.listen_port), (65_535, 0));
}

#[test]
fn unknown_keys_are_ignored_and_absent_or_null_ones_are_defaults() {
    let read =
        RelayConfig::from_json(r#"{"colour": ["blue"], "relayPort": null, "relay_host": "x"}"#);
    assert_eq!(read.unwrap(), RelayConfig::default());
}

#[test]
fn a_port_that_is_none_is_named() {
    let expected = "which is not a port: a number from 0 to 65535, or the same as a text";
    for value in [
        "65536",
        "-1",
        "1.5",
        "\"\"",
        "\"4001 \"",
        "\"+1\"",
        "true",
        "[]",
    ] {
        assert_eq!(
            error(&format!("{{\"listenPort\": {value}}}")),
            format!("listenPort is {value}, {expected}")
        );
    }
}

#[test]
fn a_value_of_another_type_is_named_and_shown() {
    assert_eq!(
        error(r#"{"relayHost": 7}"#),
        "relayHost is 7, which is not a text"
    );
    assert_eq!(
        error(r#"{"bootstrapPeers": "/ip4/192.0.2.1"}"#),
        "bootstrapPeers is \"/ip4/192.0.2.1\", which is not a list of texts"
    );
    assert_eq!(
        error(r#"{"bootstrapPeers": ["/ip4/192.0.2.1", {}]}"#),
        "bootstrapPeers is {}, which is not a list of texts"
    );
    let long = format!("{{\"relayPeerId\": [\"{}\"]}}", "é".repeat(100));
    assert_eq!(
        error(&long),
        format!("relayPeerId is [\"{}…, which is not a text", "é".repeat(38))
    );
}

#[test]
fn texts_and_lists_are_bounded() {
    let long = "h".repeat(2049);
    assert_eq!(
        error(&format!("{{\"publicHost\": \"{long}\"}}")),
        "publicHost has 2049 bytes; it may have 2048 at most"
    );
    let many = vec!["\"/a\""; 65].join(",");
    assert_eq!(
        error(&format!("{{\"bootstrapPeers\": [{many}]}}")),
        "bootstrapPeers lists 65; it may list 64 at most"
    );
    assert_eq!(
        error(&" ".repeat(65_537)),
        "a relay configuration of 65537 bytes is larger than the 65536 allowed"
    );
}

#[test]
fn what_is_no_object_is_refused_with_its_place() {
    for text in ["", "[]", "7", "{\"relayHost\": }", "{} {}"] {
        let text = error(text);
        assert!(
            text.starts_with("the relay configuration is no JSON object: "),
            "{text}"
        );
        assert!(text.contains("line 1"), "{text}");
    }
}

#[test]
fn it_is_written_with_numbers_and_without_what_is_empty() {
    let config = RelayConfig {
        relay_host: "relay.example.org".into(),
        relay_port: 443,
        bootstrap_peers: vec!["/ip4/192.0.2.1".into()],
        ..RelayConfig::default()
    };
    let written: serde_json::Value = serde_json::from_str(&config.to_json()).unwrap();
    assert_eq!(
        written,
        serde_json::json!({
            "relayHost": "relay.example.org",
            "relayPort": 443,
            "bootstrapPeers": ["/ip4/192.0.2.1"],
        })
    );
    assert_eq!(RelayConfig::default().to_json(), "{}\n");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(config in strategies::relay_config()) {
        prop_assert_eq!(RelayConfig::from_json(&config.to_json()).unwrap(), config);
    }

    #[test]
    fn no_text_panics(text in "[\\{\\}\\[\\]\":,a-zA-Z0-9 ]{0,80}") {
        let _ = RelayConfig::from_json(&text);
    }
}
