//! Compiles the server on libuv if libuv is there; without it that server says so when it is asked
//! for, and all others are built.

use std::path::Path;

const HEADER: &str = "/usr/include/uv.h";
const SOURCE: &str = "libuv/echo.c";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_libuv)");
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    // A path that is not there makes cargo look again each time.
    println!("cargo::rerun-if-changed={HEADER}");
    if !Path::new(HEADER).is_file() {
        return;
    }
    cc::Build::new().file(SOURCE).opt_level(3).std("gnu11").warnings(true).compile("bench_libuv");
    println!("cargo::rustc-link-lib=uv");
    println!("cargo::rustc-cfg=has_libuv");
}
