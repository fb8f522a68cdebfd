use std::{
    env,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::config::{ConfigError, Key, Layer, MAX_CONFIG_BYTES, RelayOptions};

/// How to run a relay. Every setting may also come from the environment or from the configuration file; a flag wins over both.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(args_override_self = true)]
#[command(after_help = "\
Environment: RELAY_PUBLIC_HOST, RELAY_PUBLIC_PORT, RELAY_LISTEN_HOST,
RELAY_LISTEN_PORT, RELAY_IDENTITY_FILE, RELAY_SSL_CERT, RELAY_SSL_KEY. They win
over the configuration file, and flags win over them.")]
#[non_exhaustive]
pub struct Args {
    /// The configuration file, JSON with keys such as listenPort and publicHost.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where to listen, a multiaddress; repeatable. Replaces host and ports.
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,

    /// The interface to listen on, an IP address; several with commas between [default: 0.0.0.0].
    #[arg(long, value_name = "IP")]
    pub listen_host: Option<String>,

    /// The WebSocket port; 0 for any free one, none for no WebSocket [default: 4002].
    #[arg(long, value_name = "PORT|none")]
    pub listen_port: Option<String>,

    /// The TCP port; 0 for any free one, none for no TCP [default: 4001].
    #[arg(long, value_name = "PORT|none")]
    pub tcp_port: Option<String>,

    /// The UDP port for QUIC; 0 for any free one, none for no QUIC [default: 4001].
    #[arg(long, value_name = "PORT|none")]
    pub quic_port: Option<String>,

    /// The name or address under which clients reach the WebSocket port, for instance a proxy's.
    #[arg(long, value_name = "HOST")]
    pub public_host: Option<String>,

    /// The port that goes with --public-host.
    #[arg(long, value_name = "PORT")]
    pub public_port: Option<String>,

    /// What clients speak to the public address: ws, or wss where a certificate or a proxy gives TLS [default: wss with a certificate, else ws].
    #[arg(long, value_name = "ws|wss")]
    pub protocol: Option<String>,

    /// A further address under which the relay can be reached, a multiaddress; repeatable.
    #[arg(long, value_name = "ADDR")]
    pub announce: Vec<String>,

    /// The file that holds the relay's key; made if it is not there [default: peercompute/relay-identity.key in the data folder].
    #[arg(long, value_name = "FILE")]
    pub identity: Option<String>,

    /// The certificate chain for secure WebSocket, in PEM.
    #[arg(long, value_name = "FILE")]
    pub ssl_cert: Option<String>,

    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE")]
    pub ssl_key: Option<String>,

    /// Where to serve /healthz, /metrics and /relay-config.json; none for nowhere [default: 127.0.0.1:4003].
    #[arg(long, value_name = "IP:PORT|none")]
    pub http: Option<String>,

    /// Write the clients' configuration to this file once the relay listens.
    #[arg(long, value_name = "FILE")]
    pub config_out: Option<String>,

    /// How long circuits may go on after Ctrl-C [default: 30s].
    #[arg(long, value_name = "DURATION")]
    pub drain: Option<String>,
}

impl Args {
    /// Reads the configuration file, if one is named, and the process's environment, and lays the flags over both.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], for exit status 2.
    pub fn options(&self) -> Result<RelayOptions, ConfigError> {
        let file = self
            .config
            .as_deref()
            .map(read)
            .transpose()?
            .unwrap_or_default();
        for key in file.unknown() {
            tracing::warn!("{key} is no setting of the relay; check its spelling");
        }
        let environment = Layer::from_environment(|name| env::var_os(name))?;
        RelayOptions::from_layer(&file.then(environment).then(self.layer()))
    }

    /// What the flags say.
    fn layer(&self) -> Layer {
        let mut layer = Layer::default();
        layer.add_flags(Key::Listen, &self.listen);
        layer.add_flags(Key::Announce, &self.announce);
        for (key, value) in [
            (Key::ListenHost, &self.listen_host),
            (Key::ListenPort, &self.listen_port),
            (Key::TcpPort, &self.tcp_port),
            (Key::QuicPort, &self.quic_port),
            (Key::PublicHost, &self.public_host),
            (Key::PublicPort, &self.public_port),
            (Key::RelayProtocol, &self.protocol),
            (Key::RelayIdentityFile, &self.identity),
            (Key::SslCertFile, &self.ssl_cert),
            (Key::SslKeyFile, &self.ssl_key),
            (Key::HttpAddress, &self.http),
            (Key::RelayConfigFile, &self.config_out),
            (Key::DrainTimeout, &self.drain),
        ] {
            layer.add_flag(key, value.as_deref());
        }
        layer
    }
}

/// Reads a configuration file, [`MAX_CONFIG_BYTES`] at most.
fn read(file: &Path) -> Result<Layer, ConfigError> {
    let cannot = |source| ConfigError::Read {
        file: file.to_owned(),
        source,
    };
    let mut text = String::new();
    let reader = File::open(file).map_err(cannot)?;
    reader
        .take(MAX_CONFIG_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return Err(ConfigError::TooLarge {
            file: file.to_owned(),
            limit: MAX_CONFIG_BYTES,
        });
    }
    Layer::from_json(file, &text)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    fn parse(arguments: &[&str]) -> Args {
        let program = std::iter::once("relay").chain(arguments.iter().copied());
        Program::try_parse_from(program).unwrap().args
    }

    #[test]
    fn the_command_line_is_consistent() {
        Program::command().debug_assert();
    }

    #[test]
    fn every_flag_of_a_setting_is_one_of_the_command_line() {
        let command = Program::command();
        let known: Vec<String> = command
            .get_arguments()
            .filter_map(|argument| argument.get_long())
            .map(|long| format!("--{long}"))
            .collect();
        for flag in Key::ALL.iter().filter_map(|key| key.flag()) {
            assert!(known.iter().any(|long| long == flag), "{flag}");
        }
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        for key in Key::ALL.iter().copied() {
            let Some(flag) = key.flag() else { continue };
            let layer = parse(&[flag, "x"]).layer();
            assert!(layer.value(key).is_some(), "{flag}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.json");
        std::fs::write(&file, r#"{"drainTimeout": "1s", "httpAddress": "none"}"#).unwrap();
        let options = parse(&["--config", file.to_str().unwrap(), "--drain", "2s"]).options();
        let options = options.unwrap();
        assert_eq!(options.drain, std::time::Duration::from_secs(2));
        assert_eq!(options.http, None);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = parse(&["--config", "/nowhere/relay.json"])
            .options()
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nowhere/relay.json: cannot read"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.json");
        std::fs::write(
            &file,
            " ".repeat(usize::try_from(MAX_CONFIG_BYTES).unwrap() + 1),
        )
        .unwrap();
        let error = parse(&["--config", file.to_str().unwrap()])
            .options()
            .unwrap_err();
        assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
    }
}
