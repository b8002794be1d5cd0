//! Golden scripts: `tests/scripts/*.txt`, one behaviour each. Run with `UPDATE=1` to write the effects anew.

use std::fs;
use std::path::Path;

use crate::script;

#[test]
fn every_script_has_the_effects_that_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert!(files.len() >= 40, "scripts are missing");
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{file:?} says first what it shows");
        let effects = script::run(&text);
        if text != effects {
            wrong.push(format!("{file:?} should have\n{effects}"));
        }
        if text != effects && std::env::var("UPDATE").is_ok() {
            fs::write(&file, effects).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
