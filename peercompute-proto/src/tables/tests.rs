//! The tables against the schema: a field that is added there without a rule here fails.

use std::path::Path;

use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind};

use super::*;
use crate::rules::MAX_COUNTED;
use crate::wire;

/// What an application sends in a message whose own size bounds it.
const BOUNDED_BY_THE_MESSAGE: &[&str] = &[
    "Snapshot.payload",
    "Event.payload",
    "KeptEvent.payload",
    "Command.payload",
];

fn schema() -> DescriptorPool {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = std::fs::read_dir(include.join("peercompute/v1")).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let set = protox::compile(files, [include]).unwrap();
    DescriptorPool::from_file_descriptor_set(set).unwrap()
}

fn table(message: &str) -> &'static Rules {
    let found = ALL.iter().find(|(name, _)| *name == message);
    found.unwrap_or_else(|| panic!("{message} has no table")).1
}

/// Whether `rule` is one for a field of this type.
fn suits(rule: Option<&Rule>, field: &FieldDescriptor) -> bool {
    let many = field.cardinality() == Cardinality::Repeated;
    let same = |inner: &Rules, message: &str| std::ptr::eq(inner, table(message));
    match (field.kind(), rule) {
        (Kind::Message(message), Some(Rule::Many(_, inner))) => many && same(inner, message.name()),
        (Kind::Message(message), Some(Rule::One(inner))) => !many && same(inner, message.name()),
        (Kind::String, Some(Rule::Texts(..))) => many,
        (Kind::String, Some(Rule::Length(_))) => !many,
        (Kind::Bytes, Some(Rule::Length(_) | Rule::Exactly(_))) => !many,
        (Kind::Uint32 | Kind::Uint64 | Kind::Sint32, Some(Rule::Numbers(_))) => many,
        (Kind::Message(_) | Kind::String | Kind::Bytes, _) => false,
        (_, rule) => !many && rule.is_none(),
    }
}

#[test]
fn every_field_that_can_be_large_has_a_rule_of_its_kind() {
    for message in schema().all_messages() {
        let rules = table(message.name());
        for field in message.fields() {
            let name = format!("{}.{}", message.name(), field.name());
            let rule = rules.fields.iter().find(|rule| rule.tag == field.number());
            if BOUNDED_BY_THE_MESSAGE.contains(&name.as_str()) {
                assert!(rule.is_none(), "{name}");
                continue;
            }
            assert!(
                suits(rule.map(|field| &field.rule), &field),
                "{name} has {rule:?}"
            );
            assert!(
                rule.is_none_or(|rule| rule.name == name),
                "{name} has {rule:?}"
            );
        }
    }
}

#[test]
fn every_table_and_every_rule_belongs_to_something_in_the_schema() {
    let schema = schema();
    for (name, rules) in ALL {
        let message = schema
            .all_messages()
            .find(|message| message.name() == *name);
        let message = message.unwrap_or_else(|| panic!("no message {name}"));
        for rule in rules.fields {
            assert!(message.get_field(rule.tag).is_some(), "{rule:?}");
        }
    }
}

#[test]
fn every_message_that_no_other_contains_can_be_decoded_on_its_own() {
    let schema = schema();
    let mut inner: Vec<String> = Vec::new();
    for field in schema
        .all_messages()
        .flat_map(|message| message.fields().collect::<Vec<_>>())
    {
        if let Kind::Message(message) = field.kind() {
            inner.push(message.name().to_owned());
        }
    }
    for message in schema.all_messages() {
        let own = wire::ALL.iter().find(|(name, _)| *name == message.name());
        assert!(
            own.is_some() || inner.contains(&message.name().to_owned()),
            "{}",
            message.name()
        );
        if let Some((name, rules)) = own {
            assert!(
                std::ptr::eq(*rules, table(name)),
                "{name} has another's rules"
            );
        }
    }
}

/// Repeated fields that `rules` reaches without going through another one.
fn counted(rules: &Rules) -> usize {
    let count = |field: &Field| match field.rule {
        Rule::One(inner) => counted(inner),
        Rule::Many(..) | Rule::Texts(..) | Rule::Numbers(_) => 1,
        Rule::Length(_) | Rule::Exactly(_) => 0,
    };
    rules.fields.iter().map(count).sum()
}

/// Levels of messages that are there once.
fn levels(rules: &Rules) -> usize {
    let level = |field: &Field| match field.rule {
        Rule::One(inner) => levels(inner),
        _ => 0,
    };
    1 + rules.fields.iter().map(level).max().unwrap_or(0)
}

#[test]
fn the_scan_has_room_for_every_counted_path() {
    for (name, rules) in ALL {
        assert!(counted(rules) <= MAX_COUNTED, "{name}");
        // A path has a byte for each level.
        assert!(levels(rules) <= 8, "{name}");
        assert!(rules.fields.len() <= 32, "{name}: a field has a bit each");
    }
}
