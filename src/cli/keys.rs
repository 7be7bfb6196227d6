//! `keys`: makes API keys, and tells which there are.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::Subcommand;

use super::{
    Exit,
    input::Input,
    reader::{Faults, Reader, any_path},
    settings::FileSettings,
};
use crate::{
    door::{ApiKey, KeyEntry, Keys, Rate},
    fault::Fault,
    reload::Reloaded,
};

/// Make API keys, and tell which there are
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(New),
    List(List),
}

/// Make a key: it is shown once on standard error, and its entry for the file of keys printed to standard output
///
/// Append the entry: `grpc-rest-bridge keys new acme >> keys.toml`. A running bridge reads the file again by itself.
#[derive(Debug, clap::Args)]
struct New {
    /// Whose key it is; several keys of one caller have one name
    name: String,
    /// After which time it ends [default: never]
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,
    /// The methods that it is for, with * for anything: shop.v1.ProductService/List* [default: all]
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
    methods: Vec<String>,
    /// How often its caller may call (/s, /min, /h, /day): 50/s,100000/day [default: as `serve --rates` says]
    #[arg(long, value_name = "CALLS/TIME", value_delimiter = ',')]
    rates: Vec<String>,
}

/// Tell which keys there are, without any secret
#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    file: FileSettings,
    /// The file of API keys
    #[arg(long, env = "BRIDGE_API_KEYS", value_parser = any_path(), value_name = "FILE")]
    api_keys: PathBuf,
}

pub(super) fn run(args: &Args, input: &Input<'_>) -> Result<Exit, Faults> {
    match &args.command {
        Command::New(new) => new.run(input),
        Command::List(list) => list.run(input),
    }
}

// === impl New ===

impl New {
    fn run(&self, input: &Input<'_>) -> Result<Exit, Faults> {
        let mut read = Reader::new(input);
        let expires = self.expires_in.as_deref().and_then(|time| read.time("expires_in", time));
        let is_name = !self.name.is_empty() && !self.name.chars().any(char::is_control);
        if !is_name {
            let what = format!("{:?} is no name", self.name);
            read.faults.faults.push(Fault::new("NAME", what, "name the caller whose key it is"));
            read.faults.command_line = true;
        }
        for rate in &self.rates {
            let mend = "write a number of calls and a time, such as 50/s or 100000/day";
            read.value("rates", rate, mend, |text| text.parse::<Rate>().ok());
        }
        if !read.faults.is_empty() {
            return Err(read.faults);
        }
        let key = match ApiKey::generate() {
            Ok(key) => key,
            Err(error) => return Ok(Exit::Failed(format!("the system gives no random numbers: {error}"))),
        };
        match super::print(&self.entry(&key, expires)) {
            Exit::Clean => {
                eprintln!(
                    "The key of {}, which is shown this once and kept nowhere:\n\n{}\n",
                    self.name,
                    key.reveal()
                );
                Ok(Exit::Clean)
            }
            failed => Ok(failed),
        }
    }

    fn entry(&self, key: &ApiKey, expires_in: Option<Duration>) -> String {
        let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut entry = format!(
            "[[key]]\nname = {}\nid = {}\nsha256 = {}\n",
            text(&self.name),
            text(key.id()),
            text(&key.digest())
        );
        if let Some(expires) = expires_in {
            let at = humantime::format_rfc3339_seconds(SystemTime::now() + expires);
            entry.push_str(&format!("expires = {at}\n"));
        }
        for (name, list) in [("methods", &self.methods), ("rates", &self.rates)] {
            let list = list.iter().map(|value| text(value)).collect::<Vec<_>>().join(", ");
            if !list.is_empty() {
                entry.push_str(&format!("{name} = [{list}]\n"));
            }
        }
        entry.push('\n');
        entry
    }
}

// === impl List ===

impl List {
    fn run(&self, input: &Input<'_>) -> Result<Exit, Faults> {
        self.file.check(input)?;
        let keys =
            Reloaded::read("API keys", vec![self.api_keys.clone()], Keys::parse).map_err(Faults::of_files)?;
        let (keys, now) = (keys.current(), SystemTime::now());
        let rows = keys.entries().into_iter().map(|entry| row(entry, now));
        let rows: Vec<_> =
            [["NAME", "ID", "STATE", "METHODS"].map(str::to_owned)].into_iter().chain(rows).collect();
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let (first, second, third) = (width(0), width(1), width(2));
        let line = |[name, id, state, methods]: &[String; 4]| {
            format!("{name:first$}  {id:second$}  {state:third$}  {methods}\n")
        };
        Ok(super::print(&rows.iter().map(line).collect::<String>()))
    }
}

fn row(entry: &KeyEntry, now: SystemTime) -> [String; 4] {
    let state = match entry.expires.map(humantime::format_rfc3339_seconds) {
        _ if entry.revoked => "revoked".to_owned(),
        Some(expires) if entry.has_expired(now) => format!("expired {expires}"),
        Some(expires) => format!("until {expires}"),
        None => "without end".to_owned(),
    };
    let methods = entry.methods.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let methods = if methods.is_empty() { "all".to_owned() } else { super::visible(&methods) };
    [super::visible(&entry.name), entry.id.clone(), state, methods]
}
