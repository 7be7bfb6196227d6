//! Compiles the contract into the binary: the descriptor set that the bridge serves (with HTTP
//! annotations and source comments), the typed Rust stubs, and the common files that any contract may
//! import. `protox` reads the files, so no `protoc` is needed.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// The shop's contract, and the error details, which a JSON gateway needs in the descriptor set.
const FILES: [&str; 3] =
    ["shop/v1/product_service.proto", "google/rpc/error_details.proto", "google/rpc/status.proto"];
/// What contracts that are read at run time may import without having it.
const BUNDLED: [&str; 2] = ["proto/google", "proto/grpc_rest_bridge"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;

    #[allow(clippy::disallowed_methods)] // this is how cargo speaks to build scripts
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Encoded by the compiler itself: a round through `prost_types` would drop the annotations.
    fs::write(out.join("shop.v1.binpb"), compiler.encode_file_descriptor_set())?;
    fs::write(out.join("bundled.rs"), bundled()?)?;

    let mut stubs = compiler.file_descriptor_set();
    stubs.file.retain(|file| ["shop.v1", "google.api"].contains(&file.package()));
    tonic_prost_build::configure().build_transport(false).compile_fds(stubs)?;
    Ok(())
}

/// The expression of a table: the name that imports use, and the text.
fn bundled() -> Result<String, Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in BUNDLED {
        protos(folder.as_ref(), &mut files)?;
    }
    files.sort();
    let mut table = "&[\n".to_owned();
    for path in files {
        let (name, path) = (path.strip_prefix("proto")?, path.canonicalize()?);
        writeln!(table, "    ({name:?}, include_str!({path:?})),")?;
    }
    table.push(']');
    Ok(table)
}

fn protos(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            protos(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
