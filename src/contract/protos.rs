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
pub(super) fn compile(paths: &[PathBuf], includes: &[PathBuf]) -> Result<(Bytes, Texts), Vec<Fault>> {
    let mut files = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        if let Err(error) = protos(path, &mut files) {
            let mend = "name a .proto file, or a folder that has some";
            faults.push(Fault::new(path.display().to_string(), error, mend));
        }
    }
    files.sort();
    files.dedup();
    let mut roots = includes.to_vec();
    if includes.is_empty() {
        roots.extend(paths.iter().filter(|path| path.is_dir()).cloned());
        roots.extend(files.iter().map(|file| root(file)));
    }
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
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut texts = Texts::default();
    for file in compiler.files() {
        if let Some(text) = file.path().and_then(|path| fs::read_to_string(path).ok()) {
            texts.insert(file.name(), text);
        }
    }
    Ok((compiler.encode_file_descriptor_set().into(), texts))
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

/// Where imports beside `file` are counted from: above the folders that its package names, else its own folder.
fn root(file: &Path) -> PathBuf {
    let parent = file.parent().unwrap_or(Path::new(""));
    let text = fs::read_to_string(file).unwrap_or_default();
    let package =
        text.lines().find_map(|line| line.trim_start().strip_prefix("package ")).unwrap_or_default();
    let folders: PathBuf = package.split(';').next().unwrap_or_default().trim().split('.').collect();
    let depth = folders.components().count();
    let root = if parent.ends_with(&folders) { parent.ancestors().nth(depth) } else { None };
    match root.unwrap_or(parent) {
        root if root.as_os_str().is_empty() => PathBuf::from("."),
        root => root.to_owned(),
    }
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
            Fault::new(place, complaint.to_string(), mend).with_excerpt(excerpt)
        }
        None => Fault::new(name, complaint.to_string(), mend),
    }
}
