//! The quick start of the README, command for command.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use millrace_tests::{Broker, millrace, repository};

/// Where the README says that the broker listens.
const SERVER: &str = "http://127.0.0.1:7440";

/// Printed behind each command, so that their outputs can be told apart.
const END: &str = "--- end of block";

/// A block of commands, and the output that the README shows behind it.
struct Block {
    commands: String,
    output: Option<String>,
}

#[test]
fn the_quick_start_does_what_it_says() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("the README");
    let (_, section) = readme
        .split_once("\n## Quick start\n")
        .expect("a quick start");
    let section = section.split("\n## ").next().expect("a first part");
    let blocks = blocks(section);
    assert!(blocks.len() >= 5, "the quick start was found");

    let broker = Broker::start();
    let printed = run(&broker, &blocks);
    for (block, printed) in blocks.iter().zip(&printed) {
        if let Some(shown) = &block.output {
            assert_matches(printed.trim(), shown.trim(), &block.commands);
        }
    }
}

/// The blocks marked `sh`, each with the block of another mark that follows it at once.
fn blocks(section: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut parts = section.split("```");
    parts.next();
    while let Some(block) = parts.next() {
        let between = parts.next().unwrap_or_default();
        let (mark, text) = block.split_once('\n').expect("a mark and lines");
        match mark {
            "sh" => found.push(Block {
                commands: text.to_owned(),
                output: None,
            }),
            _ => found.last_mut().expect("output follows commands").output = Some(text.to_owned()),
        }
        let _ = between;
    }
    found
}

/// Runs all blocks in one shell at the root of the repository; gives the output of each.
fn run(broker: &Broker, blocks: &[Block]) -> Vec<String> {
    let mut script = "set -euo pipefail\n".to_owned();
    for block in blocks {
        let _ = write!(script, "{}\necho '{END}'\n", block.commands);
    }
    let binary = millrace();
    let folder = binary.parent().expect("a folder").display().to_string();
    let script = script.replace(SERVER, broker.url());
    let script = script.replace("$PWD/target/release", &folder);
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(repository())
        .env("MILLRACE_SERVER", broker.url())
        .output()
        .expect("bash is there");
    let printed = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{errors}");
    printed.split(END).map(str::to_owned).collect()
}

/// Compares line for line; `…` in the README stands for anything on its line.
fn assert_matches(printed: &str, shown: &str, commands: &str) {
    let context = format!("{commands}printed\n{printed}\nand the README shows\n{shown}");
    let lines = (printed.lines().count(), shown.lines().count());
    assert_eq!(lines.0, lines.1, "{context}");
    for (printed, shown) in printed.lines().zip(shown.lines()) {
        assert!(
            matches(printed.trim_end(), shown.trim_end()),
            "{shown:?}: {context}"
        );
    }
}

fn matches(printed: &str, shown: &str) -> bool {
    let parts: Vec<&str> = shown.split('…').collect();
    let Some(mut rest) = printed.strip_prefix(parts[0]) else {
        return false;
    };
    for part in &parts[1..] {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    parts.len() == 1 && rest.is_empty()
        || parts.len() > 1 && (parts.last() == Some(&"") || rest.is_empty())
}
