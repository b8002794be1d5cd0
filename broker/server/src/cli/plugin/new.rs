//! `millrace plugin new`: a crate that compiles, with a test, to be changed into what its author wants.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::super::output;
use crate::failure::Usage;

/// The SDK of the source tree that this program was compiled from; a default only where that tree is.
const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk-wit/rust");

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// Name of the plugin, and of its directory
    name: String,
    /// What the plugin does
    #[arg(long, value_enum, default_value = "router")]
    world: World,
    /// Directory of the Rust SDK: `sdk-wit/rust` of Millrace's source [default: where this program was compiled, if it is still there]
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// What a plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum World {
    /// Says yes or no to each event
    Filter,
    /// Chooses the destinations of each event
    Router,
    /// Changes, splits or drops each event
    Transform,
}

/// The files of a template: where they go, and what stands in them.
type Files = [(&'static str, &'static str); 5];

const CARGO_TOML: (&str, &str) = ("Cargo.toml", include_str!("template/Cargo.toml.in"));
const GITIGNORE: (&str, &str) = (".gitignore", include_str!("template/gitignore.in"));

const FILTER: Files = [
    CARGO_TOML,
    GITIGNORE,
    (
        "config.schema.json",
        include_str!("template/filter.schema.json.in"),
    ),
    ("src/lib.rs", include_str!("template/filter.rs.in")),
    (
        "tests/behaviour.rs",
        include_str!("template/filter.test.rs.in"),
    ),
];

const ROUTER: Files = [
    CARGO_TOML,
    GITIGNORE,
    (
        "config.schema.json",
        include_str!("template/router.schema.json.in"),
    ),
    ("src/lib.rs", include_str!("template/router.rs.in")),
    (
        "tests/behaviour.rs",
        include_str!("template/router.test.rs.in"),
    ),
];

const TRANSFORM: Files = [
    CARGO_TOML,
    GITIGNORE,
    (
        "config.schema.json",
        include_str!("template/transform.schema.json.in"),
    ),
    ("src/lib.rs", include_str!("template/transform.rs.in")),
    (
        "tests/behaviour.rs",
        include_str!("template/transform.test.rs.in"),
    ),
];

impl World {
    fn files(self) -> &'static Files {
        match self {
            Self::Filter => &FILTER,
            Self::Router => &ROUTER,
            Self::Transform => &TRANSFORM,
        }
    }
}

/// Writes the crate below the current directory, and says what to do next.
///
/// # Errors
/// When something of that name is there, the name cannot be a crate's, or the SDK is not found.
pub(super) fn run(args: &NewArgs) -> Result<()> {
    let sdk = find_sdk(args.sdk.as_deref())?;
    write(Path::new("."), args, &sdk)?;
    let name = &args.name;
    let next = format!(
        "{name}/ is written. Next:\n  cd {name}\n  millrace plugin test\n  millrace plugin push {name}@0.1.0\n"
    );
    output::write(next.as_bytes())
}

fn find_sdk(given: Option<&Path>) -> Result<PathBuf> {
    let dir = given.unwrap_or(Path::new(SDK));
    if dir.join("Cargo.toml").is_file() {
        return dir
            .canonicalize()
            .with_context(|| format!("cannot read {}", dir.display()));
    }
    let wrong = match given {
        Some(dir) => format!("--sdk {}: no Cargo.toml is there", dir.display()),
        None => "say with --sdk where sdk-wit/rust of Millrace's source is".to_owned(),
    };
    Err(Usage::new(wrong).into())
}

fn write(parent: &Path, args: &NewArgs, sdk: &Path) -> Result<()> {
    check_name(&args.name)?;
    let root = parent.join(&args.name);
    if root.exists() {
        bail!("{} is there already", root.display());
    }
    for (file, template) in args.world.files() {
        let path = root.join(file);
        let dir = path.parent().unwrap_or(&root);
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let text = fill_in(template, &args.name, sdk);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A crate's name that is also a plugin's: letters, digits, `-` and `_`, a letter first.
fn check_name(name: &str) -> Result<(), Usage> {
    let right = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 64
        && name
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || one == '-' || one == '_');
    if right {
        return Ok(());
    }
    Err(Usage::new(format!(
        "`{name}` cannot be a plugin's crate: use letters, digits, `-` and `_`, a letter first, at most 64"
    )))
}

fn fill_in(template: &str, name: &str, sdk: &Path) -> String {
    let sdk = sdk
        .display()
        .to_string()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    let words = name.split(['-', '_']).filter(|word| !word.is_empty());
    let type_name: String = words
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect();
    template
        .replace("@name@", name)
        .replace("@crate@", &name.replace('-', "_"))
        .replace("@type@", &type_name)
        .replace("@sdk@", &sdk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_filled_in_completely() {
        for world in [World::Filter, World::Router, World::Transform] {
            let dir = tempfile::tempdir().expect("a directory");
            let args = NewArgs {
                name: "order-router2".to_owned(),
                world,
                sdk: None,
            };
            write(dir.path(), &args, Path::new("/sdk")).expect("written");
            for (file, _) in world.files() {
                let text = fs::read_to_string(dir.path().join("order-router2").join(file))
                    .expect("readable");
                assert!(!text.contains('@'), "{file}: {text}");
            }
            let lib =
                fs::read_to_string(dir.path().join("order-router2/src/lib.rs")).expect("readable");
            assert!(lib.contains("for OrderRouter2 {"), "{lib}");
            assert!(
                write(dir.path(), &args, Path::new("/sdk")).is_err(),
                "nothing is overwritten"
            );
        }
    }

    #[test]
    fn names_that_cargo_or_the_broker_would_refuse_are_refused() {
        for name in ["", "1a", "a b", "../a", "ü", "a.b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
