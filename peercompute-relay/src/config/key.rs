/// Declares the settings: for each its key in the file, its environment variable and its flag, where it has them.
macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident: $json:literal, $env:expr, $flag:expr;)*) => {
        /// A setting of the relay, whichever way it is given.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Key {
            $($(#[$doc])* $name,)*
        }

        impl Key {
            /// Every setting, in the order in which the README lists them.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// The key in `relay.json`; a dot stands for an object in the object.
            pub(crate) const fn json(self) -> &'static str {
                match self {
                    $(Self::$name => $json,)*
                }
            }

            /// The environment variable.
            pub(crate) const fn environment(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => $env,)*
                }
            }

            /// The command-line flag.
            pub(crate) const fn flag(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => $flag,)*
                }
            }
        }
    };
}

keys! {
    /// Where clients reach the relay.
    RelayHost: "relayHost", None, None;
    /// Where clients reach the relay.
    RelayPort: "relayPort", None, None;
    /// What clients speak to that port: `ws` or `wss`.
    RelayProtocol: "relayProtocol", None, Some("--protocol");
    /// The peer id that the identity file must give.
    RelayPeerId: "relayPeerId", None, None;
    /// The file with the relay's private key.
    RelayIdentityFile: "relayIdentityFile", Some("RELAY_IDENTITY_FILE"), Some("--identity");
    /// Where clients fetch the relay's configuration.
    RelayConfigUrl: "relayConfigUrl", None, None;
    /// Where the relay writes the configuration for clients.
    RelayConfigFile: "relayConfigFile", None, Some("--config-out");
    /// The address of the interface to listen on.
    ListenHost: "listenHost", Some("RELAY_LISTEN_HOST"), Some("--listen-host");
    /// The WebSocket port.
    ListenPort: "listenPort", Some("RELAY_LISTEN_PORT"), Some("--listen-port");
    /// Wins over `relayHost`.
    PublicHost: "publicHost", Some("RELAY_PUBLIC_HOST"), Some("--public-host");
    /// Wins over `relayPort`.
    PublicPort: "publicPort", Some("RELAY_PUBLIC_PORT"), Some("--public-port");
    /// Full multiaddresses for clients, in place of the relay's own.
    BootstrapPeers: "bootstrapPeers", None, None;
    /// The addresses to listen at, in place of those that host and ports make.
    Listen: "listen", None, Some("--listen");
    /// The TCP port.
    TcpPort: "tcpPort", None, Some("--tcp-port");
    /// The QUIC (UDP) port.
    QuicPort: "quicPort", None, Some("--quic-port");
    /// Further addresses under which the relay can be reached.
    Announce: "announce", None, Some("--announce");
    /// The certificate chain for `wss`, in PEM.
    SslCertFile: "sslCert", Some("RELAY_SSL_CERT"), Some("--ssl-cert");
    /// The private key of the certificate, in PEM.
    SslKeyFile: "sslKey", Some("RELAY_SSL_KEY"), Some("--ssl-key");
    /// Where health, metrics and the clients' configuration are served.
    HttpAddress: "httpAddress", None, Some("--http");
    /// How long circuits may go on after the relay was asked to stop.
    DrainTimeout: "drainTimeout", None, Some("--drain");
    /// Peers with a reservation at the same time.
    Reservations: "limits.reservations", None, None;
    /// Reservations of one peer.
    ReservationsPerPeer: "limits.reservationsPerPeer", None, None;
    /// How long a reservation holds unless it is renewed.
    ReservationDuration: "limits.reservationDuration", None, None;
    /// Circuits at the same time.
    Circuits: "limits.circuits", None, None;
    /// Circuits that start or end at one peer.
    CircuitsPerPeer: "limits.circuitsPerPeer", None, None;
    /// How long one circuit may last.
    CircuitDuration: "limits.circuitDuration", None, None;
    /// How many bytes one circuit may carry each way, 0 for any number.
    CircuitBytes: "limits.circuitBytes", None, None;
    /// Reservations and circuits that one peer may ask for in a minute, each.
    RequestsPerMinute: "limits.requestsPerMinute", None, None;
    /// Connections at the same time.
    Connections: "limits.connections", None, None;
    /// Connections to one peer at the same time.
    ConnectionsPerPeer: "limits.connectionsPerPeer", None, None;
    /// Connections whose handshake is under way.
    PendingConnections: "limits.pendingConnections", None, None;
    /// Rooms with members at the same time.
    Rooms: "limits.rooms", None, None;
    /// Members of one room.
    RoomMembers: "limits.roomMembers", None, None;
    /// Members of all rooms together.
    Members: "limits.members", None, None;
    /// Rooms that one peer may be in.
    RoomsPerPeer: "limits.roomsPerPeer", None, None;
}

impl Key {
    /// The setting with this key in the file.
    pub(crate) fn from_json(json: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.json() == json)
    }
}
