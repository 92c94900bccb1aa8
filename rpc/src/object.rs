//! The parameters of one call, read strictly.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::method::{LATER_CREATE_OPTIONS, Method, Param};
use crate::nearest::nearest;
use crate::{Choice, RpcError, Wording, bdev_name, quote};

/// From here on a float is taken for an integer that is too large: 2^63.
const INTEGER_LIMIT: f64 = 9_223_372_036_854_775_808.0;

/// A call's named parameters: each one known to the method, none there twice.
///
/// Every reader names a parameter of the method; `None` means that it was left out.
pub(crate) struct Object {
    method: &'static Method,
    entries: Vec<(String, Value)>,
}

impl Object {
    /// Reads the text of `params`; nothing at all and `null` stand for no parameters.
    pub(crate) fn parse(method: &'static Method, json: &str) -> Result<Self, RpcError> {
        let entries = if json.trim().is_empty() {
            Vec::new()
        } else {
            match serde_json::from_str(json) {
                Ok(Entries(entries)) => entries,
                Err(error) => return Err(unreadable(method, json, &error)),
            }
        };
        for (index, (name, _)) in entries.iter().enumerate() {
            if method.param(name).is_none() {
                return Err(not_a_parameter(method, name));
            }
            if entries.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(RpcError::invalid(Wording {
                    subject: name,
                    wrong: "given more than once",
                    expected: "each parameter at most once",
                    found: "it again",
                    advice: "leave one out",
                }));
            }
        }
        Ok(Self { method, entries })
    }

    fn get(&self, name: &str) -> Option<&Value> {
        debug_assert!(self.method.param(name).is_some(), "{name} is not listed");
        let mut entries = self.entries.iter();
        entries.find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Refuses the call if the parameter was left out.
    pub(crate) fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, RpcError> {
        value.ok_or_else(|| {
            let param = self.method.param(name);
            RpcError::invalid(Wording {
                subject: name,
                wrong: "missing",
                expected: with_article(param.map_or("value", |param| param.kind)),
                found: "nothing",
                advice: &format!("{} cannot do without it", self.method.name),
            })
        })
    }

    /// A string.
    pub(crate) fn string(&self, name: &str) -> Result<Option<&str>, RpcError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(name, "a string", other)),
        }
    }

    /// A name that a bdev can have.
    pub(crate) fn bdev_name(&self, name: &str) -> Result<Option<&str>, RpcError> {
        let found = self.string(name)?;
        if let Some(text) = found {
            bdev_name::check(name, text)?;
        }
        Ok(found)
    }

    /// An array of strings.
    pub(crate) fn strings(&self, name: &str) -> Result<Option<Vec<&str>>, RpcError> {
        let items = match self.get(name) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(wrong_type(name, "an array of strings", other)),
        };
        let string = |(index, item): (usize, &'_ Value)| match item {
            Value::String(_) => Ok(()),
            other => Err(wrong_type(&format!("{name}[{index}]"), "a string", other)),
        };
        items.iter().enumerate().try_for_each(string)?;
        Ok(Some(items.iter().filter_map(Value::as_str).collect()))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, RpcError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_type(name, "true or false", other)),
        }
    }

    /// An integer in a range.
    pub(crate) fn integer(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, RpcError> {
        let value = match self.get(name) {
            None => return Ok(None),
            Some(value @ Value::Number(_)) => value,
            Some(other) => return Err(wrong_type(name, "an integer", other)),
        };
        // JSON integers beyond 64 bits arrive as floats too: those are out of range.
        if value.is_f64() && value.as_f64().is_some_and(|float| float.abs() < INTEGER_LIMIT) {
            return Err(wrong_type(name, "an integer", value));
        }
        match value.as_u64() {
            Some(value) if range.contains(&value) => Ok(Some(value)),
            _ => Err(RpcError::invalid(Wording {
                subject: name,
                wrong: "out of range",
                expected: &format!("{} to {}", range.start(), range.end()),
                found: &value.to_string(),
                advice: "",
            })),
        }
    }

    /// One of a few words; the parameter's default where it is left out.
    pub(crate) fn choice<T: Choice>(&self, name: &str) -> Result<T, RpcError> {
        let given = self.string(name)?;
        let default = self.method.param(name).and_then(|param| param.default);
        let word = given.or(default).unwrap_or_default();
        let known = T::WORDS.iter().find(|(known, _)| *known == word);
        if let Some((_, Some(value))) = known {
            return Ok(*value);
        }
        let available = one_of(T::WORDS.iter().filter(|(_, v)| v.is_some()).map(|(w, _)| *w));
        let wrong = match (known, given) {
            (Some(_), Some(_)) => format!("'{word}' is not yet available in this version"),
            (Some(_), None) => {
                format!("'{word}' (the default) is not yet available in this version")
            }
            (None, _) => "no such value".to_owned(),
        };
        Err(RpcError::invalid(Wording {
            subject: name,
            wrong: &wrong,
            expected: &available,
            found: &given.map_or("nothing given".to_owned(), quote),
            advice: &format!("give {name}={available}"),
        }))
    }
}

/// Key and value pairs as they came, repeated keys included: a map type would drop them.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Entries, E> {
        Ok(Entries(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

/// The text is not JSON, or not an object.
fn unreadable(method: &Method, json: &str, error: &serde_json::Error) -> RpcError {
    let advice = format!("give an object with {}", one_of(names(method)));
    let not_an_object = serde_json::from_str::<Value>(json).ok();
    RpcError::invalid(match &not_an_object {
        Some(other) => Wording {
            subject: "params",
            wrong: "not an object",
            expected: "named parameters",
            found: &describe(other),
            advice: &advice,
        }
        .to_string(),
        None => Wording {
            subject: "params",
            wrong: "not JSON",
            expected: "an object",
            found: &error.to_string(),
            advice: &advice,
        }
        .to_string(),
    })
}

/// A name that the method does not know, or not yet.
fn not_a_parameter(method: &Method, name: &str) -> RpcError {
    let later: &[&str] = if method.name == crate::method::CREATE.name { LATER_CREATE_OPTIONS } else { &[] };
    if later.contains(&name) {
        return RpcError::invalid(Wording {
            subject: name,
            wrong: "not yet available in this version",
            advice: "leave it out",
            ..Wording::default()
        });
    }
    let known = method.params.iter().map(|param| param.name);
    let advice = match nearest(name, known.chain(later.iter().copied())) {
        Some(near) => format!("did you mean {near}?"),
        None => "leave it out".to_owned(),
    };
    RpcError::invalid(Wording {
        subject: &quote(name),
        wrong: "unknown parameter",
        expected: &one_of(names(method)),
        found: &quote(name),
        advice: &advice,
    })
}

fn wrong_type(subject: &str, expected: &str, found: &Value) -> RpcError {
    RpcError::invalid(Wording { subject, wrong: "wrong type", expected, found: &describe(found), advice: "" })
}

fn names(method: &Method) -> impl Iterator<Item = &'static str> + use<> {
    let params: &'static [Param] = method.params;
    params.iter().map(|param| param.name)
}

/// `a, b or c`.
fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

fn with_article(kind: &str) -> &str {
    match kind {
        "string" => "a string",
        "array of strings" => "an array of strings",
        "integer" => "an integer",
        "boolean" => "true or false",
        other => other,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {}", quote(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
