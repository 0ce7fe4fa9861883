//! Compiles the .proto files with protox, in Rust: nobody needs a `protoc`.

#[cfg(not(feature = "grpc"))]
fn main() {}

#[cfg(feature = "grpc")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::path::PathBuf;

    const FILES: [&str; 3] = [
        "proto/drill/v1/common.proto",
        "proto/drill/v1/agent.proto",
        "proto/drill/v1/operator.proto",
    ];
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);
    tonic_prost_build::configure()
        .file_descriptor_set_path(out.join("drill_descriptor.bin"))
        .skip_protoc_run()
        .compile_fds(descriptors)?;
    Ok(())
}
