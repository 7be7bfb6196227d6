//! What the system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A limit of nothing is not looked at where a program takes core dumps (Linux, core(5)), but one byte is no room for one.
const NO_CORE_DUMP: u64 = 1;
/// What is open besides the connections of callers: those to the API, files, and what the runtime needs.
const BESIDES: u64 = 500;

/// Keeps secrets out of core dumps. Private keys and credentials are in the memory of the process, and a dump of it is kept by
/// whoever looks after the machine.
pub(super) fn forbid_core_dumps() {
    let maximum = getrlimit(Resource::Core).maximum;
    let current = maximum.map_or(NO_CORE_DUMP, |maximum| maximum.min(NO_CORE_DUMP));
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(current), maximum }) {
        tracing::warn!(%error, "core dumps cannot be forbidden, which have secrets in them");
    }
}

/// Takes as many open files as there may be, of which each connection is one; shells give far fewer to begin with.
pub(super) fn raise_open_files(connections: usize) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(BESIDES);
    let current = getrlimit(Resource::Nofile).current;
    if let Some(files) = current.filter(|files| *files < needed) {
        tracing::warn!(
            files,
            "there may be fewer open files (ulimit -n) than --max-connections {connections} needs"
        );
    }
}
