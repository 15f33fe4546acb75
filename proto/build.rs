//! Compiles the `.proto` files, with no `protoc`, into code and a descriptor set.

use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 4] =
    ["boom/v1/plan.proto", "boom/v1/node.proto", "boom/v1/control.proto", "boom/v1/handover.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=boom");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    let set = PathBuf::from(std::env::var("OUT_DIR")?).join("boom.v1.bin");
    std::fs::write(set, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
