//! From what was written to what it means, setting by setting.

use std::path::{Path, PathBuf};

use super::{
    Certificate, ConfigError, IdentitySource, Key, Layer, Limits, Listeners, Protocol,
    RelayOptions,
    layer::{Given, Origin},
    parse::{self, Fault},
    speaks_tls,
};

impl RelayOptions {
    /// Checks what was given. Where several layers were laid over each other with [`Layer::then`], the last one that gives a setting wins.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first setting that cannot be, or that does not go with another.
    pub fn from_layer(layer: &Layer) -> Result<Self, ConfigError> {
        let mut options = Self::default();
        options.set_files(layer)?;
        options.set_listen(layer)?;
        options.set_public(layer)?;
        options.set_protocol(layer)?;
        layer.read(&mut options.http, Key::HttpAddress, parse::http_address)?;
        layer.read(&mut options.drain, Key::DrainTimeout, parse::duration)?;
        options.peer_id = layer.one(Key::RelayPeerId, parse::peer_id)?;
        options.limits.set(layer)?;
        Ok(options)
    }

    fn set_listen(&mut self, layer: &Layer) -> Result<(), ConfigError> {
        let mut listeners = Listeners::default();
        layer.read_all(&mut listeners.hosts, Key::ListenHost, parse::listen_host)?;
        layer.read(&mut listeners.tcp, Key::TcpPort, parse::listen_port)?;
        layer.read(&mut listeners.quic, Key::QuicPort, parse::listen_port)?;
        layer.read(
            &mut listeners.web_socket,
            Key::ListenPort,
            parse::listen_port,
        )?;
        let addresses = layer.many(Key::Listen, parse::listen_address)?;
        self.listen = addresses.unwrap_or_else(|| listeners.addresses(self.certificate.is_some()));
        if self.listen.is_empty() {
            return Err(layer.conflict(
                Key::ListenPort,
                "every listener is switched off",
                "give at least one of tcpPort, quicPort and listenPort a port",
            ));
        }
        if self.certificate.is_none() && self.listen.iter().any(speaks_tls) {
            return Err(layer.conflict(
                Key::Listen,
                "a secure WebSocket listener without a certificate",
                "set sslCert and sslKey, or listen at an address that ends in /ws",
            ));
        }
        Ok(())
    }

    fn set_public(&mut self, layer: &Layer) -> Result<(), ConfigError> {
        let relay_host = layer.one(Key::RelayHost, parse::host)?;
        self.public_host = layer.one(Key::PublicHost, parse::host)?.or(relay_host);
        let relay_port = layer.one(Key::RelayPort, parse::public_port)?.flatten();
        self.public_port = layer
            .one(Key::PublicPort, parse::public_port)?
            .flatten()
            .or(relay_port);
        layer.read_all(&mut self.announce, Key::Announce, parse::announced_address)?;
        layer.read_all(
            &mut self.bootstrap_peers,
            Key::BootstrapPeers,
            parse::full_address,
        )?;
        Ok(())
    }

    fn set_files(&mut self, layer: &Layer) -> Result<(), ConfigError> {
        if let Some(file) = layer.path(Key::RelayIdentityFile) {
            self.identity = IdentitySource::File(file);
        }
        self.config_file = layer.path(Key::RelayConfigFile);
        self.config_url = layer.one(Key::RelayConfigUrl, parse::url)?;
        self.certificate = match (layer.path(Key::SslCertFile), layer.path(Key::SslKeyFile)) {
            (Some(chain), Some(key)) => Some(Certificate { chain, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(layer.conflict(
                    Key::SslCertFile,
                    "a certificate without its private key",
                    "set sslKey (RELAY_SSL_KEY, --ssl-key) too",
                ));
            }
            (None, Some(_)) => {
                return Err(layer.conflict(
                    Key::SslKeyFile,
                    "a private key without its certificate",
                    "set sslCert (RELAY_SSL_CERT, --ssl-cert) too",
                ));
            }
        };
        Ok(())
    }

    fn set_protocol(&mut self, layer: &Layer) -> Result<(), ConfigError> {
        let protocol = layer.one(Key::RelayProtocol, |text| match text {
            "ws" => Ok(Protocol::Ws),
            "wss" => Ok(Protocol::Wss),
            _ => Err(("is not a protocol", "give ws or wss")),
        })?;
        match (protocol, &self.certificate) {
            (Some(Protocol::Ws), Some(_)) => {
                return Err(layer.conflict(
                    Key::RelayProtocol,
                    "ws, although there is a certificate for wss",
                    "say wss, or leave the certificate out",
                ));
            }
            (Some(Protocol::Wss), None) if !self.is_public() => {
                return Err(layer.conflict(
                    Key::RelayProtocol,
                    "wss without a certificate",
                    "set sslCert and sslKey, or publicHost where a proxy before the relay speaks TLS",
                ));
            }
            (given, certificate) => {
                let implied = if certificate.is_some() {
                    Protocol::Wss
                } else {
                    Protocol::Ws
                };
                self.protocol = given.unwrap_or(implied);
            }
        }
        Ok(())
    }
}

impl Limits {
    fn set(&mut self, layer: &Layer) -> Result<(), ConfigError> {
        let (relay, transport, rooms) = (&mut self.relay, &mut self.transport, &mut self.rooms);
        for (key, limit) in [
            (Key::Reservations, &mut relay.reservations),
            (Key::ReservationsPerPeer, &mut relay.reservations_per_peer),
            (Key::Circuits, &mut relay.circuits),
            (Key::CircuitsPerPeer, &mut relay.circuits_per_peer),
            (Key::Connections, &mut transport.connections),
            (Key::ConnectionsPerPeer, &mut transport.connections_per_peer),
            (Key::PendingConnections, &mut transport.pending_incoming),
            (Key::Rooms, &mut rooms.rooms),
            (Key::RoomMembers, &mut rooms.members_per_room),
            (Key::Members, &mut rooms.members),
            (Key::RoomsPerPeer, &mut rooms.rooms_per_peer),
        ] {
            layer.read(limit, key, parse::count)?;
        }
        layer.read(
            &mut relay.requests_per_minute,
            Key::RequestsPerMinute,
            parse::count,
        )?;
        for (key, limit) in [
            (Key::ReservationDuration, &mut relay.reservation_duration),
            (Key::CircuitDuration, &mut relay.circuit_duration),
        ] {
            layer.read(limit, key, parse::lifetime)?;
        }
        layer.read(&mut relay.circuit_bytes, Key::CircuitBytes, parse::size)?;
        Ok(())
    }
}

impl Layer {
    /// Replaces `target` by the setting, if it is given.
    fn read<T>(
        &self,
        target: &mut T,
        key: Key,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<(), ConfigError> {
        if let Some(value) = self.one(key, parse)? {
            *target = value;
        }
        Ok(())
    }

    /// Replaces `target` by the setting's values, if it is given.
    fn read_all<T>(
        &self,
        target: &mut Vec<T>,
        key: Key,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<(), ConfigError> {
        if let Some(values) = self.many(key, parse)? {
            *target = values;
        }
        Ok(())
    }

    fn one<T>(
        &self,
        key: Key,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(given) = self.value(key) else {
            return Ok(None);
        };
        let text = given.raw.to_string();
        parse(&text)
            .map(Some)
            .map_err(|fault| invalid(key, given, &text, fault))
    }

    fn many<T>(
        &self,
        key: Key,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        let Some(given) = self.value(key) else {
            return Ok(None);
        };
        let items = given.raw.items();
        items
            .map(|item| parse(item).map_err(|fault| invalid(key, given, item, fault)))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A path; one in a file counts from the file's folder.
    fn path(&self, key: Key) -> Option<PathBuf> {
        let given = self.value(key)?;
        let path = PathBuf::from(given.raw.to_string());
        match &given.origin {
            Origin::File(file) => Some(file.parent().unwrap_or(Path::new("")).join(path)),
            Origin::Environment | Origin::Flag => Some(path),
        }
    }

    fn conflict(&self, key: Key, problem: &'static str, remedy: &'static str) -> ConfigError {
        let place = self.value(key).map(|given| given.origin.place(key));
        ConfigError::Conflict {
            place: place.unwrap_or(key.json().to_owned()),
            problem,
            remedy,
        }
    }
}

fn invalid(key: Key, given: &Given, value: &str, (problem, remedy): Fault) -> ConfigError {
    ConfigError::Invalid {
        place: given.origin.place(key),
        value: value.to_owned(),
        problem,
        remedy,
    }
}
