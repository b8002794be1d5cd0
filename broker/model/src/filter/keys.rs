//! Key filters: AMQP topic patterns on the event's `routingkey`.

use crate::event::{Attribute, Event};
use crate::filter::check_terms;
use crate::limit;
use crate::problem::Problem;

/// The patterns of a filter; any of them may match.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Keys(Vec<Pattern>);

/// A pattern, word for word.
#[derive(Clone, Debug, PartialEq)]
struct Pattern(Box<[Word]>);

#[derive(Clone, Debug, PartialEq)]
enum Word {
    /// Exactly this word.
    Literal(Box<str>),
    /// `*`: exactly one word, whatever it is.
    One,
    /// `#`: no word, or any number of them.
    Many,
}

impl Keys {
    pub(super) fn compile(keys: &[String], problems: &mut Vec<Problem>) -> Self {
        check_terms(keys, "/filter/keys", |_| Ok(()), problems);
        Self(keys.iter().map(|key| Pattern::new(key)).collect())
    }

    /// Whether a pattern matches the event's `routingkey`. An event without one counts as having the
    /// empty key, which has no words: only patterns of nothing but `#` match it. A key longer than AMQP
    /// allows matches nothing.
    pub(super) fn take(&self, event: &Event) -> bool {
        let key = event.extension("routingkey").map(Attribute::text);
        let key = key.as_deref().unwrap_or_default();
        key.len() <= limit::FILTER_TERM_BYTES_MAX
            && self.0.iter().any(|pattern| pattern.matches(key))
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let words = words(text).map(|word| match word {
            "*" => Word::One,
            "#" => Word::Many,
            literal => Word::Literal(literal.into()),
        });
        Self(words.collect())
    }

    /// Whether the pattern takes the whole key. On a mismatch only the last `#` takes one word more: what
    /// an earlier one could take instead, the last one reaches too. So the steps are bounded by words of
    /// the pattern times words of the key, however many `#` there are.
    fn matches(&self, key: &str) -> bool {
        let mut rest = words(key);
        let mut at = 0;
        let mut last_many = None;
        loop {
            let mut after = rest.clone();
            match (self.0.get(at), after.next()) {
                (Some(Word::Many), _) => {
                    at += 1;
                    last_many = Some((at, rest.clone()));
                    continue;
                }
                (Some(word), Some(text)) if word.takes(text) => {
                    at += 1;
                    rest = after;
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            let Some((resume, from)) = &mut last_many else {
                return false;
            };
            if from.next().is_none() {
                return false;
            }
            (at, rest) = (*resume, from.clone());
        }
    }
}

impl Word {
    fn takes(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *text,
            Self::One | Self::Many => true,
        }
    }
}

/// The words of a key or pattern. The empty text has none; between two dots there is an empty one.
fn words(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split('.').skip(usize::from(text.is_empty()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rules as they are said, at whatever cost.
    fn naive(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some((&"#", rest)), None) => naive(rest, key),
            (Some((&"#", rest)), Some((_, tail))) => naive(rest, key) || naive(pattern, tail),
            (Some(_), None) => false,
            (Some((word, rest)), Some((text, tail))) => {
                (*word == "*" || word == text) && naive(rest, tail)
            }
        }
    }

    #[test]
    fn amqp_topic_rules() {
        let cases = [
            ("order.*.eu", "order.new.eu", true),
            ("order.*.eu", "order.eu", false),
            ("order.*.eu", "order.a.b.eu", false),
            ("audit.#", "audit", true),
            ("audit.#", "audit.a.b.c", true),
            ("audit.#", "audits", false),
            ("#", "", true),
            ("#.#", "", true),
            ("*", "", false),
            ("*.#", "", false),
            ("#", "a.b", true),
            ("*", "a", true),
            ("*", "a.b", false),
            ("#.eu", "eu", true),
            ("#.eu", "a.eu.b.eu", true),
            ("#.eu", "a.eu.b", false),
            ("a.#.b.#.c", "a.b.c", true),
            ("a.#.b.#.c", "a.x.b.y.b.z.c", true),
            ("a.#.b.#.c", "a.c.b", false),
            ("#.*", "a", true),
            ("*.*.#", "a", false),
            ("a..b", "a..b", true),
            ("a.*.b", "a..b", true),
            ("a.b", "A.b", false),
            ("a*", "ab", false),
            ("*.orange.*", "quick.orange.rabbit", true),
            ("*.*.rabbit", "lazy.orange.elephant", false),
            ("lazy.#", "lazy.orange.new.rabbit", true),
        ];
        for (pattern, key, expected) in cases {
            assert_eq!(
                Pattern::new(pattern).matches(key),
                expected,
                "{pattern:?} on {key:?}"
            );
        }
    }

    #[test]
    fn many_hashes_cost_no_more_than_their_product() {
        let pattern = Pattern::new(&["#.a"; 60].join("."));
        let start = std::time::Instant::now();
        assert!(!pattern.matches(&["a"; 59].join(".")));
        assert!(!pattern.matches(&format!("{}.b", ["a"; 120].join("."))));
        assert!(start.elapsed().as_millis() < 500);
    }

    fn texts(words: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
        proptest::collection::vec(proptest::sample::select(words), 0..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn agrees_with_the_naive_rules(pattern in texts(&["a", "b", "*", "#", ""]), key in texts(&["a", "b", ""])) {
            // One empty word reads as the empty key, which has none.
            prop_assume!(pattern != [""] && key != [""]);
            let compiled = Pattern::new(&pattern.join("."));
            prop_assert_eq!(compiled.matches(&key.join(".")), naive(&pattern, &key));
        }
    }
}
