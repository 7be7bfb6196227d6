//! Files that are read again when they change, so that certificates and keys are renewed without a restart.
//!
//! They are read and compared every few seconds, and not watched: Kubernetes changes what it mounts by turning a symbolic
//! link, and network file systems tell nobody. What cannot be used does not take the place of what can: it is told, once for
//! each change, and the old one goes on.

use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval, sleep};
use zeroize::Zeroizing;

use crate::fault::Fault;

/// Who writes a file in place needs less than this. What is half written could be taken for the whole.
const SETTLING: Duration = Duration::from_millis(50);
/// The largest file that is read; certificates, keys and lists of them are far smaller.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// What was read from files, as they are now.
pub struct Reloaded<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    make: Box<Make<T>>,
    current: ArcSwap<T>,
    /// Digests of what was read the last time, good or bad.
    seen: Mutex<Digests>,
}

/// Makes what the files say of their texts, in the order of the files.
type Make<T> = dyn Fn(&[Text]) -> Result<T, Vec<Fault>> + Send + Sync;

/// The text of a file, which may be a secret.
pub struct Text {
    /// The file.
    pub path: PathBuf,
    /// What stands in it.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What a look at the files has found.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Same,
    /// It is unlike what it was, and perhaps half written.
    Changing(Digests),
    New,
}

/// Digests of files.
type Digests = Vec<[u8; 32]>;

// === impl Reloaded ===

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files; `what` is what they hold, in words for the log.
    ///
    /// # Errors
    /// A file cannot be read, or what they say cannot be used.
    pub fn read(
        what: &'static str,
        files: Vec<PathBuf>,
        make: impl Fn(&[Text]) -> Result<T, Vec<Fault>> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, Vec<Fault>> {
        let texts = read_all(&files)?;
        let current = ArcSwap::from_pointee(make(&texts)?);
        let seen = Mutex::new(digests(&texts));
        Ok(Arc::new(Self { what, files, make: Box::new(make), current, seen }))
    }

    /// What they say now.
    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Looks at the files again and again, for ever.
    pub async fn follow(self: Arc<Self>, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is at once.
        ticks.tick().await;
        let mut changing = None;
        loop {
            match &changing {
                None => drop(ticks.tick().await),
                Some(_) => sleep(SETTLING).await,
            }
            let (this, before) = (self.clone(), changing.take());
            match tokio::task::spawn_blocking(move || this.look(before.as_ref())).await {
                Ok(Ok(Look::New)) => tracing::info!("{}: read again, for it has changed", self.what),
                Ok(Ok(Look::Same)) => {}
                Ok(Ok(Look::Changing(digests))) => changing = Some(digests),
                Ok(Err(faults)) => self.tell(&faults),
                Err(panic) => tracing::error!(%panic, "{}: cannot be read again", self.what),
            }
        }
    }

    fn tell(&self, faults: &[Fault]) {
        for fault in faults {
            tracing::error!(
                "{}: what was there goes on, for what is there now has a fault: {fault}",
                self.what
            );
        }
    }

    /// Reads the files. `before` is what they were a moment ago, if that was unlike what is known.
    fn look(&self, before: Option<&Digests>) -> Result<Look, Vec<Fault>> {
        let texts = read_all(&self.files);
        // A file that is missing is a change too, which is told once.
        let digests = texts.as_deref().map(digests).unwrap_or_default();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == digests {
            return Ok(Look::Same);
        }
        if before != Some(&digests) {
            return Ok(Look::Changing(digests));
        }
        *seen = digests;
        self.current.store(Arc::new((self.make)(&texts?)?));
        Ok(Look::New)
    }
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded")
            .field("what", &self.what)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

// === impl Text ===

impl Text {
    /// A fault of this file.
    pub fn fault(&self, what: impl Into<String>, mend: impl Into<String>) -> Fault {
        Fault::new(self.path.display().to_string(), what, mend)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("path", &self.path).finish_non_exhaustive()
    }
}

/// All of them, or the faults of all that cannot be read.
fn read_all(files: &[PathBuf]) -> Result<Vec<Text>, Vec<Fault>> {
    let (mut texts, mut faults) = (Vec::new(), Vec::new());
    for path in files {
        match read(path) {
            Ok(text) => texts.push(text),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(texts) } else { Err(faults) }
}

fn read(path: &Path) -> Result<Text, Fault> {
    let place = || path.display().to_string();
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(
        |error| {
            Fault::new(place(), format!("cannot be read: {error}"), "name a file that this process can read")
        },
    )?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Fault::new(
            place(),
            format!("is larger than {MAX_FILE_BYTES} bytes"),
            "name the file that is meant",
        ));
    }
    Ok(Text { path: path.to_owned(), bytes })
}

fn digests(texts: &[Text]) -> Digests {
    texts.iter().map(|text| Sha256::digest(&*text.bytes).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(path: &Path) -> Arc<Reloaded<u32>> {
        Reloaded::read("a number", vec![path.to_owned()], |texts| {
            let text = String::from_utf8_lossy(&texts[0].bytes);
            text.trim()
                .parse()
                .map_err(|_| vec![texts[0].fault(format!("{text:?} is no number"), "write one")])
        })
        .unwrap()
    }

    /// What is seen when nobody writes any more.
    fn look(number: &Reloaded<u32>) -> Result<Look, Vec<Fault>> {
        match number.look(None)? {
            Look::Changing(digests) => number.look(Some(&digests)),
            look => Ok(look),
        }
    }

    #[test]
    fn what_is_half_written_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let number = number(&path);
        std::fs::write(&path, "12").unwrap();
        let Ok(Look::Changing(half)) = number.look(None) else { panic!() };
        std::fs::write(&path, "123").unwrap();
        let Ok(Look::Changing(whole)) = number.look(Some(&half)) else { panic!() };
        assert_eq!(*number.current(), 1);
        assert_eq!((number.look(Some(&whole)), *number.current()), (Ok(Look::New), 123));
    }

    #[test]
    fn what_changes_is_read_again_and_what_is_bad_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let number = number(&path);
        assert_eq!((*number.current(), look(&number)), (1, Ok(Look::Same)));

        std::fs::write(&path, "2").unwrap();
        assert_eq!((look(&number), *number.current()), (Ok(Look::New), 2));

        std::fs::write(&path, "two").unwrap();
        let place = path.display();
        let told = look(&number).unwrap_err()[0].to_string();
        assert_eq!(told, format!("{place}: \"two\" is no number\n    write one"));
        assert_eq!((look(&number), *number.current()), (Ok(Look::Same), 2));

        std::fs::remove_file(&path).unwrap();
        assert!(look(&number).unwrap_err()[0].what.starts_with("cannot be read: No such file"));
        assert_eq!((look(&number), *number.current()), (Ok(Look::Same), 2));

        std::fs::write(&path, "3").unwrap();
        assert_eq!((look(&number), *number.current()), (Ok(Look::New), 3));
    }
}
