//! Builds the agent that the controller carries: static, small, for the machine type that the controller is built for.
//!
//! It has a target directory of its own (`agent-static`, shared by all profiles of the controller), so the lock of the
//! cargo that runs this script is not waited for and the agent is built once. `WEICHE_AGENT_BINARY` names a finished
//! binary instead, for packagers and cross builds.

#![expect(clippy::disallowed_methods, reason = "shell")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, error::Error};

/// Variables of the outer cargo that must not reach the inner one: they would lint, instrument or misdirect the agent.
const FOREIGN: [&str; 9] = [
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_LINKER",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "TARGET",
    "HOST",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=WEICHE_AGENT_BINARY");
    let binary = match env::var_os("WEICHE_AGENT_BINARY") {
        Some(path) => {
            let path = std::path::absolute(path)?;
            println!("cargo::rerun-if-changed={}", path.display());
            path
        }
        None => build()?,
    };
    // Of its own: the profiles share the original, and cargo must see it change only when this script has run.
    let compressed = PathBuf::from(env::var("OUT_DIR")?).join("weiche-agent.gz");
    let agent = std::fs::read(&binary).map_err(|e| format!("no agent binary at {}: {e}", binary.display()))?;
    // It goes over slow lines, once per host and release: as small as gzip(1) still reads.
    let mut gzip = libdeflater::Compressor::new(libdeflater::CompressionLvl::best());
    let mut packed = vec![0; gzip.gzip_compress_bound(agent.len())];
    let length = gzip.gzip_compress(&agent, &mut packed)?;
    packed.truncate(length);
    std::fs::write(&compressed, packed)?;
    println!("cargo::rustc-env=WEICHE_AGENT_GZ={}", compressed.display());
    println!("cargo::rustc-env=WEICHE_AGENT_ARCH={}", env::var("CARGO_CFG_TARGET_ARCH")?);
    Ok(())
}

/// Runs the inner cargo; returns where the binary is.
fn build() -> Result<PathBuf, Box<dyn Error>> {
    let workspace = Path::new(&env::var("CARGO_MANIFEST_DIR")?).parent().ok_or("no workspace")?.to_owned();
    for path in ["agent/src", "agent/Cargo.toml", "agent/build.rs", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    let target = env::var("TARGET")?;
    // OUT_DIR is TARGET_DIR/[TRIPLE/]PROFILE/build/PACKAGE-HASH/out.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let directory = out.ancestors().nth(4).ok_or("OUT_DIR is too short")?.join("agent-static");

    let mut cargo = Command::new(env::var("CARGO")?);
    cargo.current_dir(&workspace).args(["build", "--quiet", "--locked", "--package", "weiche-agent"]);
    cargo.args(["--bin", "weiche-agent", "--profile", "agent", "--target", &target, "--target-dir"]).arg(&directory);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let package =
            text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_CFG_") || text.starts_with("CARGO_FEATURE_");
        let build =
            ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_ENCODED_", "CARGO_MANIFEST_", "CARGO_UNSTABLE_"];
        if package || build.iter().any(|p| text.starts_with(p)) || FOREIGN.contains(&text.as_ref()) {
            cargo.env_remove(&name);
        }
    }
    // The digest of the binary is its address on the hosts: it must not depend on where the sources lie.
    let home = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")))?;
    let flags = [
        String::from("-Ctarget-feature=+crt-static"),
        // A static executable relocates itself at its start. The packed table (DT_RELR) says the same in a few hundred
        // bytes instead of 60 KiB; the C library that reads it (glibc 2.36, Debian 12) is linked in.
        String::from("-Clink-arg=-Wl,-z,pack-relative-relocs"),
        // Nothing is unwound: a panic aborts. The index for it is 50 KiB.
        String::from("-Clink-arg=-Wl,--no-eh-frame-hdr"),
        format!("--remap-path-prefix={}=", workspace.join("").display()),
        format!("--remap-path-prefix={home}=cargo"),
    ];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    if !cargo.status()?.success() {
        return Err("the agent does not build".into());
    }
    Ok(directory.join(target).join("agent/weiche-agent"))
}
