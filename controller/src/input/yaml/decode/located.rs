//! A value that remembers where it was written.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::input::source::Span;

/// Asked for as a struct of this name, a [`super::Decoder`] gives span and value.
pub(super) const NAME: &str = "$located";
/// The fields of that struct.
pub(super) const FIELDS: &[&str] = &["start", "len", "value"];

/// A value and where it stands. Only a tree can be decoded into it; elsewhere the place is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Located<T>, D::Error> {
        deserializer.deserialize_struct(NAME, FIELDS, LocatedVisitor(PhantomData))
    }
}

struct LocatedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for LocatedVisitor<T> {
    type Value = Located<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its place")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Located<T>, A::Error> {
        let mut next = |name: &'static str| match access.next_key::<String>()? {
            Some(key) if key == name => access.next_value::<u32>(),
            _ => Err(A::Error::missing_field(name)),
        };
        let span = Span { start: next("start")?, len: next("len")? };
        match access.next_key::<String>()? {
            Some(_) => Ok(Located { value: access.next_value()?, span }),
            None => Err(A::Error::missing_field("value")),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
