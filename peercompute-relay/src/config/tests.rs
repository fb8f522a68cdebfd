use std::{collections::BTreeMap, path::Path};

use proptest::prelude::*;

use super::*;

fn file(text: &str) -> Result<Layer, ConfigError> {
    Layer::from_json(Path::new("/etc/relay/relay.json"), text)
}

fn environment(variables: &[(&str, &str)]) -> Layer {
    let variables: BTreeMap<String, OsString> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.into()))
        .collect();
    Layer::from_environment(|name| variables.get(name).cloned()).unwrap()
}

fn flag(key: Key, value: &str) -> Layer {
    let mut layer = Layer::default();
    layer.add_flag(key, Some(value));
    layer
}

fn options(layer: &Layer) -> RelayOptions {
    RelayOptions::from_layer(layer).unwrap()
}

fn listen(options: &RelayOptions) -> Vec<String> {
    options.listen.iter().map(ToString::to_string).collect()
}

fn web_socket_port(options: &RelayOptions) -> u16 {
    let web_socket = options
        .listen
        .iter()
        .find(|address| address.to_string().contains("/ws"));
    match web_socket.unwrap().iter().nth(1) {
        Some(Part::Tcp(port)) => port,
        other => panic!("{other:?}"),
    }
}

fn own(port: u16) -> Option<(Host, u16)> {
    Some(("10.0.0.1".parse().unwrap(), port))
}

fn complaint(layer: &Layer) -> String {
    RelayOptions::from_layer(layer).unwrap_err().to_string()
}

#[test]
fn nothing_given_is_a_relay_on_the_default_ports() {
    assert_eq!(options(&Layer::default()), RelayOptions::default());
}

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let table = [
        (
            Key::ListenHost,
            "RELAY_LISTEN_HOST",
            "listenHost",
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
        ),
        (
            Key::ListenPort,
            "RELAY_LISTEN_PORT",
            "listenPort",
            ["1", "2", "3"],
        ),
        (
            Key::PublicHost,
            "RELAY_PUBLIC_HOST",
            "publicHost",
            ["a.example", "b.example", "c.example"],
        ),
        (
            Key::RelayIdentityFile,
            "RELAY_IDENTITY_FILE",
            "relayIdentityFile",
            ["/a", "/b", "/c"],
        ),
    ];
    let seen = |options: &RelayOptions, key| match key {
        Key::ListenHost => options.listen[0]
            .to_string()
            .split('/')
            .nth(2)
            .unwrap()
            .to_owned(),
        Key::ListenPort => web_socket_port(options).to_string(),
        Key::PublicHost => options.public_host.as_ref().unwrap().to_string(),
        _ => match &options.identity {
            IdentitySource::File(file) => file.display().to_string(),
            other => panic!("{other:?}"),
        },
    };
    for (key, variable, json, [low, middle, high]) in table {
        let low_layer = file(&format!("{{\"{json}\": \"{low}\"}}")).unwrap();
        let middle_layer = environment(&[(variable, middle)]);
        let high_layer = flag(key, high);
        assert_eq!(seen(&options(&low_layer), key), low);
        let two = low_layer.then(middle_layer);
        assert_eq!(seen(&options(&two), key), middle);
        assert_eq!(seen(&options(&two.then(high_layer)), key), high);
    }
}

#[test]
fn every_documented_variable_is_read() {
    let layer = environment(&[
        ("RELAY_PUBLIC_HOST", "relay.example.org"),
        ("RELAY_PUBLIC_PORT", "443"),
        ("RELAY_LISTEN_HOST", "127.0.0.1"),
        ("RELAY_LISTEN_PORT", "9001"),
        ("RELAY_IDENTITY_FILE", "id.key"),
        ("RELAY_SSL_CERT", "chain.pem"),
        ("RELAY_SSL_KEY", "key.pem"),
    ]);
    let options = options(&layer);
    assert_eq!(
        options.public_host,
        Some(Host::Name("relay.example.org".to_owned()))
    );
    assert_eq!(options.public_port, Some(443));
    assert_eq!(listen(&options)[2], "/ip4/127.0.0.1/tcp/9001/wss");
    assert_eq!(options.identity, IdentitySource::File("id.key".into()));
    let certificate = Certificate {
        chain: "chain.pem".into(),
        key: "key.pem".into(),
    };
    assert_eq!(options.certificate, Some(certificate));
    assert_eq!(options.protocol, Protocol::Wss);
}

#[test]
fn ports_may_be_texts_or_numbers() {
    let texts = file(r#"{"listenPort": "9001", "publicHost": "h", "publicPort": "443"}"#).unwrap();
    let numbers = file(r#"{"listenPort": 9001, "publicHost": "h", "publicPort": 443}"#).unwrap();
    assert_eq!(options(&texts), options(&numbers));
    assert_eq!(options(&texts).public_port, Some(443));
}

#[test]
fn empty_texts_null_and_zero_public_ports_count_as_not_given() {
    let layer = file(
        r#"{"relayHost": "", "relayPort": 0, "publicHost": null, "publicPort": "0", "limits": null}"#,
    )
    .unwrap()
    .then(environment(&[("RELAY_LISTEN_PORT", ""), ("RELAY_LISTEN_HOST", " ")]));
    assert_eq!(options(&layer), RelayOptions::default());
}

#[test]
fn the_relays_own_address_serves_where_no_public_one_is_given() {
    let layer = file(r#"{"relayHost": "a.example", "relayPort": 1, "publicPort": 2}"#).unwrap();
    let address = options(&layer).public_address(own(9)).unwrap();
    assert_eq!(address.to_string(), "/dns/a.example/tcp/2/ws");
}

#[test]
fn paths_in_the_file_count_from_its_folder() {
    let layer =
        file(r#"{"relayIdentityFile": "id.key", "relayConfigFile": "/srv/out.json"}"#).unwrap();
    let options = options(&layer);
    assert_eq!(
        options.identity,
        IdentitySource::File("/etc/relay/id.key".into())
    );
    assert_eq!(options.config_file, Some("/srv/out.json".into()));
}

#[test]
fn a_key_that_nobody_knows_is_reported_and_ignored() {
    let layer = file(r#"{"listenPrt": 1, "limits": {"circuts": 1}}"#).unwrap();
    let place = |name| format!("/etc/relay/relay.json: {name}");
    let mut unknown = layer.unknown().to_vec();
    unknown.sort();
    assert_eq!(unknown, [place("limits.circuts"), place("listenPrt")]);
    assert_eq!(options(&layer), RelayOptions::default());
}

#[test]
fn a_bad_value_is_named_with_its_place_and_a_remedy() {
    let in_file = complaint(&file(r#"{"listenPort": 70000}"#).unwrap());
    assert_eq!(
        in_file,
        "/etc/relay/relay.json: listenPort is \"70000\", which is not a port; give a number from 0 (any free port) to 65535, or none to switch it off"
    );
    let in_environment = complaint(&environment(&[(
        "RELAY_PUBLIC_HOST",
        "https://relay.example",
    )]));
    assert!(
        in_environment.starts_with("RELAY_PUBLIC_HOST is \"https://relay.example\""),
        "{in_environment}"
    );
    let in_flag = complaint(&flag(Key::HttpAddress, "4003"));
    assert!(in_flag.starts_with("--http is \"4003\""), "{in_flag}");
}

#[test]
fn values_that_cannot_be_are_refused() {
    let table = [
        (Key::ListenHost, "relay.example.org"),
        (Key::ListenPort, "-1"),
        (Key::Listen, "127.0.0.1:4001"),
        (Key::Listen, "/ip4/127.0.0.1/tcp/1/p2p-circuit"),
        (Key::TcpPort, "http"),
        (Key::PublicHost, "a..b"),
        (Key::PublicHost, "1.2.3.400"),
        (Key::PublicPort, "0x1f"),
        (Key::RelayPeerId, "12D3"),
        (Key::BootstrapPeers, "/ip4/192.0.2.1/tcp/4001"),
        (Key::BootstrapPeers, "relay.example.org"),
        (Key::Announce, "/ip4/192.0.2.1/tcp/4001, nonsense"),
        (Key::RelayProtocol, "https"),
        (Key::HttpAddress, "0.0.0.0"),
        (Key::DrainTimeout, "30"),
        (Key::DrainTimeout, "99999d"),
        (Key::Circuits, "0"),
        (Key::Connections, "many"),
        (Key::CircuitBytes, "64MB"),
        (Key::ReservationDuration, "0s"),
    ];
    for (key, value) in table {
        let error = RelayOptions::from_layer(&flag(key, value)).unwrap_err();
        assert!(
            matches!(error, ConfigError::Invalid { .. }),
            "{key:?} {value}: {error}"
        );
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let table = [
        r#"{"sslCert": "a.pem"}"#,
        r#"{"sslKey": "a.pem"}"#,
        r#"{"relayProtocol": "wss"}"#,
        r#"{"relayProtocol": "ws", "sslCert": "a.pem", "sslKey": "b.pem"}"#,
        r#"{"listen": ["/ip4/127.0.0.1/tcp/0/tls/ws"]}"#,
        r#"{"tcpPort": "none", "quicPort": "none", "listenPort": "none"}"#,
    ];
    for text in table {
        let error = RelayOptions::from_layer(&file(text).unwrap()).unwrap_err();
        assert!(
            matches!(error, ConfigError::Conflict { .. }),
            "{text}: {error}"
        );
    }
}

#[test]
fn a_file_that_is_no_json_object_is_refused_with_its_name() {
    for text in [
        "",
        "[]",
        "{\"listenPort\": }",
        "{\"listenPort\": true}",
        "{\"limits\": 3}",
    ] {
        let error = file(text).unwrap_err().to_string();
        assert!(
            error.starts_with("/etc/relay/relay.json"),
            "{text}: {error}"
        );
    }
}

#[test]
fn behind_a_proxy_the_public_address_is_wss_and_the_listener_plain() {
    let layer = file(
        r#"{"relayHost": "relay.example.org", "relayProtocol": "wss", "listenHost": "127.0.0.1", "listenPort": 9001, "tcpPort": "none", "quicPort": "none"}"#,
    );
    let options = options(&layer.unwrap());
    let listen = listen(&options);
    assert_eq!(listen, ["/ip4/127.0.0.1/tcp/9001/ws"]);
    let public = options.public_address(own(9001)).unwrap();
    assert_eq!(public.to_string(), "/dns/relay.example.org/tcp/443/wss");
}

#[test]
fn with_a_certificate_the_listener_speaks_wss_itself() {
    let layer = file(r#"{"sslCert": "a.pem", "sslKey": "b.pem", "publicHost": "2001:db8::1"}"#);
    let options = options(&layer.unwrap());
    let listen = listen(&options);
    assert_eq!(
        listen,
        [
            "/ip4/0.0.0.0/tcp/4001",
            "/ip4/0.0.0.0/udp/4001/quic-v1",
            "/ip4/0.0.0.0/tcp/4002/wss"
        ]
    );
    let public = options.public_address(own(4002)).unwrap();
    assert_eq!(public.to_string(), "/ip6/2001:db8::1/tcp/4002/wss");
}

#[test]
fn both_families_can_be_listened_on() {
    let layer = flag(Key::ListenHost, "0.0.0.0, [::]").then(flag(Key::QuicPort, "none"));
    let listen = listen(&options(&layer));
    let expected = [
        "/ip4/0.0.0.0/tcp/4001",
        "/ip4/0.0.0.0/tcp/4002/ws",
        "/ip6/::/tcp/4001",
        "/ip6/::/tcp/4002/ws",
    ];
    assert_eq!(listen, expected);
}

#[test]
fn limits_are_read_from_the_file() {
    let layer = file(
        r#"{"limits": {"circuits": 5, "circuitBytes": "64MiB", "circuitDuration": "2h", "connections": "7", "roomMembers": 3, "requestsPerMinute": 9}}"#,
    );
    let limits = options(&layer.unwrap()).limits;
    assert_eq!(limits.relay.circuits, 5);
    assert_eq!(limits.relay.circuit_bytes, 64 << 20);
    assert_eq!(limits.relay.circuit_duration, Duration::from_secs(7200));
    assert_eq!(limits.relay.requests_per_minute, 9);
    assert_eq!(limits.transport.connections, 7);
    assert_eq!(limits.rooms.members_per_room, 3);
}

#[test]
fn addresses_to_listen_at_win_over_host_and_ports() {
    let layer = flag(Key::ListenHost, "10.0.0.1").then(flag(Key::Listen, "/ip6/::1/tcp/0"));
    assert_eq!(listen(&options(&layer)), ["/ip6/::1/tcp/0"]);
}

#[test]
fn the_identity_file_is_in_the_data_folder() {
    let find = |variables: &[(&str, &str)]| {
        default_identity_file(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        })
    };
    let home = ("HOME", "/home/ada");
    let file = find(&[home, ("XDG_DATA_HOME", "/data")]).unwrap();
    assert_eq!(file, Path::new("/data/peercompute/relay-identity.key"));
    let file = find(&[home, ("XDG_DATA_HOME", "not/absolute")]).unwrap();
    assert_eq!(
        file,
        Path::new("/home/ada/.local/share/peercompute/relay-identity.key")
    );
    assert!(matches!(find(&[]), Err(ConfigError::NoDataFolder)));
}

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    let settings = proptest::collection::btree_map(0..Key::ALL.len(), "[a-z0-9]{1,4}", 0..8);
    let layer = settings.prop_map(|settings| {
        let mut layer = Layer::default();
        for (key, value) in settings {
            layer.add_flag(Key::ALL[key], Some(&value));
        }
        layer
    });
    proptest::collection::vec(layer, 0..5)
}

proptest! {
    /// The model: for each setting, the last layer that gives it.
    #[test]
    fn the_last_layer_that_gives_a_setting_wins(layers in layers()) {
        let merged = layers.iter().cloned().fold(Layer::default(), Layer::then);
        for key in Key::ALL.iter().copied() {
            let expected = layers.iter().rev().find_map(|layer| layer.value(key));
            prop_assert_eq!(merged.value(key), expected);
        }
    }

    #[test]
    fn the_effective_port_is_the_one_of_the_last_layer(
        in_file in proptest::option::of(any::<u16>()),
        in_environment in proptest::option::of(any::<u16>()),
        in_flag in proptest::option::of(any::<u16>()),
    ) {
        let mut layer = in_file.map_or(Layer::default(), |port| file(&format!("{{\"listenPort\": {port}}}")).unwrap());
        if let Some(port) = in_environment {
            layer = layer.then(environment(&[("RELAY_LISTEN_PORT", &port.to_string())]));
        }
        if let Some(port) = in_flag {
            layer = layer.then(flag(Key::ListenPort, &port.to_string()));
        }
        let expected = in_flag.or(in_environment).or(in_file).unwrap_or(DEFAULT_WEB_SOCKET_PORT);
        prop_assert_eq!(web_socket_port(&options(&layer)), expected);
    }

    #[test]
    fn no_text_makes_the_checks_panic(text in ".{0,60}", key in 0..Key::ALL.len()) {
        let _ = RelayOptions::from_layer(&flag(Key::ALL[key], &text));
        let _ = file(&text);
    }

    #[test]
    fn a_duration_is_its_number_times_its_unit(number in 0u64..8760, unit in 0usize..4) {
        let (name, millis) = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)][unit];
        let parsed = parse::duration(&format!("{number}{name}")).unwrap();
        prop_assert_eq!(parsed, Duration::from_millis(number * millis));
    }
}
