//! An agent's `config` table as the JSON object that it is told. Never interprets it: the plugin does.

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::problem::{Code, Problems};

/// The table as JSON, in the order of the file. What JSON cannot say becomes a problem.
pub(super) fn to_json(table: &DeTable<'_>, what: &str, problems: &mut Problems) -> Value {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut object = Map::with_capacity(entries.len());
    for (key, value) in entries {
        let json = value_to_json(value.get_ref(), what, value.span(), problems);
        object.insert(key.get_ref().to_string(), json);
    }
    Value::Object(object)
}

fn value_to_json(value: &DeValue<'_>, what: &str, span: std::ops::Range<usize>, problems: &mut Problems) -> Value {
    let number = match value {
        DeValue::String(text) => return Value::String(text.to_string()),
        DeValue::Boolean(flag) => return Value::Bool(*flag),
        DeValue::Datetime(time) => return Value::String(time.to_string()),
        DeValue::Table(table) => return to_json(table, what, problems),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| value_to_json(item.get_ref(), what, item.span(), problems));
            return Value::Array(items.collect());
        }
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Number::from),
        DeValue::Float(number) => number.as_str().parse().ok().and_then(Number::from_f64),
    };
    number.map_or_else(
        || {
            let message = format!("a number in the config of {what} cannot be told in JSON");
            let help = "accepted: whole numbers of 64 bits and finite numbers with decimals".to_owned();
            problems.error(Code::Value, span, message, "no JSON number", Some(help));
            Value::Null
        },
        Value::Number,
    )
}
