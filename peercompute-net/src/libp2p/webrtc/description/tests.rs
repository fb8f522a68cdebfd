use peercompute_rt::Simulation;
use proptest::prelude::*;

use super::*;

/// What Chromium says of itself, with and without addresses hidden.
const HIDDEN: &str = "v=0\r\no=- 3620430847243514331 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
    a=candidate:215995321 1 udp 2113937151 7436f70f-dba5-44a1-94b6-fa65cf190bce.local 55263 typ host generation 0 network-cost 999\r\n\
    a=candidate:3350794841 1 tcp 2113942271 192.0.2.9 9 typ host tcptype active generation 0\r\n\
    a=candidate:842163049 1 udp 1677729535 198.51.100.4 61665 typ srflx raddr 0.0.0.0 rport 0 generation 0\r\n\
    a=ice-ufrag:rAiT\r\na=ice-pwd:fEMahAfWyBChuHxX1vau+uDz\r\na=ice-options:trickle\r\n\
    a=fingerprint:sha-256 9D:1B:A4:0F:69:6F:A6:5D:41:D5:36:FE:E1:AD:86:63:0B:7B:6C:69:7C:26:7B:D8:82:4B:88:B6:17:5A:1F:5E\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n";

fn identities() -> [Identity; 2] {
    let runtime = Simulation::new(1).runtime();
    [(); 2].map(|()| Identity::generate(&runtime))
}

fn described() -> Description {
    Description::from_sdp(HIDDEN).unwrap()
}

#[test]
fn what_a_browser_says_of_itself_is_read() {
    let description = described();
    assert_eq!(description.ufrag, "rAiT");
    assert_eq!(description.password, "fEMahAfWyBChuHxX1vau+uDz");
    assert_eq!(description.fingerprint[..3], [0x9d, 0x1b, 0xa4]);
    let candidates: Vec<_> = description
        .candidates
        .iter()
        .map(|it| (it.host.to_string(), it.port, it.priority, it.is_reflexive))
        .collect();
    let hidden = "7436f70f-dba5-44a1-94b6-fa65cf190bce.local".to_owned();
    assert_eq!(
        candidates,
        [
            (hidden, 55263, 2_113_937_151, false),
            ("198.51.100.4".to_owned(), 61665, 1_677_729_535, true),
        ]
    );
}

#[test]
fn what_is_written_as_sdp_is_read_as_the_same() {
    let description = described();
    for role in [Role::Offer, Role::Answer] {
        assert_eq!(
            Description::from_sdp(&description.to_sdp(role)).as_ref(),
            Ok(&description)
        );
    }
    assert!(
        description
            .to_sdp(Role::Offer)
            .contains("a=setup:actpass\r\n")
    );
    assert!(
        description
            .to_sdp(Role::Answer)
            .contains("a=setup:active\r\n")
    );
}

#[test]
fn a_description_without_what_it_needs_is_not_taken() {
    for line in ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:"] {
        let without: Vec<_> = HIDDEN.lines().filter(|it| !it.starts_with(line)).collect();
        let read = Description::from_sdp(&without.join("\r\n"));
        assert!(
            matches!(read, Err(InvalidDescription::Sdp { .. })),
            "{line}"
        );
    }
}

#[test]
fn a_signed_description_is_read_as_it_was() {
    let [ours, theirs] = identities();
    let sent = described().sign(&ours, theirs.peer(), Role::Offer, [7; 16]);
    assert_eq!(
        verify(&sent, ours.peer(), theirs.peer(), Role::Offer),
        Ok(())
    );
    assert_eq!(Description::read(&sent), Ok(described()));
}

#[test]
fn no_signature_serves_for_anything_else() {
    let [ours, theirs] = identities();
    let (us, them) = (ours.peer(), theirs.peer());
    let sent = described().sign(&ours, them, Role::Offer, [7; 16]);
    let refused = Err(InvalidDescription::Signature);
    assert_eq!(verify(&sent, us, them, Role::Answer), refused);
    assert_eq!(verify(&sent, them, us, Role::Offer), refused);
    assert_eq!(verify(&sent, us, us, Role::Offer), refused);
    let changes: [fn(&mut v1::SessionDescription); 5] = [
        |it| it.session = vec![8; 16].into(),
        |it| it.ice_ufrag.push('a'),
        |it| it.ice_pwd.insert(0, 'D'),
        |it| it.fingerprint = vec![1; 32].into(),
        |it| it.signature = vec![0; 64].into(),
    ];
    for change in changes {
        let mut changed = sent.clone();
        change(&mut changed);
        assert_eq!(verify(&changed, us, them, Role::Offer), refused);
    }
    // Nothing of one field can be taken for a part of the next.
    let mut shifted = sent.clone();
    let first = shifted.ice_pwd.remove(0);
    shifted.ice_ufrag.push(first);
    assert_eq!(verify(&shifted, us, them, Role::Offer), refused);
}

#[test]
fn what_would_change_the_meaning_of_sdp_is_refused_or_left_out() {
    let [ours, theirs] = identities();
    let sent = described().sign(&ours, theirs.peer(), Role::Offer, [7; 16]);
    for text in [
        "",
        "abc",
        "rA T",
        "rAiT\r\na=evil:1",
        "rAiT:",
        &"a".repeat(257),
    ] {
        let mut changed = sent.clone();
        changed.ice_ufrag = text.to_owned();
        let refused = InvalidDescription::Ice { field: "ice_ufrag" };
        assert_eq!(Description::read(&changed), Err(refused), "{text:?}");
    }
    let addresses = [
        "",
        ".local",
        "evil\r\n.local",
        "a b.local",
        "example.org",
        "127.0.0.1 9",
        "a.b.local",
    ];
    for address in addresses {
        let mut changed = sent.clone();
        changed.candidates[0].address = address.to_owned();
        let read = Description::read(&changed).unwrap();
        assert_eq!(read.candidates.len(), 1, "{address:?}");
    }
    for port in [0, 65_536, u32::MAX] {
        let mut changed = sent.clone();
        changed.candidates[0].port = port;
        assert_eq!(Description::read(&changed).unwrap().candidates.len(), 1);
    }
}

#[test]
fn a_peer_whose_key_is_not_in_its_id_cannot_be_checked() {
    let [ours, theirs] = identities();
    let sent = described().sign(&ours, theirs.peer(), Role::Offer, [7; 16]);
    let hashed = [&[0x12, 32][..], &[9; 32]].concat();
    let stranger = PeerId::from_bytes(&hashed).unwrap();
    let refused = Err(InvalidDescription::UnknownKey);
    assert_eq!(verify(&sent, stranger, theirs.peer(), Role::Offer), refused);
}

proptest! {
    #[test]
    fn whatever_is_taken_keeps_its_lines(ufrag in ".{0,40}", password in ".{0,60}", address in ".{0,30}", port in any::<u32>()) {
        let sent = v1::SessionDescription {
            ice_ufrag: ufrag,
            ice_pwd: password,
            fingerprint: vec![3; 32].into(),
            candidates: vec![v1::IceCandidate { address, port, priority: 1, is_reflexive: false }],
            ..v1::SessionDescription::default()
        };
        if let Ok(description) = Description::read(&sent) {
            let sdp = description.to_sdp(Role::Offer);
            prop_assert_eq!(sdp.lines().count(), 13 + description.candidates.len());
            prop_assert_eq!(Description::from_sdp(&sdp), Ok(description));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(sdp in "(a=(candidate|ice-ufrag|ice-pwd|fingerprint):[ -~]{0,60}\r?\n){0,6}") {
        let _ = Description::from_sdp(&sdp);
    }
}
