//! Generates what the transcoder is compared with: prost messages with pbjson's serde code.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=protos");
    println!("cargo:rerun-if-changed=../proto");
    let mut compiler = protox::Compiler::new(["../proto", "protos"])?;
    compiler.include_imports(true).open_files(["shop/v1/product_service.proto", "wide/v1/wide.proto"])?;
    let mut set = compiler.file_descriptor_set();
    set.file.retain(|file| ["shop.v1", "wide.v1"].contains(&file.package()));
    prost_build::Config::new()
        .compile_well_known_types()
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_fds(set)?;
    pbjson_build::Builder::new()
        .register_descriptors(&compiler.encode_file_descriptor_set())?
        .ignore_unknown_fields()
        .build(&[".shop.v1", ".wide.v1"])?;
    Ok(())
}
