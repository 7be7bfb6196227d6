//! One connection to the Redis in which all replicas count, and the script that counts there.
//!
//! What goes wrong is told in words for the log.

use std::{
    fmt,
    future::Future,
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, Script, ServerErrorKind,
    aio::MultiplexedConnection,
};
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Notify,
    task::AbortHandle,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::{Over, Rate};
use crate::{
    config::SharedRatesConfig,
    fault::Fault,
    fetch,
    reload::{Reloaded, Text},
};

/// What counts a call by all rates of its caller.
const SCRIPT: &str = include_str!("gcra.lua");
/// What the keys in Redis begin with.
const PREFIX: &str = "grpc-rest-bridge:rate";
/// Whose calls are counted to see whether it can be done. No caller has such a name.
const NOBODY: &str = "";
/// When the system begins to ask whether the other side of a silent connection is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// How to connect.
pub(super) struct Redis {
    config: SharedRatesConfig,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    password: Option<Arc<Reloaded<Password>>>,
    script: Arc<Script>,
    /// How many calls may be under way.
    room: usize,
}

/// A connection that has counted a call.
pub(super) struct Link {
    connection: MultiplexedConnection,
    script: Arc<Script>,
    driver: AbortHandle,
    over: Arc<Notify>,
    why: OnceLock<String>,
}

type Password = Zeroizing<String>;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

// === impl Redis ===

impl Redis {
    pub(super) fn new(config: &SharedRatesConfig, room: usize) -> Result<Self, Vec<Fault>> {
        let (tls, password) = (tls(config), config.password.clone());
        let password = password.map(|file| Reloaded::read("the password for Redis", vec![file], password_in));
        match (tls, password.transpose()) {
            (Ok(tls), Ok(password)) => {
                let script = Arc::new(Script::new(SCRIPT));
                Ok(Self { config: config.clone(), tls, password, script, room })
            }
            (tls, password) => Err(tls.err().into_iter().chain(password.err().unwrap_or_default()).collect()),
        }
    }

    /// Connects, proves who it is, and counts a call of nobody: what is wrong with that is wrong with any call.
    pub(super) async fn connect(&self) -> Result<Arc<Link>, String> {
        let stream = self.stream().await.map_err(|error| error.to_string())?;
        let settings = AsyncConnectionConfig::new()
            // Who asks knows how long it waits.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(self.room);
        // Nothing is said that not every server knows.
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let opened = MultiplexedConnection::new_with_config(&info, stream, settings).await;
        let (connection, driver) = opened.map_err(|error| in_words(&error))?;
        let link = Link::new(connection, driver, self.script.clone());
        for greeting in self.greetings() {
            let greeted = greeting.query_async::<()>(&mut link.connection.clone()).await;
            greeted.map_err(|error| in_words(&error))?;
        }
        link.probe().await?;
        Ok(Arc::new(link))
    }

    /// Reads the password again when it changes, for connections to come, for ever.
    pub(super) async fn follow(&self, every: Duration) {
        match &self.password {
            Some(password) => password.clone().follow(every).await,
            None => std::future::pending().await,
        }
    }

    async fn stream(&self) -> io::Result<Box<dyn Stream>> {
        let tcp = TcpStream::connect((&*self.config.host, self.config.port)).await?;
        tcp.set_nodelay(true)?;
        SockRef::from(&tcp).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))?;
        Ok(match &self.tls {
            Some((connector, name)) => Box::new(connector.connect(name.clone(), tcp).await?),
            None => Box::new(tcp),
        })
    }

    fn greetings(&self) -> Vec<Cmd> {
        let mut greetings = Vec::new();
        if let Some(password) = &self.password {
            let mut auth = redis::cmd("AUTH");
            auth.arg(&self.config.user).arg(password.current().as_str());
            greetings.push(auth);
        }
        if self.config.database != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(self.config.database);
            greetings.push(select);
        }
        greetings
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("config", &self.config).finish_non_exhaustive()
    }
}

impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.config.host, self.config.port)
    }
}

// === impl Link ===

impl Link {
    fn new(
        connection: MultiplexedConnection,
        driver: impl Future<Output = ()> + Send + 'static,
        script: Arc<Script>,
    ) -> Self {
        let over = Arc::new(Notify::new());
        let closed = over.clone();
        let driver = tokio::spawn(async move {
            driver.await;
            closed.notify_one();
        });
        Self { connection, script, driver: driver.abort_handle(), over, why: OnceLock::new() }
    }

    /// Counts a call of nobody, by which all is shown to work that counting a call needs.
    pub(super) async fn probe(&self) -> Result<(), String> {
        // Whether it is one too many is of no interest.
        self.count(NOBODY, &[Rate::LARGEST]).await.map(|_| ())
    }

    /// Counts a call of a caller by these rates.
    pub(super) async fn count(&self, caller: &str, rates: &[Rate]) -> Result<Result<(), Over>, String> {
        let whose = whose(caller);
        let mut call = self.script.prepare_invoke();
        for rate in rates {
            call.key(format!("{PREFIX}:{{{whose}}}:{rate}"));
            call.arg(rate.calls.get()).arg(rate.span.length().as_secs() * 1_000_000);
        }
        let answer = call.invoke_async(&mut self.connection.clone()).await;
        let (refusing, wait): (usize, u64) = answer.map_err(|error| in_words(&error))?;
        let Some(refusing) = refusing.checked_sub(1) else { return Ok(Ok(())) };
        let rate = *rates.get(refusing).ok_or("Redis answers what was not asked")?;
        Ok(Err(Over { rate, retry_after: Duration::from_micros(wait) }))
    }

    /// Ends it for all who wait for it. The first reason counts.
    pub(super) fn give_up(&self, why: String) {
        // Of several that fail at once the first one tells.
        let _ = self.why.set(why);
        self.driver.abort();
        self.over.notify_one();
    }

    /// Waits until it was given up, for which there is a reason, or the other side has closed it.
    pub(super) async fn over(&self) -> Option<&str> {
        self.over.notified().await;
        self.why.get().map(String::as_str)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// A name by which no caller can reach the key of another, whatever it is called, and whose keys live in one slot of a cluster.
fn whose(caller: &str) -> String {
    Sha256::digest(caller).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn tls(config: &SharedRatesConfig) -> Result<Option<(TlsConnector, ServerName<'static>)>, Fault> {
    let place = "--rates-redis or BRIDGE_RATES_REDIS";
    if !config.tls {
        return Ok(None);
    }
    let name = ServerName::try_from(config.host.clone())
        .map_err(|_| Fault::new(place, "names a host that no certificate can have", "write its name"))?;
    let settings = fetch::tls(true).map_err(|error| {
        let mend = "rediss needs the CA certificates of this machine (package ca-certificates)";
        Fault::new(place, format!("TLS cannot be spoken: {error}"), mend)
    })?;
    Ok(Some((TlsConnector::from(Arc::new(settings)), name)))
}

fn password_in(texts: &[Text]) -> Result<Password, Vec<Fault>> {
    let mut passwords = texts.iter().map(|text| {
        let password = std::str::from_utf8(text.bytes.trim_ascii_end()).unwrap_or_default();
        let fault = || vec![text.fault("has no password", "write the password alone")];
        (!password.is_empty()).then(|| Zeroizing::new(password.to_owned())).ok_or_else(fault)
    });
    passwords.next().unwrap_or_else(|| Ok(Password::default()))
}

/// With what mends it, where that is known.
fn in_words(error: &RedisError) -> String {
    let mend = match (error.kind(), error.code()) {
        (_, Some("NOAUTH")) => "name the file of the password as --rates-redis-password-file",
        (_, Some("WRONGPASS")) => "see the user in --rates-redis and --rates-redis-password-file",
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => {
            "the user needs EVALSHA, SCRIPT LOAD, TIME, GET and SET for the keys grpc-rest-bridge:rate:*"
        }
        (ErrorKind::Server(ServerErrorKind::Moved), _) => {
            "name one Redis: the nodes of a cluster are not looked for"
        }
        (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => "name the primary, not a replica",
        _ => return error.to_string(),
    };
    format!("{error} ({mend})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_callers_are_short_and_plain_whatever_they_are_called() {
        for name in ["key:acme", "", "token:{}:50/s}", &"é\r\n".repeat(100)] {
            let whose = whose(name);
            assert!(whose.len() == 32 && whose.bytes().all(|byte| byte.is_ascii_hexdigit()), "{whose}");
        }
        // As `printf %s key:acme | sha256sum | cut -c1-32` says.
        assert_eq!(whose("key:acme"), "f43ea0ba45574b07ff43c905413fbf6e");
    }

    #[test]
    fn a_password_is_taken_as_it_is_but_for_the_end_of_its_line() {
        let text = |bytes: &[u8]| [Text { path: "password".into(), bytes: bytes.to_vec().into() }];
        assert_eq!(*password_in(&text(b" a b\n")).unwrap(), " a b");
        for bad in [&b""[..], b"\n", b"\xff"] {
            let told = password_in(&text(bad)).unwrap_err()[0].to_string();
            assert_eq!(told, "password: has no password\n    write the password alone");
        }
    }
}
