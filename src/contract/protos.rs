//! `.proto` files compiled at run time, by `protox` and without `protoc`.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver},
};

use super::{complaint::Complaints, place::Texts};
use crate::fault::Fault;

/// The common files that any contract may import: `google/api`, `google/rpc`, `google/type` and our own options.
const BUNDLED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// What some editors put before the first character.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Finds the bundled files by the names that imports use.
struct Bundled;

/// Finds the files below a folder, whether or not they begin with a byte order mark.
struct Folder {
    root: PathBuf,
    include: IncludeFileResolver,
}

/// The `.proto` files below what was named, each real one once.
#[derive(Default)]
struct Walk {
    files: Vec<PathBuf>,
    /// The real paths of all files and folders that were come by.
    seen: HashSet<PathBuf>,
    /// Links that were found in folders. They are followed last, so that what also has a path of its own goes by it.
    links: Vec<PathBuf>,
    /// How many files there were, those that had been seen before included.
    found: usize,
    faults: Vec<Fault>,
}

// === impl Bundled ===

impl FileResolver for Bundled {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match BUNDLED.iter().find(|(bundled, _)| *bundled == name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

// === impl Folder ===

impl Folder {
    fn new(root: PathBuf) -> Self {
        Self { include: IncludeFileResolver::new(root.clone()), root }
    }
}

impl FileResolver for Folder {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        self.include.resolve_path(path)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match fs::read_to_string(self.root.join(name)) {
            Ok(text) if text.starts_with(BYTE_ORDER_MARK) => File::from_source(name, unmarked(&text)),
            // It tells by itself what cannot be read.
            _ => self.include.open_file(name),
        }
    }
}

fn unmarked(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

// === impl Walk ===

impl Walk {
    /// Takes a file or a folder that was named.
    fn name(&mut self, path: &Path) {
        let (found, faults) = (self.found, self.faults.len());
        self.visit(path);
        while let Some(link) = self.links.pop() {
            self.visit(&link);
        }
        if (self.found, self.faults.len()) == (found, faults) {
            self.fault(path, "has no .proto file below it");
        }
    }

    fn visit(&mut self, path: &Path) {
        if let Err(error) = self.enter(path) {
            self.fault(path, format!("cannot be read: {error}"));
        }
    }

    fn enter(&mut self, path: &Path) -> io::Result<()> {
        if !self.seen.insert(path.canonicalize()?) {
            self.found += 1;
            return Ok(());
        }
        if !path.is_dir() {
            self.found += 1;
            self.files.push(path.to_owned());
            return Ok(());
        }
        let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
        let mut entries: Vec<_> = entries.collect::<io::Result<_>>()?;
        entries.sort();
        for entry in entries.into_iter().filter(|entry| is_wanted(entry)) {
            if entry.is_symlink() { self.links.push(entry) } else { self.visit(&entry) }
        }
        Ok(())
    }

    fn fault(&mut self, path: &Path, what: impl Into<String>) {
        let mend = "name a .proto file, or a folder that has some";
        self.faults.push(Fault::new(path.display().to_string(), what, mend));
    }
}

/// What begins with a dot is another's: Kubernetes keeps all versions of a mounted `ConfigMap` in such folders.
fn is_wanted(entry: &Path) -> bool {
    let is_hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden && (entry.is_dir() || entry.extension().is_some_and(|extension| extension == "proto"))
}

/// Compiles `.proto` files, and every one below the folders among `paths`, with all that they import. Without
/// `includes`, imports are looked for where the package of each file says that its root is.
/// What cannot be compiled is told in the faults; the rest comes back all the same, so that its rules can be checked.
pub(super) fn compile(paths: &[PathBuf], includes: &[PathBuf]) -> (Bytes, Texts, Vec<Fault>) {
    let mut walk = Walk::default();
    let mut roots = includes.to_vec();
    for path in paths {
        let before = walk.files.len();
        walk.name(path);
        if includes.is_empty() {
            let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
            roots.extend(walk.files[before..].iter().map(|file| root(file, folder)));
        }
    }
    walk.files.sort();
    let mut compiler = Compiler::with_file_resolver(resolver(&roots));
    compiler.include_source_info(true).include_imports(true);
    let mut complaints = Complaints::default();
    walk.faults.into_iter().for_each(|fault| complaints.push(fault));
    for file in &walk.files {
        if let Err(error) = compiler.open_file(file) {
            complaints.extend(&error, file);
        }
    }
    let texts = texts(&compiler, &roots);
    (compiler.encode_file_descriptor_set().into(), texts, complaints.into_faults())
}

/// The texts of all files but the bundled ones.
fn texts(compiler: &Compiler, roots: &[PathBuf]) -> Texts {
    let mut texts = Texts::default();
    for file in compiler.files() {
        // The compiler does not know the path of a file that had a byte order mark.
        let in_roots = || roots.iter().map(|root| root.join(file.name())).find(|path| path.is_file());
        let path = file.path().map(Path::to_owned).or_else(in_roots);
        if let Some(text) = path.and_then(|path| fs::read_to_string(path).ok()) {
            texts.insert(file.name(), unmarked(&text));
        }
    }
    texts
}

/// A contract's own files come first, so that its own `google/api` is the one that counts.
fn resolver(roots: &[PathBuf]) -> ChainFileResolver {
    let mut chain = ChainFileResolver::new();
    let mut seen: Vec<&PathBuf> = Vec::new();
    for root in roots {
        if !seen.contains(&root) {
            seen.push(root);
            chain.add(Folder::new(root.clone()));
        }
    }
    chain.add(Bundled);
    chain.add(GoogleFileResolver::new());
    chain
}

/// Where imports beside `file` are counted from: above the folders that its package names, else `folder`.
fn root(file: &Path, folder: &Path) -> PathBuf {
    let parent = file.parent().unwrap_or(Path::new(""));
    let text = fs::read_to_string(file).unwrap_or_default();
    let folders: PathBuf = package(unmarked(&text)).unwrap_or_default().split('.').collect();
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
