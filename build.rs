//! Compiles the contract into the binary: the descriptor set that the bridge serves (with HTTP
//! annotations and source comments) and the typed Rust stubs. `protox` reads the files, so no
//! `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

/// The shop's contract, and the error details, which a JSON gateway needs in the descriptor set.
const FILES: [&str; 3] =
    ["shop/v1/product_service.proto", "google/rpc/error_details.proto", "google/rpc/status.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;

    #[allow(clippy::disallowed_methods)] // this is how cargo speaks to build scripts
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Encoded by the compiler itself: a round through `prost_types` would drop the annotations.
    fs::write(out.join("shop.v1.binpb"), compiler.encode_file_descriptor_set())?;

    let mut stubs = compiler.file_descriptor_set();
    stubs.file.retain(|file| ["shop.v1", "google.api"].contains(&file.package()));
    tonic_prost_build::configure().build_transport(false).compile_fds(stubs)?;
    Ok(())
}
