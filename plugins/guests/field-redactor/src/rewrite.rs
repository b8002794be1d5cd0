//! Writes a JSON document anew with rules applied. Only containers on the way to a field are read; the rest is copied.

use std::fmt;

use millrace_plugin::Failure;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::pattern::{Pattern, Progress, start, step};

/// Deepest container that is looked into. `**` reads a document once a level, so the depth bounds the work.
const DEPTH_MAX: usize = 64;

/// What a rule does to a field.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// This JSON text takes the value's place.
    Mask(String),
    /// The field goes.
    Remove,
    /// The field gets this name.
    Rename(String),
}

/// Patterns with what to do where they end; the same index in both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) actions: Vec<Action>,
}

/// The document with the rules applied; `None` when they change nothing.
pub(crate) fn rewrite(rules: &Rules, text: &RawValue) -> Result<Option<Vec<u8>>, Failure> {
    let mut writer = Writer {
        rules,
        out: Vec::with_capacity(text.get().len()),
        changed: false,
    };
    writer.value(text, &start(&rules.patterns), 0)?;
    Ok(writer.changed.then_some(writer.out))
}

struct Writer<'r> {
    rules: &'r Rules,
    out: Vec<u8>,
    changed: bool,
}

/// What becomes of one field or element.
struct Fate<'r> {
    next: Vec<Progress>,
    value: Option<&'r Action>,
    name: Option<&'r str>,
}

impl<'r> Writer<'r> {
    fn value(&mut self, text: &RawValue, active: &[Progress], depth: usize) -> Result<(), Failure> {
        let first = text.get().as_bytes().first();
        let container = matches!(first, Some(b'{' | b'['));
        if active.is_empty() || !container {
            self.out.extend_from_slice(text.get().as_bytes());
            return Ok(());
        }
        if depth == DEPTH_MAX {
            return Err(Failure::reject(
                "too_deep",
                "the data is nested deeper than 64 levels",
            ));
        }
        if first == Some(&b'{') {
            self.object(text, active, depth)
        } else {
            self.array(text, active, depth)
        }
    }

    fn object(
        &mut self,
        text: &RawValue,
        active: &[Progress],
        depth: usize,
    ) -> Result<(), Failure> {
        let Members(members) = read(text)?;
        self.out.push(b'{');
        let mut first = true;
        for (key, value) in &members {
            let fate = self.fate(active, key);
            if matches!(fate.value, Some(Action::Remove)) {
                self.changed = true;
                continue;
            }
            self.separate(&mut first);
            let name = self.name(key, &fate, &members)?;
            serde_json::to_writer(&mut self.out, name).expect("a vector takes every write");
            self.out.push(b':');
            self.member(value, &fate, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn array(&mut self, text: &RawValue, active: &[Progress], depth: usize) -> Result<(), Failure> {
        let elements: Vec<&RawValue> = read(text)?;
        self.out.push(b'[');
        let mut first = true;
        for (index, value) in elements.iter().enumerate() {
            let fate = self.fate(active, &index.to_string());
            if matches!(fate.value, Some(Action::Remove)) {
                self.changed = true;
                continue;
            }
            self.separate(&mut first);
            self.member(value, &fate, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn member(&mut self, value: &RawValue, fate: &Fate<'_>, depth: usize) -> Result<(), Failure> {
        if let Some(Action::Mask(mask)) = fate.value {
            self.changed = true;
            self.out.extend_from_slice(mask.as_bytes());
            return Ok(());
        }
        self.value(value, &fate.next, depth + 1)
    }

    fn separate(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(b',');
        }
    }

    /// The name of a member after renames. A name that is taken fails the event: two members of one name would hide one.
    fn name<'k>(
        &mut self,
        key: &'k str,
        fate: &Fate<'k>,
        members: &[(String, &RawValue)],
    ) -> Result<&'k str, Failure> {
        let Some(name) = fate.name.filter(|name| *name != key) else {
            return Ok(key);
        };
        if members.iter().any(|(taken, _)| taken == name) {
            return Err(Failure::reject(
                "name_taken",
                &format!("cannot rename {key:?}: the object has a {name:?} already"),
            ));
        }
        self.changed = true;
        Ok(name)
    }

    fn fate(&self, active: &[Progress], key: &str) -> Fate<'r> {
        let mut ended = Vec::new();
        let next = step(&self.rules.patterns, active, key, &mut ended);
        let actions = || ended.iter().map(|pattern| &self.rules.actions[*pattern]);
        Fate {
            next,
            value: actions().find(|action| !matches!(action, Action::Rename(_))),
            name: actions().find_map(|action| {
                if let Action::Rename(to) = action {
                    Some(to.as_str())
                } else {
                    None
                }
            }),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Result<T, Failure> {
    serde_json::from_str(text.get())
        .map_err(|error| Failure::reject("invalid_data", &error.to_string()))
}

/// The members of an object in their order, doubles included, with values as they are written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}
