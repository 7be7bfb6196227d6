//! `serve`: the bridge before a real API.

use std::future::Future;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::{
    Exit,
    input::Input,
    limits,
    reader::{self, Faults},
    settings::{FileSettings, LogSettings, Logs, ServeSettings, SourceSettings},
};
use crate::{
    app::{App, StartError, Stopped},
    config::Config,
    contract::Contract,
};

/// Serve a REST API over gRPC
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: FileSettings,
    #[command(flatten)]
    settings: ServeSettings,
    #[command(flatten)]
    source: SourceSettings,
    #[command(flatten)]
    logs: LogSettings,
}

/// SIGTERM and SIGINT, once to begin stopping, and once more to be done with it.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

pub(super) fn run(args: &Args, input: &Input<'_>, unknown: &[String]) -> Result<Exit, Faults> {
    let ((config, logs), contract) = reader::both(args.settings(input), args.source.contract(input))?;
    logs.init();
    limits::forbid_core_dumps();
    limits::raise_open_files(config.connections.max_connections);
    for name in unknown {
        tracing::warn!("{name} is not a setting, so it is ignored (serve --help lists all)");
    }
    for warning in contract.warnings() {
        tracing::warn!("{}: {}", warning.place, warning.what);
    }
    Ok(block_on(async {
        let signals = Signals::listen()?;
        let app = bind(config, contract).await?;
        tracing::info!("listening on {}", app.local_addr());
        if app.is_open() {
            tracing::info!("every method is public: whoever reaches this port may call it");
        }
        if app.believes_anybody() {
            tracing::info!("any user info is believed: whoever reaches this port may call as anybody");
        }
        if let Some(admin) = app.admin_addr() {
            tracing::info!("operators read http://{admin}/metrics");
        }
        Ok(serve(app, signals).await)
    }))
}

/// Runs one command's future on a runtime of its own.
pub(super) fn block_on(command: impl Future<Output = Result<Exit, Exit>>) -> Exit {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command).unwrap_or_else(|exit| exit),
        Err(error) => Exit::Failed(format!("cannot start the runtime: {error}")),
    }
}

pub(super) async fn bind(config: Config, contract: Contract) -> Result<App, Exit> {
    App::bind(config, contract).await.map_err(|error| match error {
        StartError::Faults(faults) => Exit::config(faults),
        StartError::Bind(..) => Exit::Failed(error.to_string()),
    })
}

/// Serves until the first signal, then drains; a second signal ends it at once.
pub(super) async fn serve(app: App, mut signals: Signals) -> Exit {
    let (stop, stopping) = oneshot::channel();
    let second = async {
        signals.recv().await;
        // The first is taken before anybody hears of it: two that come before they are taken are one.
        let _ = stop.send(());
        signals.recv().await;
    };
    let stopped = tokio::select! {
        stopped = app.serve(async { drop(stopping.await) }) => Some(stopped),
        () = second => None,
    };
    match stopped {
        Some(Stopped::Drained) => tracing::info!("stopped: every call has finished"),
        Some(Stopped::Forced { connections }) => {
            tracing::warn!(
                connections,
                "stopped: the grace period is over, calls that still ran were cut off"
            );
        }
        None => tracing::warn!("stopped: at the second signal, calls that still ran were cut off"),
    }
    Exit::Clean
}

// === impl Args ===

impl Args {
    /// Tells what is wrong with the settings; nothing is read that they name.
    pub(super) fn check(&self, input: &Input<'_>) -> Result<(), Faults> {
        reader::both(self.settings(input), self.source.resolve(input)).map(drop)
    }

    /// The typed settings, but for those of the contract.
    fn settings(&self, input: &Input<'_>) -> Result<(Config, Logs), Faults> {
        let settings = reader::both(self.settings.config(input), self.logs.resolve(input));
        reader::both(self.file.check(input), settings).map(|((), settings)| settings)
    }
}

// === impl Signals ===

impl Signals {
    /// Catches signals from now on. It comes before anything is said to be ready: a signal that is not caught
    /// yet would end the process where it stands.
    pub(super) fn listen() -> Result<Self, Exit> {
        let catch =
            |kind| signal(kind).map_err(|error| Exit::Failed(format!("cannot wait for signals: {error}")));
        Ok(Self { terminate: catch(SignalKind::terminate())?, interrupt: catch(SignalKind::interrupt())? })
    }

    /// Waits for the next SIGTERM or SIGINT.
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
