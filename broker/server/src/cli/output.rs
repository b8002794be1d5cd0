//! What commands print: a table for people, or the broker's JSON as it came.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Longest text of a table's cell, in characters; JSON output shows everything.
const CELL_CHARS_MAX: usize = 160;

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputForm {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Prints results on standard output in one form; everything else that a command says goes to standard error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    form: OutputForm,
}

impl Output {
    /// An output of this form.
    pub(crate) fn new(form: OutputForm) -> Self {
        Self { form }
    }

    /// Whether programs read this output.
    pub(crate) fn is_json(self) -> bool {
        self.form == OutputForm::Json
    }

    /// Prints one object: its fields line by line, in the order in which they are serialized.
    pub(crate) fn object(self, object: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(object)?;
        let Ordered(pairs) = serde_json::from_str(&text)?;
        self.print(object, || fields(&pairs))
    }

    /// Prints the objects of `answer[list]` as rows. A column is a field's name, or a path to one (`counters/ready`).
    pub(crate) fn rows(self, answer: &Value, list: &str, columns: &[&str]) -> Result<()> {
        self.print(answer, || {
            let none = Vec::new();
            let items = answer[list].as_array().unwrap_or(&none);
            let mut text = rows(items, columns);
            if let Some(next) = answer["next"].as_str() {
                text.push_str(&format!("\nmore: --after {next}"));
            }
            text
        })
    }

    /// Prints what was done: a sentence, or the JSON beside it.
    pub(crate) fn done(self, sentence: &str, json: &Value) -> Result<()> {
        self.print(json, || sentence.to_owned())
    }

    fn print(self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let mut line = match self.form {
            OutputForm::Json => serde_json::to_string_pretty(json)?,
            OutputForm::Table => text(),
        };
        line.push('\n');
        write(line.as_bytes())
    }
}

/// Writes to standard output. `println!` would panic when the reader has gone; this is an error that `main` forgives.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// A progress bar on standard error; invisible when that is no terminal, and for work too short to need one.
pub(crate) fn progress(length: u64, unit: &str, verb: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match unit {
        "bytes" => "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        _ => "{msg} {bar:30} {human_pos}/{human_len} {per_sec} {eta}",
    };
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length)
        .with_style(style)
        .with_message(verb)
}

fn table() -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn fields(pairs: &[(String, Value)]) -> String {
    let mut table = table();
    for (name, value) in pairs {
        table.add_row([name.clone(), cell(Some(value))]);
    }
    table.to_string()
}

/// An object's fields in the order in which they stand; serde_json's own map sorts them.
struct Ordered(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OrderedVisitor)
    }
}

struct OrderedVisitor;

impl<'de> Visitor<'de> for OrderedVisitor {
    type Value = Ordered;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, or nothing")
    }

    fn visit_unit<E>(self) -> Result<Ordered, E> {
        Ok(Ordered(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Ordered(pairs))
    }
}

fn rows(items: &[Value], columns: &[&str]) -> String {
    let mut table = table();
    let title = |column: &&str| column.replace(['/', '_'], " ");
    table.set_header(columns.iter().map(title));
    for item in items {
        table.add_row(
            columns
                .iter()
                .map(|column| cell(item.pointer(&format!("/{column}")))),
        );
    }
    table.to_string()
}

fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_follow_paths_and_mark_what_is_missing() {
        let items = [
            json!({"name": "a", "counters": {"ready": 3}}),
            json!({"name": "b"}),
        ];
        let text = rows(&items, &["name", "counters/ready"]);
        assert!(text.contains("│ name ┆ counters ready │"), "{text}");
        assert!(text.contains("│ a    ┆ 3              │"), "{text}");
        assert!(text.contains("│ b    ┆ –              │"), "{text}");
    }

    #[test]
    fn fields_keep_their_order() {
        let Ordered(pairs) = serde_json::from_str(r#"{"z": 1, "a": null}"#).expect("an object");
        assert_eq!(
            pairs,
            [("z".to_owned(), json!(1)), ("a".to_owned(), Value::Null)]
        );
    }

    #[test]
    fn long_cells_are_cut_between_characters() {
        let text = cell(Some(&Value::String("ü".repeat(500))));
        assert_eq!(text.chars().count(), CELL_CHARS_MAX + 1);
    }
}
