//! The whole folder `golden/`, made from the samples: compared with what is checked in, or written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value, text_format::FormatOptions,
};

use peercompute_proto::{FrameDecoder, Wire, encode_frame, v1};

use crate::decoding;
use crate::samples::{self, Visitor};
use crate::scope;

const PACKAGE: &str = "peercompute.v1";

/// Everything below `golden/` but its README, by path.
#[derive(Default)]
struct Folder {
    files: BTreeMap<String, Vec<u8>>,
    index: Vec<serde_json::Value>,
}

impl Folder {
    fn put(&mut self, path: String, contents: impl Into<Vec<u8>>) {
        let doubled = self.files.insert(path.clone(), contents.into());
        assert!(doubled.is_none(), "{path} comes twice");
    }
}

struct Schema(DescriptorPool);

impl Schema {
    fn load() -> Self {
        let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let mut files: Vec<PathBuf> = std::fs::read_dir(include.join("peercompute/v1"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let set = protox::compile(files, [include]).unwrap();
        Self(DescriptorPool::from_file_descriptor_set(set).unwrap())
    }

    fn message(&self, name: &str) -> MessageDescriptor {
        self.0
            .get_message_by_name(&format!("{PACKAGE}.{name}"))
            .unwrap()
    }

    fn read(&self, name: &str, bytes: &[u8]) -> DynamicMessage {
        DynamicMessage::decode(self.message(name), bytes).unwrap()
    }

    /// The text that stands for `bytes`, with the header that tools look for.
    fn text(&self, name: &str, bytes: &[u8]) -> String {
        let descriptor = self.message(name);
        let file = descriptor.parent_file();
        let message = self.read(name, bytes);
        let options = FormatOptions::new().pretty(true);
        let body = message.to_text_format_with_options(&options);
        let mut text = format!(
            "# proto-file: {}\n# proto-message: {PACKAGE}.{name}\n",
            file.name()
        );
        if !body.is_empty() {
            write!(text, "\n{}\n", body.trim_end()).unwrap();
        }
        text
    }
}

struct Messages<'a> {
    schema: &'a Schema,
    folder: &'a mut Folder,
    bytes: BTreeMap<&'static str, Bytes>,
}

impl Visitor for Messages<'_> {
    fn visit<M: Wire + PartialEq + Debug>(&mut self, name: &'static str, _: &[u8], message: M) {
        let bytes = message.encode_to_vec();
        let text = self.schema.text(M::NAME, &bytes);
        let parsed =
            DynamicMessage::parse_text_format(self.schema.message(M::NAME), &text).unwrap();
        assert_eq!(
            parsed.encode_to_vec(),
            bytes,
            "the text of {name} says something else"
        );
        self.folder.index.push(serde_json::json!({
            "bytes": format!("messages/{name}.bin"),
            "text": format!("messages/{name}.txtpb"),
            "message": format!("{PACKAGE}.{}", M::NAME),
            "expect": "same bytes",
        }));
        self.bytes.insert(name, bytes.clone().into());
        self.folder.put(format!("messages/{name}.bin"), bytes);
        self.folder.put(format!("messages/{name}.txtpb"), text);
    }
}

/// Streams of frames: the names of the messages in each.
const STREAMS: &[(&str, &str, &[&str])] = &[
    (
        "task_submitter",
        "TaskFrame",
        &[
            "TaskFrame.hello",
            "TaskFrame.offer",
            "TaskFrame.leases",
            "TaskFrame.cancel",
            "TaskFrame.cancel_job",
        ],
    ),
    (
        "task_worker",
        "TaskFrame",
        &[
            "TaskFrame.hello",
            "TaskFrame.claim",
            "TaskFrame.renewal",
            "TaskFrame.results",
            "TaskFrame.failures",
        ],
    ),
    (
        "empty_frames",
        "TaskFrame",
        &[
            "TaskFrame.empty",
            "TaskFrame.empty",
            "TaskFrame.claim",
            "TaskFrame.empty",
        ],
    ),
    (
        "rendezvous_peer",
        "RendezvousFrame",
        &["RendezvousFrame.register"],
    ),
    (
        "rendezvous_relay",
        "RendezvousFrame",
        &["RendezvousFrame.members", "RendezvousFrame.refusal"],
    ),
    (
        "rendezvous_asker",
        "RendezvousFrame",
        &["RendezvousFrame.rooms_request"],
    ),
    (
        "rendezvous_rooms",
        "RendezvousFrame",
        &["RendezvousFrame.rooms"],
    ),
    (
        "realtime_peer",
        "RealtimeFrame",
        &[
            "RealtimeFrame.hello",
            "RealtimeFrame.snapshot",
            "RealtimeFrame.empty",
            "RealtimeFrame",
        ],
    ),
    (
        "lockstep_host",
        "LockstepFrame",
        &[
            "LockstepFrame.collecting",
            "LockstepFrame.seal",
            "LockstepFrame.snapshot",
        ],
    ),
    (
        "lockstep_peer",
        "LockstepFrame",
        &["LockstepFrame.hello", "LockstepFrame.empty"],
    ),
    (
        "sync_host",
        "SyncFrame",
        &["SyncFrame.point", "SyncFrame.state"],
    ),
    (
        "sync_peer",
        "SyncFrame",
        &["SyncFrame.hello", "SyncFrame.want", "SyncFrame.empty"],
    ),
    (
        "cell_neighbour",
        "CellFrame",
        &[
            "CellFrame",
            "CellFrame.one_change",
            "CellFrame.empty",
            "CellFrame.grant",
            "CellFrame.largest",
        ],
    ),
    (
        "link_peer",
        "LinkFrame",
        &[
            "LinkFrame.hello",
            "LinkFrame.empty",
            "LinkFrame",
            "LinkFrame.beacon",
            "LinkFrame.largest",
        ],
    ),
    (
        "blob_server",
        "BlobFrame",
        &["BlobFrame.hello", "BlobFrame", "BlobFrame.missing"],
    ),
    (
        "flow_neighbour",
        "FlowFrame",
        &[
            "FlowFrame.hello",
            "FlowFrame",
            "FlowFrame.empty",
            "FlowFrame.update",
        ],
    ),
];

fn streams(folder: &mut Folder, messages: &BTreeMap<&'static str, Bytes>) {
    for (name, message, parts) in STREAMS {
        let bytes = match *message {
            "TaskFrame" => stream::<v1::TaskFrame>(messages, parts),
            "RealtimeFrame" => stream::<v1::RealtimeFrame>(messages, parts),
            "LockstepFrame" => stream::<v1::LockstepFrame>(messages, parts),
            "SyncFrame" => stream::<v1::SyncFrame>(messages, parts),
            "CellFrame" => stream::<v1::CellFrame>(messages, parts),
            "LinkFrame" => stream::<v1::LinkFrame>(messages, parts),
            "BlobFrame" => stream::<v1::BlobFrame>(messages, parts),
            "FlowFrame" => stream::<v1::FlowFrame>(messages, parts),
            _ => stream::<v1::RendezvousFrame>(messages, parts),
        };
        let text: String = parts
            .iter()
            .map(|part| format!("messages/{part}.bin\n"))
            .collect();
        folder.index.push(serde_json::json!({
            "bytes": format!("frames/{name}.bin"),
            "text": format!("frames/{name}.txt"),
            "message": format!("{PACKAGE}.{message}"),
            "framed": true,
            "expect": "same bytes",
        }));
        folder.put(format!("frames/{name}.bin"), bytes);
        folder.put(format!("frames/{name}.txt"), text);
    }
}

fn stream<M: Wire + PartialEq + Debug>(
    messages: &BTreeMap<&'static str, Bytes>,
    parts: &[&str],
) -> BytesMut {
    let parts: Vec<M> = parts
        .iter()
        .map(|part| M::decode(messages[part].clone()).unwrap())
        .collect();
    let mut bytes = BytesMut::new();
    parts.iter().for_each(|part| encode_frame(part, &mut bytes));
    let mut decoder = FrameDecoder::<M>::new();
    decoder.push(bytes.clone().freeze());
    for part in parts {
        assert_eq!(decoder.next(), Ok(Some(part)));
    }
    bytes
}

fn odd(folder: &mut Folder, schema: &Schema) {
    for odd in decoding::odd_ones() {
        let name = odd.name;
        folder.index.push(serde_json::json!({
            "bytes": format!("odd/{name}.bin"),
            "text": format!("odd/{name}.txtpb"),
            "message": format!("{PACKAGE}.{}", odd.message),
            "expect": "same message",
        }));
        folder.put(
            format!("odd/{name}.txtpb"),
            schema.text(odd.message, &odd.means),
        );
        folder.put(format!("odd/{name}.bin"), odd.bytes);
    }
}

fn bad(folder: &mut Folder) {
    for bad in decoding::bad_ones() {
        let mut entry = serde_json::json!({
            "bytes": format!("bad/{}.bin", bad.name),
            "message": format!("{PACKAGE}.{}", bad.message),
            "expect": "error",
            "error": bad.error,
        });
        if bad.framed {
            entry["framed"] = true.into();
        }
        folder.index.push(entry);
        folder.put(format!("bad/{}.bin", bad.name), bad.bytes);
    }
}

fn scopes(folder: &mut Folder) {
    let scopes: Vec<_> = scope::known()
        .into_iter()
        .map(|(game, room, hash)| serde_json::json!({"game": game, "room": room, "scope": hash}))
        .collect();
    folder.put(
        "scope.json".to_owned(),
        format!("{:#}\n", serde_json::Value::from(scopes)),
    );
}

fn build(schema: &Schema) -> Folder {
    let mut folder = Folder::default();
    let mut messages = Messages {
        schema,
        folder: &mut folder,
        bytes: BTreeMap::new(),
    };
    samples::visit(&mut messages);
    let bytes = messages.bytes;
    streams(&mut folder, &bytes);
    odd(&mut folder, schema);
    bad(&mut folder);
    scopes(&mut folder);
    // One vector a line, so that a difference shows which.
    let lines: Vec<String> = folder
        .index
        .iter()
        .map(|entry| format!("  {entry}"))
        .collect();
    folder.put(
        "index.json".to_owned(),
        format!("[\n{}\n]\n", lines.join(",\n")),
    );
    folder
}

fn files_below(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, root, found);
        } else {
            let path = path.strip_prefix(root).unwrap();
            let parts: Vec<_> = path.iter().map(|part| part.to_str().unwrap()).collect();
            found.insert(parts.join("/"));
        }
    }
}

#[test]
fn the_folder_holds_exactly_the_vectors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let folder = build(&Schema::load());
    let write = std::env::var_os("PEERCOMPUTE_GOLDEN").is_some_and(|mode| mode == "write");
    let mut there = BTreeSet::new();
    files_below(&root, &root, &mut there);
    there.remove("README.md");
    let expected: BTreeSet<String> = folder.files.keys().cloned().collect();
    if write {
        for left_over in there.difference(&expected) {
            std::fs::remove_file(root.join(left_over)).unwrap();
        }
        for (path, contents) in &folder.files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
        return;
    }
    assert_eq!(
        there, expected,
        "run with PEERCOMPUTE_GOLDEN=write and review what changes"
    );
    for (path, contents) in &folder.files {
        let checked_in = std::fs::read(root.join(path)).unwrap();
        assert!(
            checked_in == *contents,
            "golden/{path} is not what this crate makes; vectors only ever change with a new major version of the schema"
        );
    }
}

/// Collects the fields that are set, as `Message.field`.
fn set_fields(message: &DynamicMessage, set: &mut BTreeSet<String>) {
    for (field, value) in message.fields() {
        set.insert(field.full_name().to_owned());
        match value {
            Value::Message(inner) => set_fields(inner, set),
            Value::List(list) => list
                .iter()
                .filter_map(Value::as_message)
                .for_each(|inner| set_fields(inner, set)),
            _ => {}
        }
    }
}

#[test]
fn every_field_of_the_schema_is_set_in_a_vector() {
    let schema = Schema::load();
    let folder = build(&schema);
    let mut set = BTreeSet::new();
    for entry in folder
        .index
        .iter()
        .filter(|entry| entry["expect"] == "same bytes" && entry["framed"].is_null())
    {
        let bytes = &folder.files[entry["bytes"].as_str().unwrap()];
        let name = entry["message"]
            .as_str()
            .unwrap()
            .rsplit('.')
            .next()
            .unwrap();
        set_fields(&schema.read(name, bytes), &mut set);
    }
    let unset: Vec<String> = schema
        .0
        .all_messages()
        .filter(|message| !message.is_map_entry())
        .flat_map(|message| {
            message
                .fields()
                .map(|field| field.full_name().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|field| !set.contains(field))
        .collect();
    assert!(unset.is_empty(), "add samples that set {unset:?}");
}

#[test]
fn every_message_that_no_other_contains_has_vectors() {
    let schema = Schema::load();
    let inner: BTreeSet<String> = schema
        .0
        .all_messages()
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter_map(|field| match field.kind() {
            Kind::Message(message) => Some(message.full_name().to_owned()),
            _ => None,
        })
        .collect();
    let folder = build(&schema);
    for message in schema
        .0
        .all_messages()
        .filter(|message| !inner.contains(message.full_name()))
    {
        let name = message.name();
        let own = folder
            .files
            .keys()
            .filter(|path| path.starts_with(&format!("messages/{name}.")));
        assert!(
            own.count() >= 4,
            "{name}: one with every field and one with none are needed"
        );
    }
}
