//! Compiles `proto/` without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    let file = "gatehouse/v1/link.proto";
    println!("cargo::rerun-if-changed={root}");
    let descriptors = protox::compile([file], [root])?;
    // Shared by all proxies that are sent them.
    tonic_prost_build::configure().bytes(".gatehouse.v1.Push.packed").compile_fds(descriptors)?;
    Ok(())
}
