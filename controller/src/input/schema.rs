//! JSON Schemas of what people write, from the types that read it: for editors and for checks without Weiche. And of
//! the facts, which programs read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use weiche_agent::resource::{Lens, Visitor, each};

use super::config::Config;
use super::member::Member;
use super::playbook::{self, Input};
use super::probe::ProbeForm;
use super::profile;
use super::resource::kind_names;
use super::rollout::Keys;
use super::scalar::{Name, Period, Type};
use super::selector::Selector;

/// The documents that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// `weiche.yaml`.
    Fleet,
    /// `members/*.yaml`.
    Member,
    /// `profiles/*.yaml`.
    Profile,
    /// `playbooks/*.yaml`.
    Playbook,
    /// What `weiche facts --json` prints of each host.
    Facts,
}

impl Document {
    /// All, by name.
    pub const ALL: [(&str, Document); 5] = [
        ("facts", Document::Facts),
        ("fleet", Document::Fleet),
        ("member", Document::Member),
        ("playbook", Document::Playbook),
        ("profile", Document::Profile),
    ];
}

/// The JSON Schema of a document, for draft 2020-12.
pub fn schema(document: Document) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let schema = match document {
        Document::Fleet => generator.into_root_schema_for::<Config>(),
        Document::Member => generator.into_root_schema_for::<Member>(),
        Document::Profile => generator.into_root_schema_for::<profile::Head>(),
        Document::Playbook => generator.into_root_schema_for::<playbook::Head>(),
        Document::Facts => generator.into_root_schema_for::<weiche_agent::protocol::Facts>(),
    };
    schema.to_value()
}

/// An item of `resources:`.
#[derive(Debug)]
pub struct ResourceItem;

impl JsonSchema for ResourceItem {
    fn schema_name() -> Cow<'static, str> {
        "Resource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let choices: Vec<Value> = resources().into_iter().map(|(name, s)| item(generator, &name, &s)).collect();
        json_schema!({ "oneOf": choices })
    }
}

/// A value of `inputs:`.
#[derive(Debug)]
pub struct InputItem;

impl JsonSchema for InputItem {
    fn schema_name() -> Cow<'static, str> {
        "InputItem".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (short, long) = (generator.subschema_for::<Type>(), generator.subschema_for::<Input>());
        json_schema!({ "anyOf": [short, long] })
    }
}

/// An item of `stages:`.
#[derive(Debug)]
pub struct StageItem;

impl JsonSchema for StageItem {
    fn schema_name() -> Cow<'static, str> {
        "Stage".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, selector) = (generator.subschema_for::<Name>(), generator.subschema_for::<Selector>());
        let steps = steps(generator);
        let keys = Keys::json_schema(generator).to_value();
        let wave = json!({
            "description": "So many hosts, a share of them, those that are meant, or `rest`.",
            "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string", "pattern": "^([1-9][0-9]?%|100%|rest)$" }, selector]
        });
        let mut schema = json_schema!({
            "type": "object",
            "properties": {
                "stage": name,
                "on": {
                    "description": "An input's name, a list of them, an expression, a selector, or `all`.",
                    "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }, selector]
                },
                "steps": { "type": "array", "items": { "oneOf": steps } },
                "waves": { "description": "Hosts taken together, one wave after the other.", "type": "array", "items": wave }
            },
            "required": ["stage", "on", "steps"],
            "additionalProperties": false
        });
        let uses = generator.subschema_for::<playbook::UseHead>();
        if let (Some(Value::Object(all)), Some(Value::Object(keys))) =
            (schema.get_mut("properties"), keys.get("properties"))
        {
            all.extend(keys.clone());
        }
        json_schema!({ "oneOf": [schema, uses] })
    }
}

fn steps(generator: &mut SchemaGenerator) -> Vec<Value> {
    let probe = generator.subschema_for::<ProbeForm>().to_value();
    let period = generator.subschema_for::<Period>().to_value();
    let object = |properties: Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    let apply = json!({ "anyOf": [
        { "type": "string" },
        object(json!({ "profile": { "type": "string" }, "parameters": { "type": "object" } }), &["profile"])
    ] });
    let paths = json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] });
    let transfer = json!({ "oneOf": transfers(&paths, &object) });
    let mut steps = vec![
        item(generator, "apply", &apply),
        object(json!({ "check": probe, "within": period, "every": period }), &["check"]),
        object(json!({ "manual": { "type": "string" }, "by": { "type": "string" }, "takes": period }), &["manual"]),
        object(
            json!({
                "reboot": { "type": ["string", "null"], "description": "Why, for people; or nothing." },
                "within": period,
            }),
            &["reboot"],
        ),
        item(generator, "transfer", &transfer),
        object(json!({ "wait_for": probe, "within": period, "every": period }), &["wait_for"]),
    ];
    for (name, schema) in resources() {
        steps.push(item(generator, &name, &schema));
    }
    let on = json!({ "type": "string", "description": "The only host that does it: an input, or a template. Hosts take turns." });
    let back = json!({ "const": "beside", "description": "Beside `on`: taken back, the steps before it on other hosts do not wait for it." });
    for properties in steps.iter_mut().filter_map(|step| step.get_mut("properties")?.as_object_mut()) {
        properties.insert("on".into(), on.clone());
        properties.insert("back".into(), back.clone());
    }
    steps
}

/// A transfer through the agents, and the parts of a direct one: what is told to the kind `mirror` is as there.
fn transfers(paths: &Value, object: &dyn Fn(Value, &[&str]) -> Value) -> Vec<Value> {
    let mirror = resources().remove("mirror").unwrap_or_default();
    let yes = json!({ "const": true });
    let part = |more: Value, handed: &[&str], required: &[&str]| {
        let mut properties = Map::new();
        properties.insert("from".into(), json!({ "type": "string" }));
        properties.insert("paths".into(), paths.clone());
        properties.extend(more.as_object().cloned().unwrap_or_default());
        properties.extend(handed.iter().map(|key| ((*key).to_owned(), mirror["properties"][key].clone())));
        object(Value::Object(properties), &[&["from", "paths"], required].concat())
    };
    let direct = json!({ "const": "direct" });
    vec![
        part(json!({ "via": { "const": "agents" }, "delete": { "type": "boolean", "default": false } }), &[], &[]),
        part(
            json!({ "via": direct, "reverse": { "const": "prepared" } }),
            &["rounds", "every", "bandwidth", "owners", "delete_at_most"],
            &["via"],
        ),
        part(json!({ "via": direct, "again": yes }), &[], &["via", "again"]),
        part(
            json!({ "via": direct, "reverse": { "const": "armed" } }),
            &["every", "bandwidth", "owners"],
            &["via", "reverse"],
        ),
        part(
            json!({ "via": direct, "final": yes, "reverse": { "const": "armed" } }),
            &["within", "every", "bandwidth", "owners", "delete_at_most"],
            &["via", "final"],
        ),
        part(json!({ "via": direct, "end": yes }), &["forget_aside"], &["via", "end"]),
    ]
}

/// The JSON Schema of a kind's spec, complete in itself; made once.
pub fn spec_schema(kind: &str) -> Option<&'static Value> {
    struct All(BTreeMap<&'static str, Value>);
    impl Visitor for All {
        fn visit<L: Lens + 'static>(&mut self) {
            let mut inline = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator();
            self.0.insert(L::NAME, inline.subschema_for::<L::Spec>().to_value());
        }
    }
    static SCHEMAS: OnceLock<BTreeMap<&'static str, Value>> = OnceLock::new();
    let schemas = SCHEMAS.get_or_init(|| {
        let mut all = All(BTreeMap::new());
        each(&mut all);
        all.0
    });
    schemas.get(kind)
}

/// The kinds' specs, open for templates where they ask for something else than a text.
fn resources() -> Map<String, Value> {
    let mut all = Map::new();
    for name in kind_names() {
        let Some(mut schema) = spec_schema(name).cloned() else { continue };
        let template = json!({ "type": "string", "pattern": "\\{\\{" });
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove("blob");
            for property in properties.values_mut() {
                if property.get("type") != Some(&json!("string")) {
                    *property = json!({ "anyOf": [property, template] });
                }
            }
        }
        all.insert(name.to_owned(), schema);
    }
    all
}

fn item(generator: &mut SchemaGenerator, name: &str, schema: &Value) -> Value {
    let period = generator.subschema_for::<Period>().to_value();
    let mut properties = Map::new();
    properties.insert(name.to_owned(), schema.clone());
    properties.insert("timeout".into(), period);
    json!({ "type": "object", "properties": properties, "required": [name], "additionalProperties": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_has_one() {
        for (name, document) in Document::ALL {
            let schema = schema(document);
            assert_eq!(schema["type"], "object", "{name}: {schema:#}");
            // What people write has no unknown keys; what programs read may get some.
            assert_eq!(schema["additionalProperties"] == false, document != Document::Facts, "{name}");
        }
        assert!(schema(Document::Profile).to_string().contains("\"template\""));
        assert!(schema(Document::Member)["properties"]["servers"].is_object());
    }
}
