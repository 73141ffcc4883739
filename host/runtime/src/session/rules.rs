//! A protocol with its schemas, ready to be run: what is checked of configs, answers and outcomes before anybody sees them.

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;
use skep_core::name::shown;
use skep_core::session::{Info, Payload};
use skep_engine::Protocol;

/// What is shown of a schema's complaint, in characters.
const WHY_CHARS_MAX: usize = 300;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) protocol: Protocol,
    schemas: Arc<Schemas>,
}

struct Schemas {
    config: Validator,
    outcome: Validator,
    answers: HashMap<String, Validator>,
}

impl Rules {
    /// Reads the schemas of a protocol; the error is why one of them is none.
    pub(crate) fn of(protocol: Protocol) -> Result<Self, String> {
        let manifest = protocol.manifest();
        let answers = manifest.ask_schemas.iter().map(|(name, text)| {
            skep_core::Name::new(name).map_err(|bad| format!("ask-schemas: {bad}"))?;
            Ok((name.clone(), compiled(&format!("ask-schemas {}", shown(name, 128)), text)?))
        });
        let schemas = Schemas {
            answers: answers.collect::<Result<_, String>>()?,
            config: compiled("config-schema", &manifest.config_schema)?,
            outcome: compiled("outcome-schema", &manifest.outcome_schema)?,
        };
        Ok(Self { schemas: Arc::new(schemas), protocol })
    }

    /// A config in canonical form; the error says where it is not what the schema says.
    pub(crate) fn config(&self, config: &Value) -> Result<Payload, String> {
        checked(&self.schemas.config, config)
    }

    /// Whether a session that another version has opened can go on with this one.
    pub(crate) fn accepts(&self, info: &Info) -> Result<(), String> {
        let config: Value = serde_json::from_str(&info.config).map_err(|error| error.to_string())?;
        self.config(&config).map_err(|why| format!("config: {why}"))?;
        self.protocol.manifest().check_members(&info.members).map_err(|unfit| unfit.to_string())
    }

    /// An answer in canonical form.
    pub(crate) fn answer(&self, schema: &str, body: &[u8]) -> Result<Payload, String> {
        let answer: Value = serde_json::from_slice(body).map_err(|error| format!("it is no JSON: {error}"))?;
        let schema = self.schemas.answers.get(schema).ok_or("its ask has no schema")?;
        checked(schema, &answer)
    }

    /// An outcome's body in canonical form.
    pub(crate) fn outcome(&self, body: &str) -> Result<Payload, String> {
        let body: Value = serde_json::from_str(body).map_err(|error| format!("it is no JSON: {error}"))?;
        checked(&self.schemas.outcome, &body)
    }
}

/// The largest whole number that every reader of JSON holds exactly (RFC 8785 numbers are doubles).
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Any JSON in canonical form. Whole numbers that it would not hold exactly are refused.
pub(crate) fn canonical(value: &Value) -> Result<Payload, String> {
    exact(value, &mut String::new())?;
    serde_json_canonicalizer::to_string(value).map_err(|error| error.to_string())
}

fn exact(value: &Value, place: &mut String) -> Result<(), String> {
    let length = place.len();
    match value {
        Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            match size.filter(|size| *size > INTEGER_MAX) {
                Some(_) => Err(shown(&format!("{place}: {number} is larger than {INTEGER_MAX}"), WHY_CHARS_MAX)),
                None => Ok(()),
            }
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            place.truncate(length);
            place.push_str(&format!("/{index}"));
            exact(item, place)
        }),
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            place.truncate(length);
            place.push_str(&format!("/{name}"));
            exact(field, place)
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

fn compiled(what: &str, text: &str) -> Result<Validator, String> {
    let schema = serde_json::from_str(text).map_err(|error| format!("{what} is no JSON: {error}"))?;
    jsonschema::draft202012::new(&schema)
        .map_err(|error| format!("{what}: {}", shown(&error.to_string(), WHY_CHARS_MAX)))
}

fn checked(schema: &Validator, value: &Value) -> Result<Payload, String> {
    if let Some(error) = schema.iter_errors(value).next() {
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { "it".to_owned() } else { place };
        return Err(shown(&format!("{place}: {error}"), WHY_CHARS_MAX));
    }
    canonical(value)
}
