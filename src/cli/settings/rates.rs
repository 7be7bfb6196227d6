//! How often callers may call, and where that is counted.

use std::path::{Path, PathBuf};

use http::Uri;
use percent_encoding::percent_decode_str;

use crate::{
    cli::reader::{Reader, any_path},
    config::SharedRatesConfig,
    door::Rate,
};

/// How to mend the URL of Redis.
const REDIS: &str =
    "write redis://[USER@]HOST[:PORT][/DATABASE], or rediss:// for TLS, such as redis://redis:6379";
/// The port that Redis has by default.
const REDIS_PORT: u16 = 6379;

/// The settings of rates.
#[derive(Debug, clap::Args)]
pub(super) struct RateSettings {
    /// How often each caller may call that has proved who it is (/s, /min, /h, /day): 50/s,100000/day [default: no limit]
    #[arg(long, env = "BRIDGE_RATES", value_name = "CALLS/TIME", value_delimiter = ',')]
    rates: Vec<String>,
    /// The Redis in which all replicas count together: redis://redis:6379, rediss:// for TLS [default: each for itself]
    #[arg(long, env = "BRIDGE_RATES_REDIS", value_name = "URL")]
    rates_redis: Option<String>,
    /// The file of the password for it
    #[arg(long, env = "BRIDGE_RATES_REDIS_PASSWORD_FILE", value_parser = any_path(), value_name = "FILE")]
    rates_redis_password_file: Option<PathBuf>,
    /// How long a call waits for it, before this replica counts alone
    #[arg(long, env = "BRIDGE_RATES_REDIS_TIMEOUT", value_name = "TIME", default_value = "100ms")]
    rates_redis_timeout: String,
}

// === impl RateSettings ===

impl RateSettings {
    /// The rates of all callers that have none of their own.
    pub(super) fn rates(&self, read: &mut Reader<'_>) -> Vec<Rate> {
        let mend = "write a number of calls and a time, such as 50/s, 3000/min, 10000/h or 100000/day";
        let rates = read.list("rates", &self.rates, mend);
        rates.iter().filter_map(|rate| read.value("rates", rate, mend, |text| text.parse().ok())).collect()
    }

    /// Where replicas count together; nothing inside is each for itself.
    pub(super) fn shared(&self, read: &mut Reader<'_>) -> Option<Option<SharedRatesConfig>> {
        let Some(text) = &self.rates_redis else {
            for id in ["rates_redis_password_file", "rates_redis_timeout"] {
                if read.is_set(id) {
                    read.fault(id, "stands without --rates-redis".to_owned(), "name the Redis");
                }
            }
            return Some(None);
        };
        let file = self.rates_redis_password_file.as_deref();
        let password = read.path("rates_redis_password_file", file, "name the file of a password");
        let timeout = read.time("rates_redis_timeout", &self.rates_redis_timeout);
        let redis = redis(read, text);
        if password.is_none() && redis.as_ref().is_some_and(|redis| redis.user.is_some()) {
            let what = "names a user and stands without --rates-redis-password-file".to_owned();
            read.fault("rates_redis", what, "name the file of the password of that user");
        }
        Some(Some(SharedRatesConfig { password: password.map(Path::to_owned), timeout: timeout?, ..redis? }))
    }
}

/// The URL of Redis; one that may have a password in it is not printed again.
fn redis(read: &mut Reader<'_>, text: &str) -> Option<SharedRatesConfig> {
    let id = "rates_redis";
    let shown = if text.contains('@') { "the URL".to_owned() } else { format!("{text:?}") };
    match parse(text) {
        Ok(redis) => Some(redis),
        Err(complaint) => {
            read.fault(id, format!("{shown} {complaint}"), REDIS);
            None
        }
    }
}

fn parse(text: &str) -> Result<SharedRatesConfig, &'static str> {
    let url: Uri = text.parse().map_err(|_| "is not valid")?;
    let tls = match url.scheme_str() {
        Some("redis") => false,
        Some("rediss") => true,
        Some(_) => return Err("is neither redis nor rediss"),
        None => return Err("is no absolute URL"),
    };
    let authority = url.authority().ok_or("is no absolute URL")?;
    let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
    if user.is_some_and(|user| user.contains(':')) {
        return Err("has a password in it, which belongs into the file of --rates-redis-password-file");
    }
    if url.query().is_some() || text.contains('#') {
        return Err("has a query or a fragment");
    }
    let user = user.map(|user| percent_decode_str(user).decode_utf8().map(|user| user.into_owned()));
    let database = match url.path().trim_start_matches('/') {
        "" => 0,
        number => number.parse().map_err(|_| "names a database that is no number")?,
    };
    Ok(SharedRatesConfig {
        host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: authority
            .port()
            .map_or(Ok(REDIS_PORT), |port| port.as_str().parse())
            .map_err(|_| "has no valid port")?,
        tls,
        database,
        user: user
            .transpose()
            .map_err(|_| "has a user name that is no text")?
            .filter(|user| !user.is_empty()),
        password: None,
        timeout: crate::config::RATES_REDIS_TIMEOUT,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_is_named_by_a_url() {
        let read =
            |text| parse(text).map(|redis| (redis.host, redis.port, redis.tls, redis.database, redis.user));
        let host = |host: &str| host.to_owned();
        assert_eq!(read("redis://r"), Ok((host("r"), 6379, false, 0, None)));
        assert_eq!(read("rediss://r:6380/2"), Ok((host("r"), 6380, true, 2, None)));
        assert_eq!(read("redis://[::1]:1/"), Ok((host("::1"), 1, false, 0, None)));
        assert_eq!(read("redis://a%40b@r"), Ok((host("r"), 6379, false, 0, Some(host("a@b")))));
        assert_eq!(read("redis://@r"), Ok((host("r"), 6379, false, 0, None)));
    }
}
