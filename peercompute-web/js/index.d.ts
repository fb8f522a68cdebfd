/** Bytes, or text as UTF-8. */
export type Data = Uint8Array | ArrayBuffer | ArrayBufferView | string;

/** Rates and policies of the live room. Rates are in hertz, from 1 to 120; 0 is on demand. */
export interface SchedulerOptions {
  /** Default: `action`. */
  profile?: "action" | "coop" | "turn_based" | "sandbox";
  snapshotHz?: number;
  /** As slow as snapshots may get on a bad link. */
  leastSnapshotHz?: number;
  commandHz?: number;
  eventHz?: number;
  /** How long the first acknowledgement of a reliable event is waited for, in milliseconds; each further wait is twice as long, up to a minute. Default: 500. */
  firstRetryMs?: number;
  /** How often a reliable event is sent in all. The waits after these sends are how long it waits for a peer that cannot be reached. Default: 5, which is 15.5 seconds. */
  sends?: number;
}

export interface NodeOptions {
  /** Only nodes of the same game and room meet. Default: `default`. */
  gameId?: string;
  /** Default: `default`. */
  roomId?: string;
  /** The game's private room of that password, instead of one with a name. */
  password?: string;
  /** Full multiaddresses of nodes to connect to, such as `/ip4/127.0.0.1/tcp/4001/ws/p2p/12D3…`. */
  bootstrapPeers?: string[];
  /** Full multiaddresses of relays to meet others at, and to be reachable through. */
  relays?: string[];
  /** Whether relayed paths may be replaced by WebRTC. Default: true. */
  webrtc?: boolean;
  /** STUN and TURN servers, such as `stun:stun.example.org`, without which two tabs behind different routers may not find a direct path. Default: none, so that nobody is asked. */
  iceServers?: string[];
  /** What others are told this device is called. */
  name?: string;
  /** Default: what the browser says. */
  cores?: number;
  /** The share of the machine that it lends, in percent. Default: 100. */
  throttle?: number;
  /** Whether it runs tasks of others. Default: true. */
  serves?: boolean;
  /** Whether it runs shaders, where the browser has WebGPU. Default: true. */
  gpu?: boolean;
  scheduler?: SchedulerOptions;
  /** The private key that it is known by. Default: the one that this device has kept, or a new one. */
  identity?: Uint8Array;
  /** Whether the key is kept for the next time, where the browser lets it. Default: true. */
  keepIdentity?: boolean;
  /**
   * Whether reliable events that wait for an acknowledgement, and which ones of others were delivered, are kept for the next time the page is loaded as the same peer, so that each arrives once: in IndexedDB, 4 MiB for each
   * peer at most. Default: true.
   */
  keepOutbox?: boolean;
  /** Whether it starts no tasks of others while the page is hidden. Default: false. */
  pauseWhenHidden?: boolean;
  /** Whether it starts none while the battery is below a fifth and not charging, where the browser tells. Default: false. */
  pauseOnLowBattery?: boolean;
  /** Under which name. Tabs that run at the same time are different devices, and each is the same after a reload. Default: `device`. */
  identityName?: string;
}

/** When a state is asked for. */
export interface Moment {
  /** The room's time in milliseconds. */
  timeMs: number;
  tick: number;
}

export interface SnapshotEvent {
  type: "snapshot";
  from: string;
  provider: string;
  version: number;
  tick: number;
  timeMs: number;
  payload: Uint8Array;
}

export interface RoomEvent {
  type: "event";
  from: string;
  eventType: string;
  payload: Uint8Array;
}

export interface CommandEvent {
  type: "command";
  from: string;
  sequence: number;
  tick: number;
  provider: string;
  payload: Uint8Array;
}

export type StatusEvent =
  | { type: "joined" | "left" | "restarted" | "peerJoined" | "peerLeft"; peer: string }
  /** An event that was queued before a reload waits for this peer again; `settled` says what becomes of it. */
  | { type: "resumed"; event: number; peer: string; eventType: string; payload: Uint8Array }
  /** What became of a reliable event that no promise waits for. */
  | { type: "settled"; event: number; peer: string; outcome: Outcome }
  | { type: "pathChanged"; peer: string; path: LinkPath }
  /** It has sent more than it may, or breaks the protocol; it is disconnected, and not let back for ten minutes. */
  | { type: "cutOff"; peer: string; reason: string }
  | { type: "relayUp"; relay: string }
  | { type: "relayLost" | "reservationFailed"; relay: string; reason: string }
  | { type: "unreachable"; address: string; reason: string }
  /** Told once, when the node has started: no shaders run here, and all else does. */
  | { type: "noGpu"; reason: string }
  | { type: "providerFailed"; provider: string; message: string }
  | { type: "lagged"; missed: number };

/** How a peer is reached. */
export interface Session {
  /** The connections that are up, the one that is used first. */
  paths: {
    path: LinkPath;
    /** `circuit`, `webrtc`, `ws` or `other`. */
    carrier: string;
    address: string;
    /** Whether this end has opened it. */
    outbound: boolean;
    ageMs: number;
    roundTripMs?: number;
    /** What went over it, in bytes, by protocol. What goes on elsewhere when the path becomes better is told as `/peercompute/roaming/1`. */
    streams: { protocol: string; opened: number; sent: number; received: number }[];
  }[];
  /** Why there is no better path, as far as one was tried. */
  obstacle?: string;
  /** How the best path has changed, oldest first; without a path where the last one was lost. */
  history: { agoMs: number; path?: LinkPath; carrier: string }[];
}

export type LinkPath = "direct" | "relayed";

export interface EventOptions {
  /** Sent again until it is acknowledged. Default: as the profile has it for the type. */
  reliable?: boolean;
  /** Reliable, and in the order in which this node sends them. */
  ordered?: boolean;
  /** A peer id: of one that takes part, or did a moment ago and may come back. Default: everybody who takes part, and for reliable events whoever has gone in the last half minute and comes back. */
  to?: string;
}

export type Outcome = "acked" | "unknown" | "notSent";

export interface QueuedEvent {
  id: number;
  /** What became of a reliable event at each peer. A reload ends it: see `resumed`. */
  settled: Promise<Record<string, Outcome>>;
}

/** What a task runs: an operation, a module or a shader. */
export interface TaskProgram {
  /** A built-in operation: `crc32c`, `fnv64`, `counteq:B`, `xor:B`, `add:B`, `noop`, `matmul`. */
  operation?: string;
  /** A WebAssembly module that keeps to the task ABI. */
  module?: Data;
  /** The text of a compute shader in WGSL, which runs where there is a GPU: here or elsewhere. Binding 0 of group 0 is its input, 1 its output, 2 its uniforms. */
  shader?: string;
  /** The shader's function. Default: `main`. */
  entryPoint?: string;
  /** Of the shader, along three axes. Default: one. */
  workgroups?: [number, number, number];
  /** The length of a shader's output, 8 MiB at most. */
  outputBytes?: number;
  /** What all tasks of a shader have in common, 4096 bytes at most. */
  uniforms?: Data;
  maxOutputBytes?: number;
  deadlineMs?: number;
  memoryBytes?: number;
  fuel?: number;
}

export interface TaskResult {
  /** Which input. */
  index: number;
  output?: Uint8Array;
  /** Why there is none. */
  reason?: string;
  message?: string;
  /** Who ran it, or failed at it last: a peer id, or `local`. */
  host?: string;
  runMs: number;
}

export interface NodeStatus {
  peerId?: string;
  addresses: string[];
  uptimeMs: number;
  peers: { peerId: string; path?: LinkPath; workers: number; name?: string }[];
  tasks: { queued: number; running: number; done: number; failed: number };
  workers: number;
  throttle: number;
  paused: boolean;
  jobs: number;
  /** What runs shaders here, as far as the browser tells; null if nothing does. */
  gpu: string | null;
  /** Why nothing does. */
  noGpu?: string;
  identityIsKept: boolean;
  /** Whether reliable events outlast a reload. */
  outboxIsKept: boolean;
}

/** Where {@link resolveRelay} looks. */
export interface RelaySources {
  /** The query parameter of the page's address. Default: `relay`. */
  parameter?: string;
  /** The file beside the page. Default: `relay-config-source.json`. */
  source?: string;
  /** A relay's configuration, or its full multiaddresses with commas between. */
  fallback?: string | Record<string, unknown>;
}

/** The relay that a page uses: by its query parameter, else a file beside it, else the fallback. What is there and makes no sense is an error. */
export function resolveRelay(sources?: RelaySources): Promise<{ origin: string; addresses: string[] }>;

/** A node in a page. Errors are `Error`s with a `code`. */
export class NodeKernel {
  private constructor();
  /** A node that does nothing until it is started. */
  static create(options?: NodeOptions): Promise<NodeKernel>;
  readonly peerId: string;
  /** Whether it will be the same after a reload. */
  readonly identityIsKept: boolean;
  /** Whether reliable events outlast a reload; known once it has started. */
  readonly outboxIsKept: boolean;
  /** Waits until every event that was queued before would outlast a reload now, or none can. It takes a few milliseconds. */
  kept(): Promise<void>;
  /** Meets the others of the room, and serves and submits from now on. */
  start(): Promise<void>;
  /** Waits until every relay and peer that it was given has answered or failed. */
  ready(): Promise<void>;
  /** Ends everything in good order. */
  stop(): Promise<void>;
  status(): NodeStatus;
  /** How a peer is reached, and was before; undefined if nothing is known of it. */
  session(peerId: string): Session | undefined;
  configureScheduler(scheduler: SchedulerOptions): void;
  /** Shows a state to the others: `state` is asked for bytes, or for nothing if it is as it was. Gives a function that ends it. */
  registerStateProvider(name: string, state: (moment: Moment) => Data | null | undefined): () => void;
  addSnapshotHandler(handler: (event: SnapshotEvent) => void): () => void;
  addEventHandler(handler: (event: RoomEvent) => void): () => void;
  addCommandHandler(handler: (event: CommandEvent) => void): () => void;
  addStatusHandler(handler: (event: StatusEvent) => void): () => void;
  queueEvent(eventType: string, payload: Data, options?: EventOptions): QueuedEvent;
  /** Runs one task wherever there is room, and gives its output. */
  submitTask(task: TaskProgram & { input?: Data; data?: Data }): Promise<Uint8Array>;
  /** Runs a function of this page in a worker of it, never elsewhere. It sees nothing but `data`; both are cloned. */
  submitTask<In, Out>(task: { fn: (data: In) => Out | Promise<Out>; data: In; deadlineMs?: number }): Promise<Out>;
  /** Calls an export of a module, which imports nothing, in a worker of this page, never elsewhere. */
  submitTask(task: { module: BufferSource; exportName: string; data: number | bigint | (number | bigint)[]; deadlineMs?: number }): Promise<number | bigint | undefined>;
  /** Runs a task for each input. Gives what came of each, in their order. */
  submitTasks(task: TaskProgram & { inputs: Iterable<Data> }, onResult?: (result: TaskResult) => void): Promise<TaskResult[]>;
  /** Starts no more tasks until `resume`; what runs goes on to its end. */
  pause(): void;
  resume(): void;
  /** Changes the share of the machine that it lends, in percent. */
  setThrottle(percent: number): void;
}
