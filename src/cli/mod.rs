//! The command line: one file per command, and the settings that commands share.

mod check;
mod config;
mod demo;
mod descriptor;
mod explain;
mod file;
mod input;
mod keys;
mod limits;
mod reader;
mod routes;
mod serve;
mod settings;

use std::{
    ffi::OsStr,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::{
    file::SettingsFile,
    input::{Input, Variables, variable},
};
use crate::fault::{self, Fault};

/// A typed gRPC front for a REST API.
///
/// A contract (a .proto whose methods carry google.api.http) goes in, a gRPC server comes out: each call is one
/// request to the REST API, and its JSON answer becomes the protobuf message.
#[derive(Debug, Parser)]
#[command(name = "grpc-rest-bridge", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Demo(demo::Args),
    Routes(routes::Args),
    Descriptor(descriptor::Args),
    Explain(explain::Args),
    Check(Box<check::Args>),
    Config(config::Args),
    Keys(keys::Args),
}

/// How the program ends.
#[derive(Debug)]
pub(crate) enum Exit {
    /// 0: done, or stopped cleanly.
    Clean,
    /// 1: it failed while running.
    Failed(String),
    /// 1: the answer is no, and it has been told.
    No,
    /// 2 if a fault stands on the command line, else 78: it cannot start like this.
    Faults {
        /// Everything that is wrong.
        faults: Vec<Fault>,
        /// Whether one of them is a flag.
        command_line: bool,
    },
}

/// `EX_CONFIG` of `sysexits.h`.
const EX_CONFIG: u8 = 78;
const EX_USAGE: u8 = 2;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let command = command();
    let variables: Variables = std::env::vars_os().collect();
    let unknown = unknown_variables(&command, variables.keys().filter_map(|name| name.to_str()));
    let file = match settings_file(&command) {
        Ok(file) => file,
        Err(faults) => return Exit::config(faults).report(),
    };
    // A command line that cannot be parsed ends here, with code 2.
    let matches = file.as_defaults(command, &variables).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let input = Input { matches: innermost(&matches), variables: &variables, file: &file };
    let exit = match cli.command {
        Command::Serve(args) => serve::run(&args, &input, &unknown),
        Command::Demo(args) => Ok(demo::run(&args, &input)),
        Command::Routes(args) => routes::run(&args, &input),
        Command::Descriptor(args) => descriptor::run(&args, &input),
        Command::Explain(args) => explain::run(&args, &input),
        Command::Check(args) => check::run(&args, &input),
        Command::Config(args) => config::run(&args, &input, &unknown),
        Command::Keys(args) => keys::run(&args, &input),
    };
    exit.unwrap_or_else(Exit::from).located(&input).report()
}

// === impl Exit ===

impl Exit {
    /// Faults of the contract, or of anything else that is no flag.
    fn config(faults: Vec<Fault>) -> Self {
        Self::Faults { faults, command_line: false }
    }

    /// The same with its faults where they stand.
    fn located(self, input: &Input<'_>) -> Self {
        match self {
            Self::Faults { faults, command_line } => Self::Faults {
                faults: faults.into_iter().map(|fault| input.located(fault)).collect(),
                command_line,
            },
            exit => exit,
        }
    }

    fn report(self) -> ExitCode {
        // Who has closed standard error does not want to know.
        let _ = write!(io::stderr(), "{}", self.text());
        match self {
            Self::Clean => ExitCode::SUCCESS,
            Self::Failed(_) | Self::No => ExitCode::FAILURE,
            Self::Faults { command_line: true, .. } => ExitCode::from(EX_USAGE),
            Self::Faults { command_line: false, .. } => ExitCode::from(EX_CONFIG),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Clean | Self::No => String::new(),
            Self::Failed(why) => format!("error: {why}\n"),
            // They have been told in another form.
            Self::Faults { faults, .. } if faults.is_empty() => String::new(),
            Self::Faults { faults, .. } => {
                let told = fault::told(faults);
                let list =
                    told.iter().map(|fault| format!("  {}\n", fault.to_string().replace('\n', "\n  ")));
                format!("error: {} to mend:\n{}", count(faults.len()), list.collect::<String>())
            }
        }
    }
}

/// Prints to standard output; a reader that has heard enough (`| head`) is no failure.
fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Exit::Failed(format!("cannot write to standard output: {error}"))
        }
        _ => Exit::Clean,
    }
}

/// A text of the API on one line, without characters that a terminal obeys: each is written as JSON escapes it.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_obeyed(character) {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The same for a text whose lines are ours, such as JSON that was set on several lines.
fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// Control characters, and those that end a line or turn its direction.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The file of settings that flag or variable name, wherever the flag stands. --help and --version end here, with code 0,
/// so that they show nothing of the file.
fn settings_file(command: &clap::Command) -> Result<SettingsFile, Vec<Fault>> {
    // What is wrong with the words is told when they are parsed together with the file.
    let matches = command.clone().ignore_errors(true).get_matches();
    // `demo` has no such flag. An empty path is told with all other faults.
    let path = innermost(&matches).try_get_one::<PathBuf>("config").ok().flatten();
    match path.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => SettingsFile::read(path, command),
        None => Ok(SettingsFile::default()),
    }
}

/// What was said of the command that runs, which may stand below another: `keys list`.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, matches)| innermost(matches))
}

/// The command line. What a variable holds is not printed by --help: it may be what nobody should read.
fn command() -> clap::Command {
    without_values(Cli::command())
}

fn without_values(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(without_values)
}

/// Names that look like settings but are none, which is mostly a misspelling.
fn unknown_variables<'n>(command: &clap::Command, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let secrets = settings::SECRETS.map(variable);
    let known: Vec<_> = command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .filter_map(clap::Arg::get_env)
        .chain(secrets.iter().map(OsStr::new))
        .collect();
    // Kubernetes sets these by itself beside a Service that is called "bridge".
    let is_link = |name: &str| name.starts_with("BRIDGE_PORT") || name.starts_with("BRIDGE_SERVICE_");
    let mut unknown: Vec<_> = names
        .filter(|name| name.starts_with("BRIDGE_") && !is_link(name) && !known.contains(&OsStr::new(name)))
        .map(str::to_owned)
        .collect();
    unknown.sort();
    unknown
}

fn count(faults: usize) -> String {
    if faults == 1 { "1 fault".to_owned() } else { format!("{faults} faults") }
}
