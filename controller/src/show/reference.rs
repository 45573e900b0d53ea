//! The reference of resource kinds as Markdown, made of their types, documentation and examples.

use std::fmt::Write;

use serde_json::Value;
use weiche_agent::resource::{Exactness, Kind, examples, kind};

use crate::input::schema::spec_schema;

/// The page of a kind; `None` if people cannot write such a kind.
pub fn page(name: &str) -> Option<String> {
    let kind = crate::input::resource::kind_names().find(|known| *known == name).and_then(kind)?;
    let schema = spec_schema(name)?;
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(page, "# `{name}`\n\n{}\n", words(schema));
    let _ = writeln!(page, "**Undo:** {}\n", undo(kind));
    page += "| key | value | meaning |\n|---|---|---|\n";
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        if key != "blob" {
            let must = if required.contains(&key.as_str()) { " (required)" } else { "" };
            let _ = writeln!(page, "| `{key}`{must} | {} | {} |", form(property), words(property));
        }
    }
    page += "\n```yaml\n";
    for (_, example) in examples().iter().filter(|(k, _)| k.name() == name) {
        let _ = writeln!(page, "- {name}: {}", flow(example));
    }
    page += "```\n";
    Some(page)
}

/// What undo restores, in words.
pub fn undo(kind: &dyn Kind) -> String {
    match kind.undo() {
        Exactness::Exact => "exact".into(),
        Exactness::BestEffort(left) => format!("best effort; may remain different: {}", left.replace('\n', " ")),
    }
}

fn words(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace("\n\n", "<br>").replace('\n', " ").replace('|', "\\|")
}

/// What a key may hold.
fn form(schema: &Value) -> String {
    let choices = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.map(form).filter(|form| form != "null").collect()
    };
    if let Some(constant) = schema.get("const") {
        return format!("`{}`", constant.as_str().map_or_else(|| constant.to_string(), str::to_owned));
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`"));
        return values.collect::<Vec<_>>().join(", ");
    }
    for key in ["oneOf", "anyOf"] {
        if schema.get(key).is_some() {
            return choices(&schema[key]).join(" or ");
        }
    }
    let of = |schema: &Value| match schema["type"].as_str() {
        Some("array") => format!("list of {}", form(&schema["items"])),
        Some("object") if schema.get("additionalProperties").is_some_and(Value::is_object) => {
            format!("map to {}", form(&schema["additionalProperties"]))
        }
        Some("object") => {
            let keys = schema["properties"].as_object().into_iter().flatten();
            let keys: Vec<String> = keys.map(|(key, property)| format!("`{key}`: {}", form(property))).collect();
            if keys.is_empty() { "map".into() } else { format!("map of {}", keys.join(", ")) }
        }
        Some("boolean") => "true or false".into(),
        Some("string") => "text".into(),
        Some(other) => other.into(),
        None => "any".into(),
    };
    match schema["type"].as_array() {
        None => of(schema),
        Some(types) => {
            let one = |name: &Value| {
                let mut single = schema.clone();
                single["type"] = name.clone();
                of(&single)
            };
            types.iter().filter(|t| *t != "null").map(one).collect::<Vec<_>>().join(" or ")
        }
    }
}

/// A value as YAML on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) if plain(text) => text.clone(),
        // JSON is YAML.
        other => other.to_string(),
    }
}

/// Whether a text may stand in flow YAML without quotes and stay a text.
fn plain(text: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    let begins = text.starts_with(|c: char| c.is_alphabetic() || c == '/');
    begins && text.chars().all(word) && !matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off")
}
