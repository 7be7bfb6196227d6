//! `serve`: the bridge before a real API.

use std::{future::Future, io};

use clap::ArgMatches;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    Exit,
    settings::{LogSettings, ServeSettings},
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
    settings: ServeSettings,
    #[command(flatten)]
    logs: LogSettings,
}

pub(super) fn run(args: &Args, matches: &ArgMatches) -> Exit {
    let (config, logs) = match super::reader::both(args.settings.config(matches), args.logs.resolve(matches))
    {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    logs.init();
    block_on(async {
        let app = match bind(config).await {
            Ok(app) => app,
            Err(exit) => return exit,
        };
        tracing::info!("listening on {}", app.local_addr());
        serve(app).await
    })
}

/// Runs one command's future on a runtime of its own.
pub(super) fn block_on(command: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => Exit::Failed(format!("cannot start the runtime: {error}")),
    }
}

pub(super) async fn bind(config: Config) -> Result<App, Exit> {
    App::bind(config, Contract::embedded()).await.map_err(|error| match error {
        StartError::Faults(faults) => Exit::config(faults),
        StartError::Bind(..) => Exit::Failed(error.to_string()),
    })
}

/// Serves until the first signal, then drains; a second signal ends it at once.
pub(super) async fn serve(app: App) -> Exit {
    let (first, second) = match (signals(1), signals(2)) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(error), _) | (_, Err(error)) => {
            return Exit::Failed(format!("cannot wait for signals: {error}"));
        }
    };
    let stopped = tokio::select! {
        stopped = app.serve(first) => Some(stopped),
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

/// Done at the `nth` SIGTERM or SIGINT from now on.
pub(super) fn signals(nth: usize) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for _ in 0..nth {
            either(&mut terminate, &mut interrupt).await;
        }
    })
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
