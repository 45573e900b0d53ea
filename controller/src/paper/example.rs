//! What templates get, made up from the form of it: a fleet's own templates are tried with that before anybody needs them.

use schemars::JsonSchema;
use serde_json::{Map, Value};

/// Two of a type: one where everything is there, and one where only what has to be is.
pub(super) fn both<T: JsonSchema>() -> [Value; 2] {
    let schema = schemars::generate::SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = schema.into_root_schema_for::<T>().to_value();
    [true, false].map(|full| Example { root: &schema, full }.of(&schema))
}

struct Example<'a> {
    root: &'a Value,
    full: bool,
}

impl Example<'_> {
    fn of(&self, schema: &Value) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.of(self.root.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null));
        }
        if let Some(any) = schema["anyOf"].as_array() {
            let is_null = |schema: &&Value| schema["type"] == "null";
            return match any.iter().find(|schema| is_null(schema) != self.full) {
                Some(schema) => self.of(schema),
                None => Value::Null,
            };
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if types.contains(&"null") && !self.full {
            return Value::Null;
        }
        match types.first().copied() {
            Some("object") => {
                let properties = schema["properties"].as_object().into_iter().flatten();
                Value::Object(properties.map(|(name, schema)| (name.clone(), self.of(schema))).collect::<Map<_, _>>())
            }
            Some("array") => {
                let least = schema["minItems"].as_u64().unwrap_or(0).max(u64::from(self.full));
                (0..least).map(|_| self.of(&schema["items"])).collect()
            }
            Some("boolean") => self.full.into(),
            Some("integer" | "number") => u8::from(self.full).into(),
            Some("string") => "text".into(),
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::hand_over::HandOver;
    use crate::paper::run_sheet::RunSheet;

    #[test]
    fn everything_is_there_or_only_what_has_to_be() {
        let [full, bare] = both::<RunSheet>();
        assert_eq!(full["no_return"]["at"], "text");
        assert_eq!(full["stages"][0]["rows"][0]["host"], "text");
        assert_eq!((&full["fits"], &bare["fits"]), (&Value::Bool(true), &Value::Bool(false)));
        assert!(bare["no_return"].is_null() && bare["stages"].as_array().is_some_and(Vec::is_empty), "{bare}");
        let [full, _] = both::<HandOver>();
        assert_eq!(full["certificate"][0]["differences"][0], serde_json::json!(["text", "text", "text"]));
    }
}
