//! The JSON Schema of a manifest, made from the parser's own table of keys, for editors. Never used to check anything
//! here: the parser does, with better words.

use serde_json::{Map, Value, json};

use super::keys::{Form, Key, ROOT};
use super::unit::{DURATION_PATTERN, SIZE_PATTERN};

/// The schema, as host/cli/schema/hive.schema.json holds it.
pub fn schema() -> Value {
    let mut schema = table(ROOT);
    if let Value::Object(object) = &mut schema {
        object.shift_insert(0, "$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        object.shift_insert(1, "title".to_owned(), json!("A hive of Skep (hive.toml)"));
    }
    schema
}

fn table(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.default == "required").map(|key| key.name).collect();
    let mut object = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if let (Value::Object(object), false) = (&mut object, required.is_empty()) {
        object.insert("required".to_owned(), json!(required));
    }
    object
}

fn property(key: &Key) -> Value {
    let mut value = of_form(key);
    if let Value::Object(object) = &mut value {
        let default = if key.default == "required" { String::new() } else { format!(" Default: {}.", key.default) };
        object.shift_insert(0, "description".to_owned(), json!(format!("{}{default}", key.doc)));
    }
    value
}

fn of_form(key: &Key) -> Value {
    match key.form {
        Form::Name => json!({ "type": "string", "pattern": "^[A-Za-z0-9_.:/@+-]{1,128}$" }),
        Form::Path => json!({ "type": "string", "minLength": 1 }),
        Form::Digest => json!({ "type": "string", "pattern": "^(sha256:)?[0-9a-fA-F]{64}$" }),
        Form::Nats => json!({ "anyOf": [{ "enum": ["managed"] }, { "type": "string", "pattern": "^(nats|tls)://" }] }),
        Form::Flag => json!({ "type": "boolean" }),
        Form::Count(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Form::Bytes(min, max) => with_bare(key.name.contains("_bytes"), SIZE_PATTERN, min, max),
        Form::Millis(min, max) => with_bare(key.name.contains("_ms"), DURATION_PATTERN, min, max),
        Form::Factor => json!({ "type": "number", "minimum": 1, "maximum": 100 }),
        Form::Choice(words) => json!({ "enum": words }),
        Form::Shutdown => json!({ "anyOf": [
            { "enum": ["brutal", "infinity"] }, { "type": "string", "pattern": DURATION_PATTERN }
        ] }),
        Form::Texts => json!({ "type": "array", "items": { "type": "string", "minLength": 1, "maxLength": 128 } }),
        Form::Choices(words) => json!({ "type": "array", "items": { "enum": words } }),
        Form::Table(keys) => table(keys),
        Form::Named(keys) => json!({ "type": "object", "additionalProperties": table(keys) }),
        Form::Object => json!({ "type": "object" }),
    }
}

fn with_bare(bare: bool, pattern: &str, min: u64, max: u64) -> Value {
    let text = json!({ "type": "string", "pattern": pattern });
    if bare { json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, text] }) } else { text }
}
