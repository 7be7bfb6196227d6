//! Flags and variables, and how they become typed settings: a file for each group of them.
//!
//! Each setting is a flag, a variable `BRIDGE_…`, and a line of a file; the first that says something wins. Values are parsed
//! here, not by clap, so that all faults of a start are told at once, each with the place that it came from.

mod connections;
mod credential;
mod door;
mod file;
mod headers;
mod inbound;
mod issuers;
mod listen;
mod logs;
mod probe;
mod protection;
mod rates;
mod shutdown;
mod source;
mod strict;
mod tls;
mod tokens;
mod upstream;

use self::{
    connections::ConnectionSettings, door::DoorSettings, inbound::InboundSettings, listen::ListenSettings,
    probe::ProbeSettings, protection::ProtectionSettings, shutdown::ShutdownSettings, tls::TlsSettings,
};
pub(super) use self::{
    credential::SECRETS,
    file::FileSettings,
    listen::DemoSettings,
    logs::{LogSettings, Logs},
    source::SourceSettings,
    strict::StrictSettings,
    upstream::UpstreamSettings,
};
use super::{
    input::Input,
    reader::{Faults, Reader},
};
use crate::config::Config;

/// The settings of `serve`. What has no heading comes first: a heading is that of all that follows.
#[derive(Debug, clap::Args)]
pub(super) struct ServeSettings {
    #[command(flatten)]
    listen: ListenSettings,
    #[command(flatten)]
    upstream: UpstreamSettings,
    #[command(flatten)]
    protection: ProtectionSettings,
    #[command(flatten)]
    inbound: InboundSettings,
    #[command(flatten)]
    tls: TlsSettings,
    #[command(flatten)]
    door: DoorSettings,
    #[command(flatten)]
    connections: ConnectionSettings,
    #[command(flatten)]
    probe: ProbeSettings,
    #[command(flatten)]
    shutdown: ShutdownSettings,
}

// === impl ServeSettings ===

impl ServeSettings {
    /// The typed settings.
    pub(super) fn config(&self, input: &Input<'_>) -> Result<Config, Faults> {
        let mut read = Reader::new(input);
        let upstream = self.upstream.resolve(&mut read);
        let upstream = self.protection.apply(&mut read, upstream);
        let has_credential = upstream.as_ref().is_some_and(|upstream| upstream.credential.is_some());
        let admin = self.listen.operators(&mut read);
        let config = (
            self.listen.callers(&mut read),
            self.tls.resolve(&mut read),
            self.door.resolve(&mut read),
            self.listen.reload_interval(&mut read),
            self.inbound.resolve(&mut read, has_credential),
            self.connections.resolve(&mut read),
            self.probe.resolve(&mut read),
            self.shutdown.resolve(&mut read),
        );
        match (upstream, config) {
            (
                Some(upstream),
                (
                    Some(listen),
                    Some(tls),
                    Some(door),
                    Some(reload_interval),
                    Some(inbound),
                    Some(connections),
                    Some(probe),
                    Some(shutdown),
                ),
            ) if read.faults.faults.is_empty() => Ok(Config {
                listen,
                admin,
                upstream,
                tls,
                door,
                connections,
                reload_interval,
                inbound,
                probe,
                shutdown,
            }),
            _ => Err(read.faults),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{file::SettingsFile, input::Variables},
        config::ConnectionConfig,
    };
    use clap::{Args, Command, FromArgMatches};
    use std::time::Duration;

    fn config(words: &[&str]) -> Config {
        let command = ServeSettings::augment_args(Command::new("serve"));
        let matches =
            command.get_matches_from([&["serve", "--upstream", "http://shop:3000"], words].concat());
        let input =
            Input { matches: &matches, variables: &Variables::default(), file: &SettingsFile::default() };
        ServeSettings::from_arg_matches(&matches).unwrap().config(&input).unwrap()
    }

    #[test]
    fn what_is_not_set_is_as_the_library_has_it() {
        let expected = Config::new("0.0.0.0:50051".parse().unwrap(), "http://shop:3000".parse().unwrap());
        assert_eq!(config(&[]), expected);
    }

    #[test]
    fn what_is_set_of_connections_is_as_it_says() {
        let words = "--max-connection-age 1h --max-connection-age-grace 2m --keepalive-interval 3m \
                     --keepalive-timeout 4s --max-concurrent-streams 5 --max-in-flight 6 --max-connections 7 \
                     --max-connections-per-address 8 --handshake-timeout 9s --max-connection-idle 10s \
                     --send-timeout 11s --max-stream-resets 12/s --max-overhead-frames 13/min \
                     --max-in-flight-per-caller 14 --receive-timeout 15s";
        let found = config(&words.split_whitespace().collect::<Vec<_>>());
        let expected = ConnectionConfig {
            max_age: Some(Duration::from_secs(3600)),
            max_age_grace: Duration::from_secs(120),
            keepalive_interval: Some(Duration::from_secs(180)),
            keepalive_timeout: Duration::from_secs(4),
            max_idle: Some(Duration::from_secs(10)),
            send_timeout: Duration::from_secs(11),
            max_concurrent_streams: 5,
            max_stream_resets: "12/s".parse().unwrap(),
            max_overhead_frames: "13/min".parse().unwrap(),
            max_connections: 7,
            max_connections_per_address: 8,
            handshake_timeout: Duration::from_secs(9),
        };
        assert_eq!(found.connections, expected);
        let inbound = found.inbound;
        assert_eq!((inbound.max_in_flight, inbound.max_in_flight_per_caller), (6, 14));
        assert_eq!(inbound.receive_timeout, Duration::from_secs(15));
    }

    #[test]
    fn age_idleness_and_keepalive_can_be_switched_off() {
        let words = "--max-connection-age none --keepalive-interval none --max-connection-idle none";
        let found = config(&words.split_whitespace().collect::<Vec<_>>()).connections;
        assert_eq!((found.max_age, found.keepalive_interval, found.max_idle), (None, None, None));
    }
}
