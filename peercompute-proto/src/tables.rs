//! The schema's comments as tables: which counts and lengths each message has to keep.

use crate::limits::*;
use crate::rules::{Field, Rule, Rules};

const fn field(tag: u32, name: &'static str, rule: Rule) -> Field {
    Field { tag, name, rule }
}

macro_rules! rules {
    ($($table:ident: $message:ident { $($name:ident = $tag:literal $rule:expr),* $(,)? })*) => {
        $(
            pub(crate) static $table: Rules = Rules::new(&[$(
                field($tag, concat!(stringify!($message), ".", stringify!($name)), $rule),
            )*]);
        )*

        /// Every table, by its message's name.
        #[cfg(all(test, not(target_arch = "wasm32")))]
        static ALL: &[(&str, &Rules)] = &[$((stringify!($message), &$table),)*];
    };
}

use Rule::{Exactly, Length, Many, Numbers, One, Texts};

rules! {
    HEADER: Header {
        game = 6 Length(MAX_NAME),
        room = 7 Length(MAX_NAME),
        sender = 8 Length(MAX_PEER_ID),
        authority = 9 Length(MAX_PEER_ID),
        target = 10 Length(MAX_PEER_ID),
    }
    ENVELOPE: Envelope {
        header = 1 One(&HEADER),
        payload = 2 Length(MAX_PAYLOAD),
    }
    STREAM_BINDING: StreamBinding {
        scope = 2 Exactly(HASH_SIZE),
        authority = 4 Length(MAX_PEER_ID),
        target = 5 Length(MAX_PEER_ID),
    }
    SNAPSHOT: Snapshot {
        provider = 1 Length(MAX_PROVIDER),
    }
    EVENT: Event {
        type = 2 Length(MAX_EVENT_TYPE),
    }
    EVENT_BATCH: EventBatch {
        events = 1 Many(MAX_EVENTS, &EVENT),
    }
    EVENT_ACK: EventAck {
        ids = 2 Numbers(MAX_ACKED_EVENTS),
    }
    SNAPSHOT_ACK: SnapshotAck {
        provider = 1 Length(MAX_PROVIDER),
    }
    REALTIME_FRAME: RealtimeFrame {
        binding = 1 One(&STREAM_BINDING),
        snapshots = 7 Many(MAX_SNAPSHOTS, &SNAPSHOT),
        snapshot_acks = 8 Many(MAX_SNAPSHOTS, &SNAPSHOT_ACK),
        events = 9 One(&EVENT_BATCH),
        event_ack = 10 One(&EVENT_ACK),
        commands = 11 One(&COMMAND_BATCH),
        clock = 12 One(&CLOCK_SYNC),
    }
    KEPT_EVENT: KeptEvent {
        type = 3 Length(MAX_EVENT_TYPE),
    }
    KEPT_WINDOW: KeptWindow {
        ids = 3 Numbers(MAX_KEPT_IDS),
    }
    KEPT_PEER: KeptPeer {
        windows = 3 Many(MAX_KEPT_WINDOWS, &KEPT_WINDOW),
    }
    AUTHORITY_CLAIM: AuthorityClaim {
        host = 1 Length(MAX_PEER_ID),
    }
    AUTHORITY_NOTE: AuthorityNote {
        claim = 4 One(&AUTHORITY_CLAIM),
        successor = 5 Length(MAX_PEER_ID),
        binding = 7 One(&STREAM_BINDING),
    }
    LOCKSTEP_COMMAND: LockstepCommand {
        payload = 3 Length(MAX_LOCKSTEP_COMMAND),
    }
    LOCKSTEP_INPUT: LockstepInput {
        commands = 5 Many(MAX_LOCKSTEP_COMMANDS, &LOCKSTEP_COMMAND),
        hashes = 7 Numbers(MAX_LOCKSTEP_HASHES),
    }
    LOCKSTEP_SEAT: LockstepSeat {
        peer = 2 Length(MAX_PEER_ID),
    }
    LOCKSTEP_SHARE: LockstepShare {
        commands = 2 Many(MAX_LOCKSTEP_COMMANDS, &LOCKSTEP_COMMAND),
    }
    LOCKSTEP_TICK: LockstepTick {
        joined = 2 Many(MAX_LOCKSTEP_SEATS, &LOCKSTEP_SEAT),
        left = 3 Numbers(MAX_LOCKSTEP_SEATS),
        shares = 4 Many(MAX_LOCKSTEP_SEATS, &LOCKSTEP_SHARE),
    }
    LOCKSTEP_DESYNC: LockstepDesync {}
    LOCKSTEP_SEAL: LockstepSeal {
        ticks = 4 Many(MAX_LOCKSTEP_TICKS, &LOCKSTEP_TICK),
        desync = 9 One(&LOCKSTEP_DESYNC),
    }
    LOCKSTEP_SNAPSHOT: LockstepSnapshot {
        roster = 5 Many(MAX_LOCKSTEP_ROSTER, &LOCKSTEP_SEAT),
        data = 7 Length(MAX_LOCKSTEP_CHUNK),
    }
    LOCKSTEP_FRAME: LockstepFrame {
        binding = 1 One(&STREAM_BINDING),
        input = 4 One(&LOCKSTEP_INPUT),
        seal = 5 One(&LOCKSTEP_SEAL),
        snapshot = 6 One(&LOCKSTEP_SNAPSHOT),
    }
    LOCKSTEP_SETUP: LockstepSetup {
        game = 1 Length(MAX_NAME),
        namespaces = 4 Texts(MAX_LOCKSTEP_NAMESPACES, MAX_NAME),
        roster = 6 Many(MAX_LOCKSTEP_ROSTER, &LOCKSTEP_SEAT),
    }
    LOCKSTEP_HASHES: LockstepHashes {
        hashes = 2 Numbers(MAX_LOCKSTEP_NAMESPACES),
    }
    LOCKSTEP_TAKEOVER: LockstepTakeover {
        roster = 2 Many(MAX_LOCKSTEP_ROSTER, &LOCKSTEP_SEAT),
        sizes = 3 Numbers(MAX_LOCKSTEP_NAMESPACES),
    }
    LOCKSTEP_RECORD: LockstepRecord {
        setup = 1 One(&LOCKSTEP_SETUP),
        tick = 2 One(&LOCKSTEP_TICK),
        hashes = 3 One(&LOCKSTEP_HASHES),
        takeover = 4 One(&LOCKSTEP_TAKEOVER),
        state = 5 Length(MAX_LOCKSTEP_CHUNK),
    }
    SYNC_POINT: SyncPoint {
        hashes = 3 Numbers(MAX_LOCKSTEP_NAMESPACES),
        sizes = 4 Numbers(MAX_LOCKSTEP_NAMESPACES),
    }
    SYNC_WANT: SyncWant {
        namespaces = 4 Numbers(MAX_LOCKSTEP_NAMESPACES),
    }
    SYNC_MARK: SyncMark {
        peer = 1 Length(MAX_PEER_ID),
    }
    SYNC_STATE: SyncState {
        data = 4 Length(MAX_SYNC_CHUNK),
        marks = 5 Many(MAX_LOCKSTEP_ROSTER, &SYNC_MARK),
    }
    SYNC_FRAME: SyncFrame {
        binding = 1 One(&STREAM_BINDING),
        commands = 5 Many(MAX_LOCKSTEP_COMMANDS, &LOCKSTEP_COMMAND),
        point = 8 One(&SYNC_POINT),
        want = 9 One(&SYNC_WANT),
        state = 10 One(&SYNC_STATE),
    }
    COMMAND: Command {
        provider = 3 Length(MAX_PROVIDER),
    }
    COMMAND_BATCH: CommandBatch {
        commands = 1 Many(MAX_COMMANDS, &COMMAND),
    }
    CLOCK_SYNC: ClockSync {
        anchor = 5 Length(MAX_PEER_ID),
    }
    LINK_METRICS: LinkMetrics {
        peer = 1 Length(MAX_PEER_ID),
    }
    NODE_METRICS: NodeMetrics {
        links = 9 Many(MAX_LINKS, &LINK_METRICS),
    }
    CELL_FRAME: CellFrame {
        changes = 1 Numbers(MAX_CELL_CHANGES),
    }
    LINK_FRAME: LinkFrame {
        binding = 1 One(&STREAM_BINDING),
        figures = 3 Numbers(MAX_LINK_FIGURES),
        padding = 5 Length(MAX_LINK_PADDING),
        beacon = 7 Numbers(MAX_LINK_BEACON),
    }
    CAPABILITIES: Capabilities {}
    METADATA: MetadataEntry {
        key = 1 Length(MAX_METADATA_KEY),
        value = 2 Length(MAX_METADATA_VALUE),
    }
    PRESENCE: Presence {
        peer = 1 Length(MAX_PEER_ID),
        addresses = 3 Texts(MAX_ADDRESSES, MAX_ADDRESS),
        capabilities = 4 One(&CAPABILITIES),
        metadata = 5 Many(MAX_METADATA, &METADATA),
        sealed = 6 Length(MAX_SEALED_PRESENCE),
    }
    PRIVATE_PRESENCE: PrivatePresence {
        capabilities = 1 One(&CAPABILITIES),
        metadata = 2 Many(MAX_METADATA, &METADATA),
    }
    ROOM_LISTING: RoomListing {
        game = 1 Length(MAX_NAME),
        room = 2 Length(MAX_NAME),
        title = 3 Length(MAX_TITLE),
        metadata = 4 Many(MAX_LISTING_METADATA, &METADATA),
    }
    LISTED_ROOM: ListedRoom {
        listing = 1 One(&ROOM_LISTING),
    }
    RENDEZVOUS_ROOMS_REQUEST: RendezvousRoomsRequest {
        game = 1 Length(MAX_NAME),
        after = 2 Length(HASH_SIZE),
    }
    RENDEZVOUS_ROOMS: RendezvousRooms {
        rooms = 1 Many(MAX_LISTED_ROOMS, &LISTED_ROOM),
    }
    HEALTH_FRAME: HealthFrame {
        binding = 1 One(&STREAM_BINDING),
    }
    ROAMING_HELLO: RoamingHello {
        protocol = 1 Length(MAX_ROAMING_PROTOCOL),
        stream = 2 Exactly(SESSION_SIZE),
    }
    ROAMING_REPLY: RoamingReply {}
    SIGNAL_FRAME: SignalFrame {
        offer = 1 One(&SESSION_DESCRIPTION),
        answer = 2 One(&SESSION_DESCRIPTION),
        refusal = 3 One(&SIGNAL_REFUSAL),
    }
    SESSION_DESCRIPTION: SessionDescription {
        session = 1 Exactly(SESSION_SIZE),
        ice_ufrag = 2 Length(MAX_ICE_TEXT),
        ice_pwd = 3 Length(MAX_ICE_TEXT),
        fingerprint = 4 Exactly(HASH_SIZE),
        candidates = 5 Many(MAX_ICE_CANDIDATES, &ICE_CANDIDATE),
        signature = 6 Exactly(SIGNATURE_SIZE),
    }
    ICE_CANDIDATE: IceCandidate {
        address = 1 Length(MAX_ICE_ADDRESS),
    }
    SIGNAL_REFUSAL: SignalRefusal {}
    RENDEZVOUS_REGISTER: RendezvousRegister {
        scope = 1 Exactly(HASH_SIZE),
        presence = 2 One(&PRESENCE),
        listing = 3 One(&ROOM_LISTING),
    }
    RENDEZVOUS_MEMBERS: RendezvousMembers {
        members = 1 Many(MAX_MEMBERS, &PRESENCE),
    }
    RENDEZVOUS_REFUSAL: RendezvousRefusal {
        message = 2 Length(MAX_TEXT),
    }
    RENDEZVOUS_FRAME: RendezvousFrame {
        register = 1 One(&RENDEZVOUS_REGISTER),
        members = 2 One(&RENDEZVOUS_MEMBERS),
        refusal = 3 One(&RENDEZVOUS_REFUSAL),
        rooms_request = 4 One(&RENDEZVOUS_ROOMS_REQUEST),
        rooms = 5 One(&RENDEZVOUS_ROOMS),
    }
    TASK_HELLO: TaskHello {
        binding = 1 One(&STREAM_BINDING),
        capabilities = 2 One(&CAPABILITIES),
    }
    BUILTIN_PROGRAM: BuiltinProgram {
        operation = 1 Length(MAX_OPERATION),
    }
    WASM_PROGRAM: WasmProgram {
        hash = 1 Exactly(HASH_SIZE),
    }
    WGSL_PROGRAM: WgslProgram {
        hash = 1 Exactly(HASH_SIZE),
        entry_point = 3 Length(MAX_ENTRY_POINT),
        uniforms = 8 Length(MAX_UNIFORMS),
    }
    NATIVE_PROGRAM: NativeProgram {
        name = 1 Length(MAX_NATIVE_NAME),
    }
    PROGRAM: Program {
        builtin = 1 One(&BUILTIN_PROGRAM),
        wasm = 2 One(&WASM_PROGRAM),
        wgsl = 3 One(&WGSL_PROGRAM),
        native = 4 One(&NATIVE_PROGRAM),
    }
    TASK_LIMITS: TaskLimits {}
    TASK_SPEC: TaskSpec {
        program = 1 One(&PROGRAM),
        limits = 2 One(&TASK_LIMITS),
    }
    TASK_OFFER: TaskOffer {
        spec = 2 One(&TASK_SPEC),
    }
    TASK_CLAIM: TaskClaim {}
    TASK_LEASE: TaskLease {
        input = 3 Length(MAX_TASK_INPUT),
    }
    TASK_LEASES: TaskLeases {
        tasks = 2 Many(MAX_TASKS_PER_FRAME, &TASK_LEASE),
    }
    TASK_LEASE_RENEWAL: TaskLeaseRenewal {
        tasks = 2 Numbers(MAX_TASKS_PER_FRAME),
    }
    TASK_RESULT: TaskResult {
        value = 2 Length(MAX_TASK_VALUE),
    }
    TASK_RESULTS: TaskResults {
        results = 2 Many(MAX_TASKS_PER_FRAME, &TASK_RESULT),
    }
    TASK_FAILURE: TaskFailure {
        message = 3 Length(MAX_TEXT),
    }
    TASK_FAILURES: TaskFailures {
        failures = 2 Many(MAX_TASKS_PER_FRAME, &TASK_FAILURE),
    }
    TASK_CANCEL: TaskCancel {
        tasks = 2 Numbers(MAX_TASKS_PER_FRAME),
    }
    TASK_FRAME: TaskFrame {
        hello = 1 One(&TASK_HELLO),
        offer = 2 One(&TASK_OFFER),
        claim = 3 One(&TASK_CLAIM),
        leases = 4 One(&TASK_LEASES),
        renewal = 5 One(&TASK_LEASE_RENEWAL),
        results = 6 One(&TASK_RESULTS),
        failures = 7 One(&TASK_FAILURES),
        cancel = 8 One(&TASK_CANCEL),
    }
    FLOW_HELLO: FlowHello {
        binding = 1 One(&STREAM_BINDING),
        capabilities = 2 One(&CAPABILITIES),
    }
    FLOW_ECHO: FlowEcho {}
    FLOW_KEY: FlowKey {
        peer = 1 Length(MAX_PEER_ID),
    }
    FLOW_JOB: FlowJob {
        key = 2 One(&FLOW_KEY),
        spec = 3 One(&TASK_SPEC),
        refusal = 9 Length(MAX_TEXT),
    }
    FLOW_CELL: FlowCell {
        frame = 2 One(&CELL_FRAME),
    }
    FLOW_BEGIN: FlowBegin {}
    FLOW_CHUNK: FlowChunk {
        begin = 3 One(&FLOW_BEGIN),
        data = 4 Length(MAX_FLOW_CHUNK),
    }
    FLOW_RENEWAL: FlowRenewal {
        bundles = 2 Numbers(MAX_FLOW_RENEWALS),
    }
    FLOW_END: FlowEnd {}
    FLOW_FRAME: FlowFrame {
        hello = 1 One(&FLOW_HELLO),
        echo = 2 One(&FLOW_ECHO),
        jobs = 3 Many(MAX_FLOW_PARTS, &FLOW_JOB),
        cells = 4 Many(MAX_FLOW_PARTS, &FLOW_CELL),
        chunks = 5 Many(MAX_FLOW_CHUNKS, &FLOW_CHUNK),
        renewals = 6 Many(MAX_FLOW_PARTS, &FLOW_RENEWAL),
        ends = 7 Many(MAX_FLOW_PARTS, &FLOW_END),
        refused = 8 Numbers(MAX_FLOW_PARTS),
    }
    FLOW_INPUT: FlowInput {
        input = 2 Length(MAX_TASK_INPUT),
    }
    FLOW_INPUTS: FlowInputs {
        tasks = 1 Many(MAX_FLOW_TASKS, &FLOW_INPUT),
    }
    FLOW_FAILURE: FlowFailure {
        message = 2 Length(MAX_TEXT),
    }
    FLOW_OUTPUT: FlowOutput {
        value = 1 Length(MAX_TASK_VALUE),
        failure = 3 One(&FLOW_FAILURE),
    }
    FLOW_OUTPUTS: FlowOutputs {
        peer = 1 Length(MAX_PEER_ID),
        results = 2 Many(MAX_FLOW_TASKS, &FLOW_OUTPUT),
    }
    BLOB_REF: BlobRef {
        hash = 1 Exactly(HASH_SIZE),
    }
    BLOB_REQUEST: BlobRequest {
        blob = 1 One(&BLOB_REF),
    }
    BLOB_CHUNK: BlobChunk {
        blob = 1 One(&BLOB_REF),
        data = 3 Length(MAX_BLOB_CHUNK),
    }
    BLOB_MISSING: BlobMissing {
        blob = 1 One(&BLOB_REF),
    }
    BLOB_FRAME: BlobFrame {
        binding = 1 One(&STREAM_BINDING),
        request = 2 One(&BLOB_REQUEST),
        chunk = 3 One(&BLOB_CHUNK),
        missing = 4 One(&BLOB_MISSING),
    }
    RELAY_CONFIG: RelayConfig {
        relay_host = 1 Length(MAX_CONFIG_TEXT),
        relay_protocol = 3 Length(MAX_CONFIG_TEXT),
        relay_peer_id = 4 Length(MAX_CONFIG_TEXT),
        relay_identity_file = 5 Length(MAX_CONFIG_TEXT),
        relay_config_url = 6 Length(MAX_CONFIG_TEXT),
        relay_config_file = 7 Length(MAX_CONFIG_TEXT),
        listen_host = 8 Length(MAX_CONFIG_TEXT),
        public_host = 10 Length(MAX_CONFIG_TEXT),
        bootstrap_peers = 12 Texts(MAX_BOOTSTRAP_PEERS, MAX_ADDRESS),
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
