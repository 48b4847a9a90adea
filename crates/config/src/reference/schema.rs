//! JSON Schema of the types that schemars cannot derive, and the fields that serde accepts.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use crate::values::{DateText, DurationText, Part, SecretText, UrlOr};

macro_rules! text_schema {
    ($type:ty, $name:literal) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "x-type": $name })
            }
        }
    };
}

text_schema!(DurationText, "duration");
text_schema!(DateText, "date");
text_schema!(Part, "string");
text_schema!(SecretText, "string");

impl<Table: JsonSchema> JsonSchema for UrlOr<Table> {
    fn schema_name() -> Cow<'static, str> {
        format!("UrlOr{}", Table::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "string" }, generator.subschema_for::<Table>()],
            "x-type": "URL or table"
        })
    }
}

/// Returns the fields that serde accepts in a table, in the order of their declaration.
pub(super) fn fields<'de, Table: Deserialize<'de>>() -> &'static [&'static str] {
    let mut fields: &[&str] = &[];
    let result = Table::deserialize(FieldRecorder(&mut fields));
    assert!(result.is_err() && !fields.is_empty(), "not a struct");
    fields
}

/// A deserializer that records the fields of a struct and then fails.
struct FieldRecorder<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldRecorder<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom("recorded"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
