//! A serde deserializer over the tree whose errors know their place.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::located;
use crate::input::source::Span;
use crate::input::yaml::node::{Key, Node, Value};

/// Why a value could not be decoded.
#[derive(Debug)]
pub(super) struct Fail {
    /// What is wrong.
    pub(super) cause: Cause,
    /// Where.
    pub(super) span: Option<Span>,
    /// The key or item without which decoding can go on.
    pub(super) drop: Option<Span>,
    /// The collection that it is dropped from.
    pub(super) container: Option<Span>,
}

/// What is wrong.
#[derive(Debug)]
pub(super) enum Cause {
    /// As a type's own check puts it.
    Custom(String),
    /// Something else was expected than was found.
    Expected(String, Option<Box<Node>>),
    /// A key that must be there is not.
    Missing(&'static str),
    /// A key or variant that there is not: what, its name, and those there are.
    Unknown(&'static str, String, &'static [&'static str]),
}

impl Fail {
    fn new(cause: Cause) -> Fail {
        Fail { cause, span: None, drop: None, container: None }
    }

    fn at(mut self, node: &Node) -> Fail {
        if self.span.is_none() {
            self.span = Some(super::head(node));
            if let Cause::Expected(_, found @ None) = &mut self.cause {
                let shallow = match &node.value {
                    Value::List(_) => Value::List(Vec::new()),
                    Value::Map(_) => Value::Map(Vec::new()),
                    other => other.clone(),
                };
                *found = Some(Box::new(Node { span: super::head(node), value: shallow }));
            }
        }
        self
    }

    fn within(mut self, drop: Span, container: &Node) -> Fail {
        if self.drop.is_none() {
            self.drop = Some(drop);
            self.container = Some(super::head(container));
        }
        self
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.cause)
    }
}

impl std::error::Error for Fail {}

impl de::Error for Fail {
    fn custom<T: fmt::Display>(message: T) -> Fail {
        Fail::new(Cause::Custom(message.to_string()))
    }

    fn invalid_type(_unexpected: Unexpected<'_>, expected: &dyn Expected) -> Fail {
        Fail::new(Cause::Expected(in_words(&expected.to_string()), None))
    }

    fn invalid_value(_unexpected: Unexpected<'_>, expected: &dyn Expected) -> Fail {
        Fail::new(Cause::Expected(in_words(&expected.to_string()), None))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Fail {
        Fail::new(Cause::Unknown("value", variant.to_owned(), expected))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Fail {
        Fail::new(Cause::Unknown("key", field.to_owned(), expected))
    }

    fn missing_field(field: &'static str) -> Fail {
        Fail::new(Cause::Missing(field))
    }
}

/// Serde's names of types in the words of people who write YAML.
fn in_words(expected: &str) -> String {
    match expected {
        "a string" | "a borrowed string" | "string" => "a text".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "a map" => "a mapping (`key: value`)".into(),
        "u8" | "u16" | "u32" | "u64" | "usize" => format!("a whole number from 0 to {}", largest(expected)),
        "i64" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        other if other.starts_with("struct ") => "a mapping (`key: value`)".into(),
        other if other.starts_with("enum ") => "one of the known values".into(),
        other => other.to_owned(),
    }
}

fn largest(unsigned: &str) -> u64 {
    match unsigned {
        "u8" => u8::MAX.into(),
        "u16" => u16::MAX.into(),
        "u32" => u32::MAX.into(),
        _ => u64::MAX,
    }
}

/// Decodes one node.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'a> {
    pub(super) node: &'a Node,
    pub(super) left: &'a Left<'a>,
}

/// What was reported already, by its place.
pub(super) struct Left<'a> {
    /// Keys and items that are left out.
    pub(super) skip: &'a HashSet<Span>,
    /// Scalars that are taken for texts, as written.
    pub(super) texts: &'a HashMap<Span, String>,
}

impl<'a> Decoder<'a> {
    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fail> {
        if let Some(text) = self.left.texts.get(&self.node.span).filter(|_| !self.node.is_collection()) {
            return visitor.visit_str(text);
        }
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => match u64::try_from(*value) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { from: self, items: items.iter() }),
            Value::Map(entries) => visitor.visit_map(Entries { from: self, entries, next: 0 }),
        }
    }
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Fail;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fail> {
        self.visit(visitor).map_err(|fail| fail.at(self.node))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fail> {
        if self.node.value == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fail> {
        visitor.visit_newtype_struct(self).map_err(|fail| fail.at(self.node))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fail> {
        if name == located::NAME {
            return visitor.visit_map(Place { of: self, field: 0 }).map_err(|fail| fail.at(self.node));
        }
        match &self.node.value {
            Value::Map(_) => self.deserialize_any(visitor),
            // Serde would also take a list of the fields in order: nobody means that.
            _ => Err(Fail::new(Cause::Expected(in_words("a map"), None)).at(self.node)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fail> {
        let variant = match &self.node.value {
            Value::Text(name) => Variant { name, span: self.node.span, value: None },
            Value::Map(entries) => {
                let mut left = entries.iter().filter(|(key, _)| !self.left.skip.contains(&key.span));
                match (left.next(), left.next()) {
                    (Some((key, value)), None) => Variant {
                        name: &key.name,
                        span: key.span,
                        value: Some(Decoder { node: value, left: self.left }),
                    },
                    _ => return Err(Fail::new(Cause::Expected("exactly one key".into(), None)).at(self.node)),
                }
            }
            _ => return Err(Fail::new(Cause::Expected("a text or a mapping with one key".into(), None)).at(self.node)),
        };
        visitor.visit_enum(variant).map_err(|fail| fail.at(self.node))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fail> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

struct Items<'a> {
    from: Decoder<'a>,
    items: std::slice::Iter<'a, Node>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fail;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fail> {
        let left = self.from.left;
        let Some(node) = self.items.find(|item| !left.skip.contains(&item.span)) else { return Ok(None) };
        let fail = |fail: Fail| fail.at(node).within(node.span, self.from.node);
        seed.deserialize(Decoder { node, left }).map(Some).map_err(fail)
    }
}

struct Entries<'a> {
    from: Decoder<'a>,
    entries: &'a [(Key, Node)],
    next: usize,
}

impl Entries<'_> {
    /// Skipped ones are left out, and so are repetitions, which were reported when the file was read.
    fn left_out(&self, at: usize) -> bool {
        let (key, _) = &self.entries[at];
        self.from.left.skip.contains(&key.span)
            || self.entries[..at].iter().any(|(earlier, _)| earlier.name == key.name)
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fail;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fail> {
        while self.next < self.entries.len() && self.left_out(self.next) {
            self.next += 1;
        }
        let Some((key, _)) = self.entries.get(self.next) else { return Ok(None) };
        let node = Node { span: key.span, value: Value::Text(key.name.clone()) };
        let fail = |fail: Fail| fail.at(&node).within(key.span, self.from.node);
        seed.deserialize(Decoder { node: &node, left: self.from.left }).map(Some).map_err(fail)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fail> {
        let (key, node) = &self.entries[self.next];
        self.next += 1;
        let place = if node.value == Value::Null { key.span } else { node.span };
        let fail = |fail: Fail| fail.at(&Node { span: place, ..node.clone() }).within(key.span, self.from.node);
        seed.deserialize(Decoder { node, left: self.from.left }).map_err(fail)
    }
}

/// What [`super::Located`] asks for.
struct Place<'a> {
    of: Decoder<'a>,
    field: usize,
}

impl<'de> MapAccess<'de> for Place<'_> {
    type Error = Fail;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fail> {
        let Some(name) = located::FIELDS.get(self.field) else { return Ok(None) };
        let name: StrDeserializer<'_, Fail> = (*name).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fail> {
        self.field += 1;
        let span = super::head(self.of.node);
        let number = |n: u32| -> U32Deserializer<Fail> { n.into_deserializer() };
        match self.field {
            1 => seed.deserialize(number(span.start)),
            2 => seed.deserialize(number(span.len)),
            _ => seed.deserialize(self.of),
        }
    }
}

struct Variant<'a> {
    name: &'a str,
    span: Span,
    value: Option<Decoder<'a>>,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Fail;
    type Variant = Variant<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Variant<'a>), Fail> {
        let node = Node { span: self.span, value: Value::Text(self.name.to_owned()) };
        let (skip, texts) = (HashSet::new(), HashMap::new());
        let left = Left { skip: &skip, texts: &texts };
        let value = seed.deserialize(Decoder { node: &node, left: &left }).map_err(|fail| fail.at(&node))?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fail;

    fn unit_variant(self) -> Result<(), Fail> {
        match self.value {
            None => Ok(()),
            Some(value) => Err(Fail::new(Cause::Custom(format!("`{}` takes no value", self.name))).at(value.node)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fail> {
        let none = || Fail::new(Cause::Custom(format!("`{}` needs a value: `{}: ...`", self.name, self.name)));
        seed.deserialize(self.value.ok_or_else(none)?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fail> {
        self.struct_variant(&[], visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fail> {
        let none = || Fail::new(Cause::Custom(format!("`{}` needs a value: `{}: ...`", self.name, self.name)));
        self.value.ok_or_else(none)?.deserialize_any(visitor)
    }
}
