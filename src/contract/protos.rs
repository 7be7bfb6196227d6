//! `.proto` files compiled at run time, by `protox` and without `protoc`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use miette::{Diagnostic, SourceSpan};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver},
};

use super::place::Texts;
use crate::fault::{Excerpt, Fault};

/// The common files that any contract may import: `google/api`, `google/rpc`, `google/type` and our own options.
const BUNDLED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// Finds the bundled files by the names that imports use.
struct Bundled;

// === impl Bundled ===

impl FileResolver for Bundled {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match BUNDLED.iter().find(|(bundled, _)| *bundled == name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Compiles `.proto` files, and every one below the folders among `paths`, with all that they import. Without
/// `includes`, imports are looked for where the package of each file says that its root is.
/// What cannot be compiled is told in the faults; the rest comes back all the same, so that its rules can be checked.
pub(super) fn compile(paths: &[PathBuf], includes: &[PathBuf]) -> (Bytes, Texts, Vec<Fault>) {
    let mut files = Vec::new();
    let mut roots = includes.to_vec();
    let mut faults = Vec::new();
    for path in paths {
        let before = files.len();
        if let Err(error) = protos(path, &mut files) {
            let mend = "name a .proto file, or a folder that has some";
            faults.push(Fault::new(path.display().to_string(), error, mend));
        }
        if includes.is_empty() {
            let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
            roots.extend(files[before..].iter().map(|file| root(file, folder)));
        }
    }
    files.sort();
    files.dedup();
    let mut compiler = Compiler::with_file_resolver(resolver(&roots));
    compiler.include_source_info(true).include_imports(true);
    for file in &files {
        if let Err(error) = compiler.open_file(file) {
            for fault in faults_of(&error, file) {
                // Two files that import the same broken one complain alike.
                if !faults.contains(&fault) {
                    faults.push(fault);
                }
            }
        }
    }
    let mut texts = Texts::default();
    for file in compiler.files() {
        if let Some(text) = file.path().and_then(|path| fs::read_to_string(path).ok()) {
            texts.insert(file.name(), text);
        }
    }
    (compiler.encode_file_descriptor_set().into(), texts, faults)
}

/// A contract's own files come first, so that its own `google/api` is the one that counts.
fn resolver(roots: &[PathBuf]) -> ChainFileResolver {
    let mut chain = ChainFileResolver::new();
    let mut seen: Vec<&PathBuf> = Vec::new();
    for root in roots {
        if !seen.contains(&root) {
            seen.push(root);
            chain.add(IncludeFileResolver::new(root.clone()));
        }
    }
    chain.add(Bundled);
    chain.add(GoogleFileResolver::new());
    chain
}

/// The `.proto` file at `path`, or all of them below it.
fn protos(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let before = files.len();
    gather(path, files).map_err(|error| format!("cannot be read: {error}"))?;
    if files.len() == before { Err("has no .proto file below it".to_owned()) } else { Ok(()) }
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "proto") {
            gather(&path, files)?;
        }
    }
    Ok(())
}

/// Where imports beside `file` are counted from: above the folders that its package names, else `folder`.
fn root(file: &Path, folder: &Path) -> PathBuf {
    let parent = file.parent().unwrap_or(Path::new(""));
    let text = fs::read_to_string(file).unwrap_or_default();
    let folders: PathBuf = package(&text).unwrap_or_default().split('.').collect();
    let depth = folders.components().count();
    let root = if parent.ends_with(&folders) { parent.ancestors().nth(depth) } else { None };
    match root.unwrap_or(folder) {
        root if root.as_os_str().is_empty() => PathBuf::from("."),
        root => root.to_owned(),
    }
}

/// The name in the first `package name;` that is no part of a line comment.
fn package(text: &str) -> Option<&str> {
    let code = text.lines().flat_map(|line| line.split("//").next()).flat_map(|code| code.split(';'));
    code.map(str::trim).find_map(|statement| statement.strip_prefix("package ")).map(str::trim)
}

/// Everything that the compiler complains about.
fn faults_of(error: &protox::Error, file: &Path) -> Vec<Fault> {
    let name = error.file().map_or_else(|| file.display().to_string(), str::to_owned);
    let mut faults = vec![fault_of(error, &name, error)];
    for related in error.related().into_iter().flatten() {
        faults.push(fault_of(related, &name, error));
    }
    faults
}

fn fault_of(complaint: &dyn Diagnostic, name: &str, error: &protox::Error) -> Fault {
    let mend = match complaint.help() {
        Some(help) => help.to_string(),
        None if error.is_file_not_found() => {
            "name the folder that the import is counted from with --include".to_owned()
        }
        None => String::new(),
    };
    // The compiler stops at the first word of a file with an edition.
    let (what, mend) = match complaint.to_string() {
        what if what.ends_with("but found 'edition'") => (
            "editions are read from descriptor sets, not from .proto files".to_owned(),
            "run buf build --as-file-descriptor-set -o FILE, and give --descriptor-set FILE".to_owned(),
        ),
        what => (what, mend),
    };
    // Of several places, such as two definitions of one number, the last is the one to mend.
    let label = complaint.labels().and_then(Iterator::last);
    let excerpt = label.and_then(|label| {
        let source = complaint.source_code().or_else(|| error.source_code())?;
        // From the first byte, and with a line more than is meant: whole lines are wanted.
        let span = SourceSpan::new(0.into(), label.offset() + label.len());
        let contents = source.read_span(&span, 0, 1).ok()?;
        let text = std::str::from_utf8(contents.data()).ok()?;
        Some(Excerpt::of(text, label.offset()..label.offset() + label.len()))
    });
    match excerpt {
        Some(excerpt) => {
            let place = format!("{name}:{}:{}", excerpt.line, excerpt.column);
            Fault::new(place, what, mend).with_excerpt(excerpt)
        }
        None => Fault::new(name, what, mend),
    }
}
