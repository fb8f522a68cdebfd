use super::*;

#[test]
fn the_port_for_browsers_is_that_of_the_web_socket_of_their_kind() {
    let ports = |address: &str| {
        let address = address.parse().expect("an address");
        [false, true].map(|secure| web_socket_port(&address, secure))
    };
    let port = Some(4001);
    assert_eq!(ports("/ip4/10.0.0.1/tcp/4001/ws"), [port, None]);
    assert_eq!(ports("/ip4/10.0.0.1/tcp/4001/tls/ws"), [None, port]);
    assert_eq!(ports("/ip4/10.0.0.1/tcp/4001/wss"), [None, port]);
    assert_eq!(ports("/ip4/10.0.0.1/tcp/4001"), [None, None]);
    assert_eq!(ports("/ip4/10.0.0.1/udp/4001/quic-v1"), [None, None]);
    let relay = "12D3KooWEG3csNBjg2Bj86uYdTq6DKAenVs9biizpyJzF9jPAMx7";
    let circuit = format!("/ip4/10.0.0.1/tcp/4001/p2p/{relay}/p2p-circuit/ws");
    assert_eq!(ports(&circuit), [None, None]);
}

#[test]
fn an_address_or_a_port_says_where_to_serve() {
    let address = |text| listen_address(text).map(|it| it.to_string());
    assert_eq!(address("8080").as_deref(), Ok("0.0.0.0:8080"));
    assert_eq!(address(":8080").as_deref(), Ok("0.0.0.0:8080"));
    assert_eq!(address("[::1]:80").as_deref(), Ok("[::1]:80"));
    assert!(address("localhost:8080").is_err_and(|it| it.contains("8080")));
}

#[test]
fn a_page_that_is_served_everywhere_is_found_at_each_address_of_the_machine() {
    let urls = |address: &str| urls(address.parse().expect("an address"), &reachable(), None);
    assert_eq!(
        urls("0.0.0.0:80"),
        ["http://10.0.0.1:80/", "http://127.0.0.1:80/"]
    );
    assert_eq!(urls("127.0.0.1:80"), ["http://127.0.0.1:80/"]);
}

#[test]
fn an_encrypted_page_is_found_by_the_names_of_its_certificate_first() {
    let names = ["localhost".to_owned(), "node.example".to_owned()];
    let urls = |address: &str| {
        let address = address.parse().expect("an address");
        urls(address, &reachable(), Some(&names))
    };
    assert_eq!(
        urls("0.0.0.0:443"),
        [
            "https://node.example:443/",
            "https://10.0.0.1:443/",
            "https://localhost:443/",
            "https://127.0.0.1:443/",
        ]
    );
    assert_eq!(
        urls("10.0.0.1:443"),
        ["https://node.example:443/", "https://10.0.0.1:443/"]
    );
    assert_eq!(
        urls("127.0.0.1:443"),
        ["https://localhost:443/", "https://127.0.0.1:443/"]
    );
}

fn reachable() -> [Multiaddr; 3] {
    let reachable = [
        "/ip4/10.0.0.1/tcp/1",
        "/ip4/10.0.0.1/tcp/2/ws",
        "/ip4/127.0.0.1/tcp/1",
    ];
    reachable.map(|it| it.parse().expect("an address"))
}
