//! The author's side of plugins: a crate, its component, its tests. cargo does the work.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use super::super::output;

/// The target of plugins: no system interface, so a plugin can only compute.
const TARGET: &str = "wasm32-unknown-unknown";

/// The linker that turns a module for that target into a component. rustup's toolchains bring it along.
const LINKER: &str = "wasm-component-ld";
const LINKER_VARIABLE: &str = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER";

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// Directory of the crate
    #[arg(default_value = ".")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// Directory of the crate
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// What follows `--` goes to `cargo test`
    #[arg(last = true)]
    cargo: Vec<String>,
}

/// Compiles the crate, and prints where the component is.
pub(super) fn build(args: &BuildArgs) -> Result<()> {
    let component = built(&args.dir)?;
    output::write(format!("{}\n", component.display()).as_bytes())
}

/// Runs the crate's tests natively: the SDK's harness stands in for the broker.
pub(super) fn test(args: &TestArgs) -> Result<()> {
    let status = Command::new("cargo")
        .arg("test")
        .args(&args.cargo)
        .current_dir(&args.dir)
        .status();
    let status = status.context("cannot run cargo; is Rust installed (https://rustup.rs)?")?;
    if !status.success() {
        bail!("cargo test failed in {}", args.dir.display());
    }
    Ok(())
}

/// Compiles the crate in this directory, and gives the path of its component.
pub(super) fn built(dir: &Path) -> Result<PathBuf> {
    if !dir.join("Cargo.toml").is_file() {
        bail!(
            "{} holds no Cargo.toml; `millrace plugin new NAME` makes a plugin's crate",
            dir.display()
        );
    }
    let mut cargo = cargo_build(dir)?;
    let mut child = cargo
        .spawn()
        .context("cannot run cargo; is Rust installed (https://rustup.rs)?")?;
    let messages = child.stdout.take().context("cargo's output is piped")?;
    let component = last_component(BufReader::new(messages))?;
    if !child.wait()?.success() {
        bail!("cargo build failed; if the target is missing: rustup target add {TARGET}");
    }
    component.context("cargo built no .wasm file; a plugin's crate has `crate-type = [\"cdylib\"]`")
}

fn cargo_build(dir: &Path) -> Result<Command> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--release",
        "--target",
        TARGET,
        "--message-format",
        "json-render-diagnostics",
    ]);
    cargo.current_dir(dir).stdout(Stdio::piped());
    if std::env::var_os(LINKER_VARIABLE).is_none() {
        cargo
            .env(LINKER_VARIABLE, LINKER)
            .env("PATH", path_with_tools(dir)?);
    }
    Ok(cargo)
}

/// `PATH`, with the toolchain's own tools behind it: the component linker calls `wasm-ld`.
fn path_with_tools(dir: &Path) -> Result<std::ffi::OsString> {
    let sysroot = rustc(dir, &["--print", "sysroot"])?;
    let host = rustc(dir, &["--print", "host-tuple"])?;
    let tools = Path::new(&sysroot)
        .join("lib/rustlib")
        .join(host)
        .join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::env::split_paths(&path).chain([tools.clone(), tools.join("gcc-ld")]);
    std::env::join_paths(paths).context("PATH cannot be extended")
}

fn rustc(dir: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("rustc").args(args).current_dir(dir).output();
    let output = output.context("cannot run rustc; is Rust installed (https://rustup.rs)?")?;
    Ok(String::from_utf8(output.stdout)
        .context("rustc's output")?
        .trim()
        .to_owned())
}

/// One of cargo's messages, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The `.wasm` that cargo named last: dependencies come before what depends on them.
fn last_component(messages: impl BufRead) -> Result<Option<PathBuf>> {
    let mut component = None;
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Message>(&line.context("cargo's output")?) else {
            continue;
        };
        if message.reason == "compiler-artifact" {
            let wasm = message
                .filenames
                .into_iter()
                .find(|file| file.extension().is_some_and(|ending| ending == "wasm"));
            component = wasm.or(component);
        }
    }
    Ok(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","filenames":["/t/libserde.rlib"]}
            not json
            {"reason":"compiler-artifact","filenames":["/t/router.wasm"]}
            {"reason":"build-finished","success":true}"#;
        let found = last_component(messages.as_bytes()).expect("readable");
        assert_eq!(found, Some(PathBuf::from("/t/router.wasm")));
    }
}
