//! Query parameters.

use std::str::FromStr;

use millrace_model::limit;
use percent_encoding::percent_decode_str;

use crate::problem::Failure;

/// A parameter that a route knows; `routes.rs` lists them, and the served document shows them.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) about: &'static str,
}

/// What a parameter holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number between two others, which belong to it.
    Number(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words, with commas between them.
    Words(&'static [&'static str]),
    /// Anything.
    Text,
}

/// `?limit=`.
pub(crate) const LIMIT: Param = Param {
    name: "limit",
    kind: Kind::Number(1, limit::PAGE_ITEMS_MAX as u64),
    about: "Most items of the page.",
};

/// The parameters of a list by name.
pub(crate) const PAGE: &[Param] = &[
    Param {
        name: "prefix",
        kind: Kind::Text,
        about: "Only names that begin so.",
    },
    LIMIT,
    Param {
        name: "after",
        kind: Kind::Text,
        about: "Only names after this one: the `next` of the page before.",
    },
];

/// Largest sequence that is asked after: what every JSON reader takes for a whole number.
const SEQUENCE_MAX: u64 = (1 << 53) - 1;

/// `?after=` of a list by sequence.
pub(crate) const AFTER_SEQUENCE: Param = Param {
    name: "after",
    kind: Kind::Number(0, SEQUENCE_MAX),
    about: "Only larger sequences: the `next` of the page before.",
};

/// The parameters of a list by sequence.
pub(crate) const SEQUENCE_PAGE: &[Param] = &[LIMIT, AFTER_SEQUENCE];

/// The parameters of a request, decoded and checked by kind.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads `text`, in which only `known` parameters may stand, each once.
    ///
    /// # Errors
    /// 400 `unknown_parameter` or `invalid_parameter`.
    pub(crate) fn parse(text: &str, known: &'static [Param]) -> Result<Self, Failure> {
        let mut query = Self::default();
        if text.is_empty() {
            return Ok(query);
        }
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            let param = known.iter().find(|param| param.name == name);
            let param = param.ok_or_else(|| unknown(&name))?;
            if query.get(param.name).is_some() {
                return Err(invalid(param.name, "must be given once"));
            }
            param
                .kind
                .check(&value)
                .map_err(|detail| invalid(param.name, &detail))?;
            query.0.push((param.name, value));
        }
        Ok(query)
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a flag is up.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// A number. What does not fit has been refused by [`Query::parse`].
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    /// `?limit=`, or the usual page.
    pub(crate) fn limit(&self) -> u32 {
        self.number("limit").unwrap_or(limit::PAGE_ITEMS_DEFAULT)
    }
}

impl Kind {
    fn check(self, value: &str) -> Result<(), String> {
        let word = |words: &[&str], value: &str| words.contains(&value);
        match self {
            Self::Text => Ok(()),
            Self::Flag if word(&["true", "false"], value) => Ok(()),
            Self::Flag => Err("must be true or false".to_owned()),
            Self::Number(least, most) => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let number = value.parse().ok().filter(|_| digits);
                match number {
                    Some(number) if (least..=most).contains(&number) => Ok(()),
                    _ => Err(format!("must be a whole number, {least} to {most}")),
                }
            }
            Self::Word(words) if word(words, value) => Ok(()),
            Self::Words(words) if value.split(',').all(|one| word(words, one)) => Ok(()),
            Self::Word(words) => Err(format!("must be one of {}", words.join(", "))),
            Self::Words(words) => Err(format!("must be some of {}, with commas", words.join(", "))),
        }
    }
}

fn decode(text: &str) -> Result<String, Failure> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    let decoded = decoded.map_err(|_| {
        Failure::bad_request(
            "invalid_parameter",
            "the query is not UTF-8, percent-encoded",
        )
    })?;
    Ok(decoded.into_owned())
}

fn unknown(name: &str) -> Failure {
    let detail = format!("there is no parameter {name:?} here");
    Failure::bad_request("unknown_parameter", detail)
}

fn invalid(name: &str, detail: &str) -> Failure {
    Failure::bad_request("invalid_parameter", format!("{name} {detail}")).at(name)
}
