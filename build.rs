//! How the program is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // What has to be adjusted when the program is loaded is listed in a fiftieth of the space, which is read as a whole at each
    // start. The static C library does it: it has to be glibc 2.36 or newer.
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
