//! The house's rules about itself (`CONTRIBUTING.md`), as far as no lint knows them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use millrace_tests::repository;

/// Slow to build or to replace: each one is named in one manifest only.
const HEAVY: [(&str, &str); 4] = [
    ("fjall", "broker/store/Cargo.toml"),
    ("jsonschema", "broker/gateway/Cargo.toml"),
    ("openraft", "broker/cluster/Cargo.toml"),
    ("wasmtime", "plugins/host/Cargo.toml"),
];

/// Folders that hold what is built, fetched or stored, not what is written.
const NOT_SOURCES: [&str; 7] = [
    ".git",
    ".cache",
    "target",
    "node_modules",
    "dist",
    "__pycache__",
    "millrace-data",
];

/// Everything that may lie at the top, apart from dot-files.
const TOP_LEVEL: [&str; 13] = [
    "Cargo.toml",
    "Cargo.lock",
    "clippy.toml",
    "deny.toml",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "broker",
    "plugins",
    "sdk-wit",
    "tests",
    "examples",
];

const FILE_LINES_MAX: usize = 500;

#[test]
fn each_heavy_dependency_is_named_in_one_manifest() {
    let mut named: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for manifest in sources("Cargo.toml") {
        let text = fs::read_to_string(&manifest).expect("a manifest");
        for (dependency, _) in HEAVY {
            if dependencies(&text).any(|(name, _)| name == dependency) {
                named
                    .entry(dependency)
                    .or_default()
                    .push(relative(&manifest));
            }
        }
    }
    let allowed = HEAVY.map(|(dependency, room)| (dependency, vec![room.to_owned()]));
    assert_eq!(named, BTreeMap::from(allowed));
}

#[test]
fn the_machine_links_the_model_and_nothing_that_acts() {
    let text = fs::read_to_string(repository().join("broker/machine/Cargo.toml")).expect("there");
    let acting = [
        "axum", "futures", "hyper", "rand", "rustix", "tempfile", "tokio", "tracing", "uuid",
    ];
    for (name, table) in dependencies(&text) {
        if table != "dependencies" {
            continue;
        }
        let foreign = name.starts_with("millrace-") && name != "millrace-model";
        assert!(!foreign, "the machine depends on {name}");
        assert!(!acting.contains(&name), "the machine depends on {name}");
    }
}

#[test]
fn no_source_file_is_too_long() {
    let long: Vec<String> = sources(".rs")
        .filter_map(|file| {
            let lines = fs::read_to_string(&file).expect("text").lines().count();
            (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", relative(&file)))
        })
        .collect();
    assert!(long.is_empty(), "over {FILE_LINES_MAX}: {long:#?}");
}

#[test]
fn the_top_level_holds_the_rooms_and_nothing_else() {
    let entries = fs::read_dir(repository()).expect("the repository");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let stray: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !NOT_SOURCES.contains(&name.as_str()))
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()))
        .collect();
    assert!(stray.is_empty(), "not at the top level: {stray:?}");
}

#[test]
fn no_crate_or_module_is_a_drawer() {
    let drawers = ["util", "utils", "common", "helpers", "misc"];
    let found: Vec<String> = sources("")
        .filter(|path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let parents = path.ancestors().skip(1).filter_map(Path::file_name);
            let rust = path.extension().is_some_and(|end| end == "rs");
            rust && (drawers.contains(&stem.as_ref())
                || parents
                    .into_iter()
                    .any(|name| drawers.contains(&&*name.to_string_lossy())))
        })
        .map(|path| relative(&path))
        .collect();
    assert!(found.is_empty(), "name what it does: {found:?}");
}

/// Every file of ours below the root whose name ends so.
fn sources(end: &str) -> impl Iterator<Item = PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![repository().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && !NOT_SOURCES.contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(end) && path.is_file() {
                files.push(path);
            }
        }
    }
    files.into_iter()
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(repository()).expect("below the root");
    path.display().to_string()
}

/// Name and table of every dependency in a manifest, also as `[dependencies.NAME]`.
fn dependencies(manifest: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut table = "";
    manifest.lines().filter_map(move |line| {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']');
            let (kind, name) = table.rsplit_once('.')?;
            return kind.ends_with("dependencies").then_some((name, kind));
        }
        let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))?;
        (end > 0 && table.ends_with("dependencies")).then_some((&line[..end], table))
    })
}
