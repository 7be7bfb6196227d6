//! `demo`: the bridge before the embedded shop API.

use std::{io, time::Duration};

use http::Uri;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    Exit,
    input::Input,
    reader,
    serve::{Signals, bind, block_on, serve},
    settings::{DemoSettings, LogSettings},
};
use crate::{
    config::{Config, ShutdownConfig},
    contract::Contract,
    demo,
};

/// Serve an embedded shop API over gRPC, to see how it feels
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: DemoSettings,
    #[command(flatten)]
    logs: LogSettings,
}

pub(super) fn run(args: &Args, input: &Input<'_>) -> Exit {
    let (listen, logs) = match reader::both(args.settings.listen(input), args.logs.resolve(input)) {
        Ok(settings) => settings,
        Err(faults) => return faults.into(),
    };
    logs.init();
    block_on(async move {
        let signals = Signals::listen()?;
        let no_shop = |error| Exit::Failed(format!("cannot start the embedded shop API: {error}"));
        let (shop, url) = start_shop().await.map_err(no_shop)?;
        let shutdown = ShutdownConfig { drain_delay: Duration::ZERO, ..ShutdownConfig::default() };
        let config = Config { shutdown, ..Config::new(listen, url.clone()) };
        let app = bind(config, Contract::embedded()).await?;
        super::print(&banner(app.local_addr().port(), &url));
        let exit = serve(app, signals).await;
        // Not before: calls that finish while the bridge stops still need it.
        shop.abort();
        Ok(exit)
    })
}

async fn start_shop() -> io::Result<(JoinHandle<()>, Uri)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?).parse().map_err(io::Error::other)?;
    let shop = tokio::spawn(async move {
        if let Err(error) = demo::serve(listener).await {
            tracing::error!(%error, "the embedded shop API has stopped");
        }
    });
    Ok((shop, url))
}

fn banner(port: u16, shop: &Uri) -> String {
    let list = |what: &str| format!("grpcurl -plaintext localhost:{port} {what}");
    let get = |id: i64| {
        format!("grpcurl -plaintext -d '{{\"id\": {id}}}' localhost:{port} shop.v1.ProductService/GetProduct")
    };
    let tries = [
        (list("list"), "what is served"),
        (list("shop.v1.ProductService/ListProducts"), "GET /products"),
        (get(1), "GET /products/1"),
        (get(404), "404 is NOT_FOUND"),
        (get(-1), "422 is INVALID_ARGUMENT, with the field"),
        (get(demo::SLOW_ID), "no answer is DEADLINE_EXCEEDED, after 10 s"),
    ];
    let width = tries.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    let tries = tries.map(|(command, why)| format!("  {command:width$}   # {why}\n")).concat();
    format!(
        "\nThe shop is open: gRPC on localhost:{port}, before a REST API on {shop}\n\nTry:\n{tries}\nCtrl-C ends it.\n\n"
    )
}
