//! How large things may be. Both ends of a connection share these numbers: a message beyond them is refused by every decoder.

/// Levels of messages and groups inside each other, as prost counts them. The schema itself needs six; only unknown fields can be deeper.
pub const MAX_DEPTH: u32 = 100;

/// Bytes of an [`Envelope`](crate::v1::Envelope), which is also the most that can be published to a room at once.
pub const MAX_ENVELOPE: usize = 1024 * 1024;
/// Bytes of a message that travels as the payload of an [`Envelope`](crate::v1::Envelope): what is left beside the largest header, and some room for fields to come.
pub const MAX_PAYLOAD: usize = MAX_ENVELOPE - 4 * 1024;
/// Bytes of a [`Header`](crate::v1::Header).
pub const MAX_HEADER: usize = 4 * 1024;
/// Bytes of a [`StreamBinding`](crate::v1::StreamBinding).
pub const MAX_BINDING: usize = 4 * 1024;
/// Bytes of a [`Presence`](crate::v1::Presence).
pub const MAX_PRESENCE: usize = 32 * 1024;
/// Bytes of [`Presence::sealed`](crate::v1::Presence::sealed).
pub const MAX_SEALED_PRESENCE: usize = 12 * 1024;
/// Bytes of a [`PrivatePresence`](crate::v1::PrivatePresence): what is left beside the nonce and the tag of its box.
pub const MAX_PRIVATE_PRESENCE: usize = MAX_SEALED_PRESENCE - 40;
/// Bytes of a [`HealthFrame`](crate::v1::HealthFrame): the largest binding, and a few numbers.
pub const MAX_HEALTH_FRAME: usize = MAX_BINDING + 512;
/// Bytes of a [`RoamingHello`](crate::v1::RoamingHello) and a [`RoamingReply`](crate::v1::RoamingReply).
pub const MAX_ROAMING_MESSAGE: usize = 127;
/// Bytes of [`RoamingHello::protocol`](crate::v1::RoamingHello::protocol).
pub const MAX_ROAMING_PROTOCOL: usize = 100;
/// Bytes of a [`SignalFrame`](crate::v1::SignalFrame).
pub const MAX_SIGNAL_FRAME: usize = 8 * 1024;
/// Bytes of [`SessionDescription::session`](crate::v1::SessionDescription::session) and [`RoamingHello::stream`](crate::v1::RoamingHello::stream).
pub const SESSION_SIZE: usize = 16;
/// Bytes of [`SessionDescription::signature`](crate::v1::SessionDescription::signature).
pub const SIGNATURE_SIZE: usize = 64;
/// Bytes of what ICE calls `ice-ufrag` and `ice-pwd`, each.
pub const MAX_ICE_TEXT: usize = 256;
/// Entries of [`SessionDescription::candidates`](crate::v1::SessionDescription::candidates).
pub const MAX_ICE_CANDIDATES: usize = 16;
/// Bytes of [`IceCandidate::address`](crate::v1::IceCandidate::address).
pub const MAX_ICE_ADDRESS: usize = 64;
/// Bytes of an [`EventAck`](crate::v1::EventAck).
pub const MAX_EVENT_ACK: usize = 16 * 1024;
/// Bytes of a [`ClockSync`](crate::v1::ClockSync).
pub const MAX_CLOCK_SYNC: usize = 1024;
/// Bytes of a [`NodeMetrics`](crate::v1::NodeMetrics).
pub const MAX_NODE_METRICS: usize = 64 * 1024;
/// Bytes of a [`RelayConfig`](crate::v1::RelayConfig), as protobuf or as JSON.
pub const MAX_RELAY_CONFIG: usize = 64 * 1024;
/// Bytes of a [`CellFrame`](crate::v1::CellFrame): more than one can have that sets every field.
pub const MAX_CELL_FRAME: usize = 128;
/// Bytes of a [`LinkFrame`](crate::v1::LinkFrame): the most padding, and a binding.
pub const MAX_LINK_FRAME: usize = 2 * 1024;
/// Bytes of padding in one [`LinkFrame`](crate::v1::LinkFrame).
pub const MAX_LINK_PADDING: usize = 1024;
/// Bytes of a [`FlowFrame`](crate::v1::FlowFrame): a few chunks, and what the cells of many jobs have to say.
pub const MAX_FLOW_FRAME: usize = 256 * 1024;
/// Bytes of data in one [`FlowChunk`](crate::v1::FlowChunk).
pub const MAX_FLOW_CHUNK: usize = 64 * 1024;
/// Bytes of a bundle of tasks or of results, [`FlowInputs`](crate::v1::FlowInputs) or [`FlowOutputs`](crate::v1::FlowOutputs): the largest input or value of one
/// task, and as much again as a batch of small ones needs.
pub const MAX_FLOW_BUNDLE: usize = 9 * 1024 * 1024;
/// Bytes of a [`KeptEvent`](crate::v1::KeptEvent): the largest event, and what stands beside it.
pub const MAX_KEPT_EVENT: usize = MAX_PAYLOAD + 1024;
/// Bytes of a [`KeptPeer`](crate::v1::KeptPeer).
pub const MAX_KEPT_PEER: usize = 128 * 1024;
/// Bytes of a [`RealtimeFrame`](crate::v1::RealtimeFrame): one snapshot or batch of the largest size, and what stands beside it.
pub const MAX_REALTIME_FRAME: usize = 1024 * 1024;
/// Bytes of an [`AuthorityNote`](crate::v1::AuthorityNote).
pub const MAX_AUTHORITY_NOTE: usize = 1024;
/// Bytes of a [`LockstepFrame`](crate::v1::LockstepFrame): the largest tick, or a chunk of a snapshot with its roster.
pub const MAX_LOCKSTEP_FRAME: usize = 256 * 1024;
/// Bytes of a [`LockstepRecord`](crate::v1::LockstepRecord).
pub const MAX_LOCKSTEP_RECORD: usize = 512 * 1024;
/// Bytes of one [`LockstepCommand`](crate::v1::LockstepCommand)'s payload.
pub const MAX_LOCKSTEP_COMMAND: usize = 16 * 1024;
/// Bytes of data in one [`LockstepSnapshot`](crate::v1::LockstepSnapshot), and of a state in one [`LockstepRecord`](crate::v1::LockstepRecord).
pub const MAX_LOCKSTEP_CHUNK: usize = 64 * 1024;
/// Bytes of a [`SyncFrame`](crate::v1::SyncFrame): the most commands, and a chunk of a state with its marks.
pub const MAX_SYNC_FRAME: usize = 256 * 1024;
/// Bytes of data in one [`SyncState`](crate::v1::SyncState).
pub const MAX_SYNC_CHUNK: usize = 60 * 1024;
/// Bytes of a [`RendezvousFrame`](crate::v1::RendezvousFrame). A list of members is cut by its bytes as well as by their number.
pub const MAX_RENDEZVOUS_FRAME: usize = 256 * 1024;
/// Bytes of a [`TaskFrame`](crate::v1::TaskFrame): the largest input of one task, and as much again as a batch of small ones needs.
pub const MAX_TASK_FRAME: usize = 9 * 1024 * 1024;
/// Bytes of input of one task.
pub const MAX_TASK_INPUT: usize = 8 * 1024 * 1024;
/// Bytes of the value that one task gives.
pub const MAX_TASK_VALUE: usize = 8 * 1024 * 1024;
/// Bytes of a WebAssembly module. A number that a message only names, so that no decoder checks it: who prepares the program does.
pub const MAX_MODULE: usize = 16 * 1024 * 1024;
/// Bytes of the text of a shader; as with [`MAX_MODULE`], no decoder checks it.
pub const MAX_SHADER: usize = 1024 * 1024;
/// Bytes of data in one [`BlobChunk`](crate::v1::BlobChunk).
pub const MAX_BLOB_CHUNK: usize = 1024 * 1024;
/// Bytes of a [`BlobFrame`](crate::v1::BlobFrame): a full chunk, and a binding.
pub const MAX_BLOB_FRAME: usize = MAX_BLOB_CHUNK + 16 * 1024;
/// Bytes of a blob message: a full chunk and its reference.
pub const MAX_BLOB_MESSAGE: usize = MAX_BLOB_CHUNK + 4 * 1024;

/// Bytes of the name of a game or of a room.
pub const MAX_NAME: usize = 64;
/// Bytes of a peer id, as a multihash.
pub const MAX_PEER_ID: usize = 64;
/// Bytes of the id of a state or command provider.
pub const MAX_PROVIDER: usize = 64;
/// Bytes of the name of an event's type.
pub const MAX_EVENT_TYPE: usize = 64;
/// Bytes of the name of a built-in operation.
pub const MAX_OPERATION: usize = 64;
/// Bytes of the name of a closure that an application has registered.
pub const MAX_NATIVE_NAME: usize = 64;
/// Bytes of the name of a shader's entry point.
pub const MAX_ENTRY_POINT: usize = 64;
/// Bytes of a shader's uniforms.
pub const MAX_UNIFORMS: usize = 4096;
/// Bytes of an address.
pub const MAX_ADDRESS: usize = 512;
/// Bytes of a text that explains a failure to people.
pub const MAX_TEXT: usize = 512;
/// Bytes of a key of a presence's metadata.
pub const MAX_METADATA_KEY: usize = 64;
/// Bytes of a value of a presence's metadata.
pub const MAX_METADATA_VALUE: usize = 256;
/// Bytes of the title of a room that is listed.
pub const MAX_TITLE: usize = 128;
/// Bytes of a text in a relay's configuration: a host name, a path or an URL.
pub const MAX_CONFIG_TEXT: usize = 2048;
/// Bytes of a scope and of a blob's hash; exactly so many.
pub const HASH_SIZE: usize = 32;

/// Addresses of one peer.
pub const MAX_ADDRESSES: usize = 16;
/// Entries of a presence's metadata.
pub const MAX_METADATA: usize = 32;
/// Entries of the metadata of a room that is listed.
pub const MAX_LISTING_METADATA: usize = 16;
/// Rooms in one frame of a list of rooms.
pub const MAX_LISTED_ROOMS: usize = 128;
/// Figures of a cell that one frame tells of.
pub const MAX_CELL_CHANGES: usize = 5;
/// Figures of a node that one [`LinkFrame`](crate::v1::LinkFrame) tells of.
pub const MAX_LINK_FIGURES: usize = 5;
/// Numbers about the tree that one [`LinkFrame`](crate::v1::LinkFrame) tells of.
pub const MAX_LINK_BEACON: usize = 7;
/// Jobs, messages of cells, renewals, ends or refusals in one frame of a flow.
pub const MAX_FLOW_PARTS: usize = 64;
/// Chunks in one frame of a flow.
pub const MAX_FLOW_CHUNKS: usize = 256;
/// Bundles that one renewal names.
pub const MAX_FLOW_RENEWALS: usize = 256;
/// Tasks in one bundle.
pub const MAX_FLOW_TASKS: usize = 1024;
/// Presences in one frame of members.
pub const MAX_MEMBERS: usize = 256;
/// Tasks, results, failures, renewals or cancellations in one frame.
pub const MAX_TASKS_PER_FRAME: usize = 4096;
/// Events in one batch.
pub const MAX_EVENTS: usize = 1024;
/// Snapshots in a [`RealtimeFrame`](crate::v1::RealtimeFrame), and acknowledgements of such.
pub const MAX_SNAPSHOTS: usize = 16;
/// Sessions of a peer of which it is kept which events were delivered: the present one, and those before it.
pub const MAX_KEPT_WINDOWS: usize = 17;
/// Event ids of one session that are kept beside the run that was delivered whole.
pub const MAX_KEPT_IDS: usize = 4096;
/// Event ids that one acknowledgement names beside the run that it acknowledges whole.
pub const MAX_ACKED_EVENTS: usize = 1024;
/// Commands in one batch.
pub const MAX_COMMANDS: usize = 1024;
/// Ticks in one [`LockstepSeal`](crate::v1::LockstepSeal).
pub const MAX_LOCKSTEP_TICKS: usize = 256;
/// Peers that take part in a room in kernel mode.
pub const MAX_LOCKSTEP_SEATS: usize = 256;
/// Peers that take part, and those that have left and are remembered.
pub const MAX_LOCKSTEP_ROSTER: usize = 512;
/// Commands of one peer that are not sealed yet, or in one tick.
pub const MAX_LOCKSTEP_COMMANDS: usize = 256;
/// Hashes in one [`LockstepInput`](crate::v1::LockstepInput).
pub const MAX_LOCKSTEP_HASHES: usize = 1024;
/// Namespaces of a room in kernel mode.
pub const MAX_LOCKSTEP_NAMESPACES: usize = 64;
/// Links in one report of metrics.
pub const MAX_LINKS: usize = 256;
/// Bootstrap peers in a relay's configuration.
pub const MAX_BOOTSTRAP_PEERS: usize = 64;
