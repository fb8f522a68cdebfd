use peercompute_proto::{BindingError, PROTOCOL_VERSION, Scope, ScopeError, v1::StreamBinding};

#[cfg(target_arch = "wasm32")]
use super::test;

/// Names, and the scope that `b3sum` gives for the bytes that the documentation of `Scope` lists.
pub(crate) fn known() -> Vec<(String, String, &'static str)> {
    let names = |game: &str, room: &str, hash| (game.to_owned(), room.to_owned(), hash);
    vec![
        names("default", "default", DEFAULT),
        names("", "", EMPTY),
        names("cubechat", "lobby", LOBBY),
        names("ab", "c", AB_C),
        names("a", "bc", A_BC),
        names("größe", "部屋", UNICODE),
        names(&"g".repeat(64), &"r".repeat(64), LONGEST),
    ]
}

const DEFAULT: &str = "1a7b7d198654ebcb727ba6a27e73beef27f2bb7dc2d6d06bf48c57d22946da38";
const EMPTY: &str = "09b719e12acc2f7e8d1de1897af162cbd151ca5b1389ec4e1bc9c8edb81c438b";
const LOBBY: &str = "28060e07ccd15ff364994cd93ef3aabc473138835189167ad062bfba677a80aa";
const AB_C: &str = "f43ffa60c0d497922cb176fee847ca4447b72b1320947b5f5556a77eb48680e7";
const A_BC: &str = "2f9a3bd2edb1c71094dc0e0d5e4eb1d5776e1eb253a2adefddd429a322d441ef";
const UNICODE: &str = "958b34d83909ce596eeea85b060fbeb144082d90834ed4e75fdf91659774c6c7";
const LONGEST: &str = "fc0596c4e50d0053350153e61f45b538ac5ad95529ac650b7ad3be8593f108fe";

#[test]
fn scopes_are_the_documented_hash() {
    for (game, room, hash) in known() {
        assert_eq!(
            Scope::new(&game, &room).unwrap().to_string(),
            hash,
            "of {game:?} {room:?}"
        );
    }
}

#[test]
fn names_of_more_than_64_bytes_have_no_scope() {
    let long = "ü".repeat(33);
    assert_eq!(
        Scope::new(&long, "room"),
        Err(ScopeError::NameTooLong {
            what: "game",
            size: 66
        })
    );
    assert_eq!(
        Scope::new("game", &"r".repeat(256)),
        Err(ScopeError::NameTooLong {
            what: "room",
            size: 256
        })
    );
}

#[test]
fn a_scope_travels_as_its_32_bytes() {
    let scope = Scope::new("game", "room").unwrap();
    assert_eq!(Scope::try_from(&scope.to_bytes()[..]), Ok(scope));
    assert_eq!(Scope::from(*scope.as_bytes()), scope);
    assert_eq!(
        Scope::try_from(&[0; 31][..]),
        Err(ScopeError::Length { size: 31 })
    );
}

#[test]
fn a_binding_fits_only_its_own_scope_and_version() {
    let ours = Scope::new("game", "room").unwrap();
    let other = Scope::new("game", "other room").unwrap();
    let binding = StreamBinding::new(ours);
    assert_eq!(binding.verify(ours), Ok(()));
    assert_eq!(
        binding.verify(other),
        Err(BindingError::Scope {
            theirs: ours.to_string(),
            ours: other
        })
    );
    let newer = StreamBinding {
        version: PROTOCOL_VERSION + 1,
        ..binding
    };
    assert_eq!(
        newer.verify(ours),
        Err(BindingError::Version {
            theirs: PROTOCOL_VERSION + 1
        })
    );
}
