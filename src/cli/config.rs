//! `config`: which settings there are in the end, and where each of them comes from.

use clap::{Args as _, Subcommand};

use super::{
    Exit,
    file::is_list,
    input::{Input, Origin, variable},
    print,
    reader::Faults,
    serve,
    settings::SECRETS,
    visible,
};

/// Tell which settings there are in the end
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the settings that `serve` would have, each with where it comes from, as a file for --config
    ///
    /// Faults of settings are told as `serve` tells them. Nothing is listened to, and no file is read but that of settings.
    Show(Box<serve::Args>),
}

/// The settings that `--help` shows under one heading.
struct Group {
    heading: String,
    lines: Vec<Line>,
}

/// A setting as a line of TOML, and where it comes from.
struct Line {
    setting: String,
    origin: String,
}

/// How wide a setting may be for its origin to stand below those of others.
const WIDEST: usize = 44;

pub(super) fn run(args: &Args, input: &Input<'_>, unknown: &[String]) -> Result<Exit, Faults> {
    let Command::Show(serve) = &args.command;
    serve.check(input)?;
    for name in unknown {
        eprintln!("warning: {name} is not a setting, so it is ignored (serve --help lists all)");
    }
    let groups = groups(input);
    let widths = groups.iter().flat_map(|group| &group.lines).map(|line| line.setting.chars().count());
    let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or_default();
    Ok(print(&groups.iter().map(|group| group.text(width)).collect::<Vec<_>>().join("\n")))
}

/// The settings as `--help` groups them, those without a heading first.
fn groups(input: &Input<'_>) -> Vec<Group> {
    let command = serve::Args::augment_args(clap::Command::new("serve"));
    let mut groups = vec![Group { heading: String::new(), lines: Vec::new() }];
    for arg in command.get_arguments().filter(|arg| arg.get_id() != "config") {
        let heading = arg.get_help_heading().unwrap_or_default();
        let at = groups.iter().position(|group| group.heading == heading).unwrap_or(groups.len());
        if at == groups.len() {
            groups.push(Group { heading: heading.to_owned(), lines: Vec::new() });
        }
        groups[at].lines.extend(setting(arg, input));
        groups[at].lines.extend(secret(arg, input));
    }
    groups
}

/// The line of a setting. One that `--help` hides is shown where it was set.
fn setting(arg: &clap::Arg, input: &Input<'_>) -> Option<Line> {
    let (id, name) = (arg.get_id().as_str(), arg.get_long()?);
    let values = input.matches.get_raw(id).unwrap_or_default();
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    let values = match values.as_slice() {
        // An empty variable, where it is a list.
        [value] if value.is_empty() && is_list(arg) => &[],
        values => values,
    };
    let value = match values {
        [] if arg.is_hide_set() => return None,
        [] => return Some(Line { setting: format!("# {name} ="), origin: "not set".to_owned() }),
        [value] if !is_list(arg) => written(value),
        values => format!("[{}]", values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")),
    };
    let origin = match input.origin(id)? {
        Origin::Flag => "flag".to_owned(),
        Origin::Variable => variable(id),
        Origin::File(entry) => visible(&input.file.line(entry)),
        Origin::Default => "default".to_owned(),
    };
    Some(Line { setting: format!("{name} = {value}"), origin })
}

/// The line of a secret behind that of the file that could hold it. It is a comment, for no file of settings may have it.
fn secret(arg: &clap::Arg, input: &Input<'_>) -> Option<Line> {
    let file = arg.get_id().as_str();
    let id = SECRETS.into_iter().find(|id| file.strip_suffix("_file") == Some(id))?;
    input.secret(id)?;
    let name = arg.get_long()?.trim_end_matches("-file");
    Some(Line { setting: format!("# {name} = \"***\""), origin: variable(id) })
}

/// A value of TOML that is read as this text.
fn written(text: &str) -> String {
    let is_number = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    if is_number { text.to_owned() } else { quoted(text) }
}

/// A string of TOML on one line: what JSON escapes is escaped so in TOML, and so is what terminals obey.
fn quoted(text: &str) -> String {
    visible(&serde_json::Value::from(text).to_string())
}

// === impl Group ===

impl Group {
    fn text(&self, width: usize) -> String {
        let heading = if self.heading.is_empty() { String::new() } else { format!("## {}\n", self.heading) };
        let line = |Line { setting, origin }: &Line| format!("{setting:width$}  # {origin}\n");
        heading + &self.lines.iter().map(line).collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same_text() {
        for text in [
            "10s",
            "1000",
            "01",
            "-0",
            "1.1",
            "",
            "a\"b\\c",
            "é\n\u{1b}[0m\u{7f}\u{202e}'''",
            "99999999999999999999",
        ] {
            let line = written(text);
            assert!(!line.chars().any(super::super::is_obeyed), "{line}");
            let table: toml::Table = format!("a = {line}").parse().unwrap();
            let read = match &table["a"] {
                toml::Value::Integer(number) => number.to_string(),
                value => value.as_str().unwrap().to_owned(),
            };
            assert_eq!(read, text);
        }
    }
}
