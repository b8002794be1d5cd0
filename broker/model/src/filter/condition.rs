//! One condition of a `match` filter: a value, or an operator with its operand.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::filter::number::Number;
use crate::filter::{invalid, report};
use crate::problem::{self, Problem};

/// The operators; `$or` allows none of them as the name of a property, as in SNS.
pub(super) const OPERATORS: [&str; 7] = [
    "anything-but",
    "cidr",
    "equals-ignore-case",
    "exists",
    "numeric",
    "prefix",
    "suffix",
];

/// A condition on one property.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// The property is there, with a value that is neither null nor the empty text.
    Present,
    /// It is not.
    Absent,
    /// A value matches.
    Is(Matcher),
    /// A value that is not null matches none of these.
    AnythingBut(Box<[Matcher]>),
}

/// What a value may be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Matcher {
    Null,
    Boolean(bool),
    Number(Number),
    Text(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    /// In lower case.
    IgnoreCase(Box<str>),
    /// All of them hold.
    Numeric(Box<[(Comparison, Number)]>),
    /// The network's address and the bits of it that count.
    Network(IpAddr, u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value that is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaf<'a> {
    Null,
    Boolean(bool),
    Number(Number),
    Text(&'a str),
    /// The value of an attribute. In the headers of a request every attribute is text, so a number or a
    /// boolean in a filter is compared with what the text says.
    Attribute(&'a str),
}

impl<'a> Leaf<'a> {
    /// A JSON value that is neither object nor array.
    pub(super) fn from_json(value: &'a Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Boolean(*value)),
            Value::Number(number) => Number::from_json(number).map(Self::Number),
            Value::String(text) => Some(Self::Text(text)),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Whether `exists` counts it.
    pub(super) fn is_present(self) -> bool {
        !matches!(self, Self::Null | Self::Text("") | Self::Attribute(""))
    }

    fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) | Self::Attribute(text) => Some(text),
            _ => None,
        }
    }

    fn number(self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(number),
            Self::Attribute(text) => Number::from_text(text),
            _ => None,
        }
    }

    fn boolean(self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(value),
            Self::Attribute(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl Condition {
    /// Whether a value satisfies the condition. `Absent` is not told from a value.
    pub(super) fn takes(&self, leaf: Leaf<'_>) -> bool {
        match self {
            Self::Present => leaf.is_present(),
            Self::Absent => false,
            Self::Is(matcher) => matcher.takes(leaf),
            Self::AnythingBut(matchers) => {
                !matches!(leaf, Leaf::Null) && !matchers.iter().any(|matcher| matcher.takes(leaf))
            }
        }
    }

    /// How many values are compared.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::AnythingBut(matchers) => matchers.len(),
            _ => 1,
        }
    }

    /// Reads a condition; reports what is wrong with it.
    pub(super) fn parse(value: &Value, pointer: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let parsed = match value {
            Value::Object(operation) => parse_operation(operation, pointer),
            value => exact(value, pointer).map(Self::Is),
        };
        parsed.map_err(|problem| report(problems, problem)).ok()
    }
}

impl Matcher {
    fn takes(&self, leaf: Leaf<'_>) -> bool {
        match self {
            Self::Null => matches!(leaf, Leaf::Null),
            Self::Boolean(value) => leaf.boolean() == Some(*value),
            Self::Number(number) => leaf.number() == Some(*number),
            Self::Text(own) => leaf.text() == Some(own),
            Self::Prefix(prefix) => leaf.text().is_some_and(|text| text.starts_with(&**prefix)),
            Self::Suffix(suffix) => leaf.text().is_some_and(|text| text.ends_with(&**suffix)),
            Self::IgnoreCase(lower) => leaf
                .text()
                .is_some_and(|text| text.chars().flat_map(char::to_lowercase).eq(lower.chars())),
            Self::Numeric(comparisons) => leaf.number().is_some_and(|number| {
                comparisons
                    .iter()
                    .all(|(comparison, operand)| comparison.holds(number, *operand))
            }),
            Self::Network(network, bits) => leaf.text().is_some_and(|text| {
                text.parse()
                    .is_ok_and(|address| is_within(address, *network, *bits))
            }),
        }
    }
}

impl Comparison {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "=" => Some(Self::Equal),
            "<" => Some(Self::Less),
            "<=" => Some(Self::LessOrEqual),
            ">" => Some(Self::Greater),
            ">=" => Some(Self::GreaterOrEqual),
            _ => None,
        }
    }

    fn holds(self, value: Number, operand: Number) -> bool {
        match self {
            Self::Equal => value == operand,
            Self::Less => value < operand,
            Self::LessOrEqual => value <= operand,
            Self::Greater => value > operand,
            Self::GreaterOrEqual => value >= operand,
        }
    }
}

/// Whether the first `bits` bits of the addresses are the same; never across families.
fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(two)) => {
            (one.to_bits() ^ two.to_bits()).leading_zeros() >= bits
        }
        (IpAddr::V6(one), IpAddr::V6(two)) => {
            (one.to_bits() ^ two.to_bits()).leading_zeros() >= bits
        }
        _ => false,
    }
}

fn parse_operation(operation: &Map<String, Value>, pointer: &str) -> Result<Condition, Problem> {
    let mut members = operation.iter();
    let (Some((operator, operand)), None) = (members.next(), members.next()) else {
        return Err(invalid(pointer, "must have exactly one operator"));
    };
    let pointer = problem::child(pointer, operator);
    match (operator.as_str(), operand) {
        ("exists", Value::Bool(true)) => Ok(Condition::Present),
        ("exists", Value::Bool(false)) => Ok(Condition::Absent),
        ("exists", _) => Err(invalid(pointer, "must be true or false")),
        ("anything-but", operand) => parse_anything_but(operand, &pointer),
        ("numeric", operand) => parse_numeric(operand, &pointer).map(Condition::Is),
        ("cidr", operand) => parse_network(operand, &pointer).map(Condition::Is),
        _ => parse_text_operation(operator, operand, &pointer).map(Condition::Is),
    }
}

fn parse_text_operation(
    operator: &str,
    operand: &Value,
    pointer: &str,
) -> Result<Matcher, Problem> {
    let matcher = match operator {
        "prefix" => Matcher::Prefix,
        "suffix" => Matcher::Suffix,
        "equals-ignore-case" => |text: Box<str>| Matcher::IgnoreCase(text.to_lowercase().into()),
        _ => {
            let detail = format!(
                "unknown operator: the operators are {}",
                OPERATORS.join(", ")
            );
            return Err(invalid(pointer, detail));
        }
    };
    match operand {
        Value::String(text) if !text.is_empty() => Ok(matcher(text.as_str().into())),
        _ => Err(invalid(pointer, "must be a string that is not empty")),
    }
}

fn parse_anything_but(operand: &Value, pointer: &str) -> Result<Condition, Problem> {
    let matchers = match operand {
        Value::Array(items) if items.is_empty() => {
            return Err(invalid(pointer, "must have at least one value"));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items
                .map(|(index, item)| exact(item, &problem::child(pointer, &index.to_string())))
                .collect::<Result<_, _>>()?
        }
        Value::Object(operation) => [parse_inner_operation(operation, pointer)?].into(),
        value => [exact(value, pointer)?].into(),
    };
    Ok(Condition::AnythingBut(matchers))
}

/// SNS allows `prefix` inside `anything-but`; the other comparisons of text are as clear.
fn parse_inner_operation(
    operation: &Map<String, Value>,
    pointer: &str,
) -> Result<Matcher, Problem> {
    match parse_operation(operation, pointer)? {
        Condition::Is(
            matcher @ (Matcher::Prefix(_) | Matcher::Suffix(_) | Matcher::IgnoreCase(_)),
        ) => Ok(matcher),
        _ => {
            let detail = "takes a value, a list of values, or prefix, suffix or equals-ignore-case";
            Err(invalid(pointer, detail))
        }
    }
}

fn exact(value: &Value, pointer: &str) -> Result<Matcher, Problem> {
    match value {
        Value::Null => Ok(Matcher::Null),
        Value::Bool(value) => Ok(Matcher::Boolean(*value)),
        Value::String(text) => Ok(Matcher::Text(text.as_str().into())),
        Value::Number(number) => Number::from_json(number)
            .map(Matcher::Number)
            .ok_or_else(|| invalid(pointer, "the number is too large")),
        Value::Array(_) | Value::Object(_) => Err(invalid(
            pointer,
            "must be a string, a number, true, false or null",
        )),
    }
}

/// `["=", 5]`, `["<", 5]`, or a range from below: `[">", 0, "<=", 5]`.
fn parse_numeric(operand: &Value, pointer: &str) -> Result<Matcher, Problem> {
    const GRAMMAR: &str = "must be [\"=\", number], one of <, <=, > and >= with its number, \
                           or a range as in [\">\", 0, \"<=\", 5]";
    let items = operand.as_array().map(Vec::as_slice).unwrap_or_default();
    let comparisons = match items {
        [operator, number] => parse_comparison(operator, number).map(|one| vec![one]),
        [from, low, to, high] => parse_comparison(from, low)
            .zip(parse_comparison(to, high))
            .filter(|(low, high)| is_range(low.0, high.0))
            .map(|(low, high)| vec![low, high]),
        _ => None,
    };
    let comparisons = comparisons.ok_or_else(|| invalid(pointer, GRAMMAR))?;
    if let [low, high] = comparisons[..]
        && low.1 >= high.1
    {
        return Err(invalid(
            pointer,
            "the lower end must be less than the upper end",
        ));
    }
    Ok(Matcher::Numeric(comparisons.into()))
}

fn is_range(from: Comparison, to: Comparison) -> bool {
    use Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual};
    matches!(from, Greater | GreaterOrEqual) && matches!(to, Less | LessOrEqual)
}

fn parse_comparison(operator: &Value, number: &Value) -> Option<(Comparison, Number)> {
    let Value::Number(number) = number else {
        return None;
    };
    Comparison::parse(operator.as_str()?).zip(Number::from_json(number))
}

/// An address, a slash and a number of bits. Bits of the address past those do not count.
fn parse_network(operand: &Value, pointer: &str) -> Result<Matcher, Problem> {
    let network = operand.as_str().and_then(read_network);
    let (address, bits) = network.ok_or_else(|| {
        invalid(
            pointer,
            "must be a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"",
        )
    })?;
    Ok(Matcher::Network(address, bits))
}

fn read_network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    if !bits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse().ok().filter(|bits| *bits <= most)?;
    Some((address, bits))
}
