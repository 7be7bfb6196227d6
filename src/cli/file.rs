//! The file of settings: one flat table, whose keys are the names of flags.
//!
//! What it says becomes the defaults of the command line before that is parsed. So a value goes one way, wherever it came
//! from: through the same parser, with the same checks.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use clap::{ArgAction, builder::Resettable};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    input::{self, Variables, variable},
    settings::SECRETS,
};
use crate::fault::{Excerpt, Fault};

/// How alike two names have to be for one to be meant by the other, from 0 to 1.
const ALIKE: f64 = 0.8;

/// What the file says; nothing where there is none.
#[derive(Debug, Default)]
pub(super) struct SettingsFile {
    path: PathBuf,
    text: String,
    /// By the ids of settings.
    entries: HashMap<String, Entry>,
    /// What is wrong with it, beside the values themselves.
    faults: Vec<Fault>,
}

/// What it says of one setting.
#[derive(Debug)]
pub(super) struct Entry {
    at: Range<usize>,
    /// Each value with its place, as a flag would have it.
    values: Vec<(String, Range<usize>)>,
    /// Whether it says what would be without it.
    is_default: bool,
}

/// A setting that the file may have.
#[derive(Debug)]
struct Known {
    id: String,
    is_list: bool,
    default: String,
}

/// The settings that commands with `--config` have, by their names.
type AllKnown = BTreeMap<String, Known>;

// === impl SettingsFile ===

impl SettingsFile {
    /// Reads the file for the commands of `command`.
    ///
    /// # Errors
    /// It cannot be read or is no TOML, so that nobody knows what it says. All other faults are told with those of the
    /// command.
    pub(super) fn read(path: &Path, command: &clap::Command) -> Result<Self, Vec<Fault>> {
        let fault = |what: String| {
            let mend = "name the TOML file of settings as --config or BRIDGE_CONFIG";
            vec![Fault::new(path.display().to_string(), what, mend)]
        };
        let bytes = fs::read(path).map_err(|error| fault(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| fault("is not UTF-8".to_owned()))?;
        Self::parse(path, text, &known(command))
    }

    fn parse(path: &Path, text: String, known: &AllKnown) -> Result<Self, Vec<Fault>> {
        let mut file = Self { path: path.to_owned(), text, ..Self::default() };
        let text = file.text.clone();
        let (table, errors) = DeTable::parse_recoverable(&text);
        if !errors.is_empty() {
            let mend = "write TOML, one setting a line, such as upstream-timeout = \"10s\"";
            let fault = |error: toml::de::Error| {
                Fault::new(file.place(&error.span().unwrap_or_default()), error.message(), mend)
            };
            return Err(errors.into_iter().map(fault).collect());
        }
        let mut settings: Vec<_> = table.get_ref().iter().collect();
        settings.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in settings {
            match file.setting(key, value, known) {
                // An empty array is a list that is not set, as an empty variable is.
                Ok((_, entry)) if entry.values.is_empty() => {}
                Ok((id, entry)) => drop(file.entries.insert(id, entry)),
                Err(fault) => file.faults.push(fault),
            }
        }
        Ok(file)
    }

    /// What is wrong with it, beside the values themselves.
    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What it says of a setting.
    pub(super) fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// `file:line` of a setting.
    pub(super) fn line(&self, entry: &Entry) -> String {
        format!("{}:{}", self.path.display(), Excerpt::of(&self.text, entry.at.clone()).line)
    }

    /// `file:line:column` of one value of a setting, or of all.
    pub(super) fn place_of(&self, entry: &Entry, value: Option<&str>) -> String {
        let has = |values: &str| Some(values) == value || values.split(',').any(|one| Some(one) == value);
        let place = entry.values.iter().find(|(values, _)| has(values)).map_or(&entry.at, |(_, place)| place);
        self.place(place)
    }

    /// The command with what the file says as the defaults of its arguments.
    pub(super) fn as_defaults(&self, command: clap::Command, variables: &Variables) -> clap::Command {
        let command = command.mut_args(|arg| match self.entry(arg.get_id().as_str()) {
            Some(entry) => entry.as_default(arg, variables),
            None => arg,
        });
        command.mut_subcommands(|command| self.as_defaults(command, variables))
    }

    fn place(&self, at: &Range<usize>) -> String {
        let excerpt = Excerpt::of(&self.text, at.clone());
        format!("{}:{}:{}", self.path.display(), excerpt.line, excerpt.column)
    }

    fn setting(
        &self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        known: &AllKnown,
    ) -> Result<(String, Entry), Fault> {
        let name = key.get_ref();
        if value.get_ref().is_table() {
            let mend = "write each setting by the whole name of its flag, such as tls-cert = \"tls.crt\"";
            return Err(self.fault(
                key.span(),
                format!("{name:?} is a table, and there are none here"),
                mend,
            ));
        }
        let setting = known.get(&**name).ok_or_else(|| self.unknown(key, known))?;
        let values = match value.get_ref() {
            DeValue::Array(values) if setting.is_list => values.iter().collect(),
            _ => vec![value],
        };
        let expected =
            if setting.is_list { "a string or an array of strings" } else { "a string or a number" };
        let values = values.into_iter().map(|value| {
            let text = scalar(value.get_ref()).ok_or_else(|| {
                let what = format!("{name}: expected {expected}, found {}", kind(value.get_ref()));
                self.fault(value.span(), what, "write it as the flag has it, in quotes")
            })?;
            Ok((text, value.span()))
        });
        let values = values.collect::<Result<Vec<_>, Fault>>()?;
        let text = values.iter().map(|(value, _)| value.as_str()).collect::<Vec<_>>().join(",");
        Ok((setting.id.clone(), Entry { at: value.span(), values, is_default: text == setting.default }))
    }

    fn unknown(&self, key: &Spanned<DeString<'_>>, known: &AllKnown) -> Fault {
        let name = key.get_ref();
        let fault = |what: String, mend: &str| self.fault(key.span(), what, mend);
        if let Some(secret) = SECRETS.iter().find(|id| input::name(id) == **name) {
            let what = format!("{name} is a secret, which would be read here by all who may read settings");
            let mend = format!("name the file that holds it as {name}-file, or set {}", variable(secret));
            return fault(what, &mend);
        }
        if name == "config" {
            return fault("config: one file of settings names no other".to_owned(), "take the line out");
        }
        let alike = known.keys().map(|known| (strsim::jaro_winkler(known, name), known));
        let nearest = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
        let mend = match nearest.filter(|(alike, _)| *alike >= ALIKE) {
            Some((_, nearest)) => format!("it could be {nearest}; serve --help lists all, as flags"),
            None => "serve --help lists all, as flags".to_owned(),
        };
        fault(format!("{name:?} is not a setting"), &mend)
    }

    /// Its line is not shown: somebody may have put a secret there.
    fn fault(&self, at: Range<usize>, what: String, mend: &str) -> Fault {
        Fault::new(self.place(&at), what, mend)
    }
}

// === impl Entry ===

impl Entry {
    /// Whether it says what would be without it.
    pub(super) fn is_default(&self) -> bool {
        self.is_default
    }

    fn as_default(&self, arg: clap::Arg, variables: &Variables) -> clap::Arg {
        // A list in a variable that is empty is one that is not set, or compose and Helm would take away what stands here.
        let is_empty = |name| variables.get(name).is_some_and(|value| value.is_empty());
        let is_unset = is_list(&arg) && arg.get_env().is_some_and(is_empty);
        let arg = if is_unset { arg.env(Resettable::Reset) } else { arg };
        arg.required(false).default_values(self.values.iter().map(|(value, _)| value.clone()))
    }
}

/// The settings of `command` and of those below it, where a file may have them: those that have a variable too.
fn known(command: &clap::Command) -> AllKnown {
    let reads_a_file = command.get_arguments().any(|arg| arg.get_id() == "config");
    let own = command.get_arguments().filter(|arg| reads_a_file && arg.get_id() != "config");
    let own = own.filter(|arg| arg.get_env().is_some()).filter_map(|arg| {
        let default = arg.get_default_values().iter().filter_map(|value| value.to_str());
        let known = Known {
            id: arg.get_id().to_string(),
            is_list: is_list(arg),
            default: default.collect::<Vec<_>>().join(","),
        };
        Some((arg.get_long()?.to_owned(), known))
    });
    own.chain(command.get_subcommands().flat_map(known)).collect()
}

/// Whether a setting has several values.
pub(super) fn is_list(arg: &clap::Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// A value as a flag would have it.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let decimal = i64::from_str_radix(number.as_str(), number.radix());
            Some(decimal.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// What a value is that cannot be one of a setting.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
        DeValue::Datetime(_) => "a date",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, Command};

    fn parse(text: &str, command: &Command) -> SettingsFile {
        SettingsFile::parse(Path::new("a.toml"), text.to_owned(), &known(command)).unwrap()
    }

    #[test]
    fn every_setting_of_every_command_that_has_a_file_may_stand_in_it() {
        let command = crate::cli::command();
        let mut count = 0;
        for command in ["serve", "check", "routes", "descriptor", "explain"]
            .map(|name| command.find_subcommand(name).unwrap())
        {
            let settings =
                command.get_arguments().filter(|arg| arg.get_env().is_some() && arg.get_id() != "config");
            for arg in settings {
                let file = parse(&format!("{} = 'x'", arg.get_long().unwrap()), command);
                let matches = file.as_defaults(Command::new("a").arg(arg.clone()), &Variables::default());
                let matches = matches.get_matches_from(["a"]);
                let values: Vec<_> = matches.get_raw(arg.get_id().as_str()).unwrap().collect();
                assert_eq!((file.faults(), values), (&[][..], vec!["x".as_ref()]), "{arg}");
                count += 1;
            }
        }
        assert!(count > 80, "{count}");
    }

    #[test]
    fn values_are_taken_as_flags_have_them() {
        let list = Arg::new("list").long("list").env("LIST").action(ArgAction::Append).value_delimiter(',');
        let list = list.default_value("c,d");
        let command = Command::new("a")
            .arg(Arg::new("config").long("config"))
            .arg(Arg::new("one").long("one").env("ONE").default_value("1"))
            .arg(list);
        for (line, expected) in [
            ("one = 'a,b'", vec!["a,b"]),
            ("one = 0x1F4", vec!["500"]),
            ("one = 1_000", vec!["1000"]),
            ("one = 1.10", vec!["1.10"]),
            ("one = true", vec!["true"]),
            ("list = 'a,b'", vec!["a", "b"]),
            ("list = ['a,b', 3]", vec!["a", "b", "3"]),
            ("list = []", vec!["c", "d"]),
        ] {
            let matches = parse(line, &command)
                .as_defaults(command.clone(), &Variables::default())
                .get_matches_from(["a"]);
            let id = line.split(' ').next().unwrap();
            let values: Vec<_> = matches.get_raw(id).unwrap_or_default().collect();
            assert_eq!(values, expected, "{line}");
        }
        assert!(parse("one = 1", &command).entry("one").unwrap().is_default());
        assert!(!parse("one = 2", &command).entry("one").unwrap().is_default());
        assert!(parse("list = ['c', 'd']", &command).entry("list").unwrap().is_default());
    }
}
