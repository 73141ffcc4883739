//! As much of JSON Schema 2020-12 as the schemas of protocols need, to hold a protocol to its own. A keyword that it does
//! not know fails the test: no schema goes unchecked.

use serde_json::{Map, Value};

/// What is wrong with a value, each with the place where it is.
pub(super) fn wrong(value: &Value, schema: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    check(value, schema, "", &mut wrong);
    wrong
}

fn check(value: &Value, schema: &Value, at: &str, wrong: &mut Vec<String>) {
    let Some(schema) = schema.as_object() else {
        return wrong.push(format!("{at}: the schema is no object: {schema}"));
    };
    for (keyword, bound) in schema {
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" => true,
            "type" => types(bound).iter().any(|name| is(value, name)),
            "const" => value == bound,
            "enum" => bound.as_array().is_some_and(|values| values.contains(value)),
            "minimum" => integer(value).is_none_or(|number| Some(number) >= integer(bound)),
            "maximum" => integer(value).is_none_or(|number| Some(number) <= integer(bound)),
            "minLength" => value.as_str().is_none_or(|text| Some(text.chars().count() as u64) >= bound.as_u64()),
            "maxLength" => value.as_str().is_none_or(|text| Some(text.chars().count() as u64) <= bound.as_u64()),
            "minItems" => value.as_array().is_none_or(|items| Some(items.len() as u64) >= bound.as_u64()),
            "maxItems" => value.as_array().is_none_or(|items| Some(items.len() as u64) <= bound.as_u64()),
            "maxProperties" => value.as_object().is_none_or(|map| Some(map.len() as u64) <= bound.as_u64()),
            "uniqueItems" => {
                let twice = |items: &Vec<Value>| {
                    items.iter().enumerate().any(|(at, item)| items.iter().take(at).any(|before| before == item))
                };
                value.as_array().is_none_or(|items| !twice(items))
            }
            "required" => value.as_object().is_none_or(|map| types(bound).iter().all(|name| map.contains_key(*name))),
            "oneOf" => fitting(value, bound) == 1,
            "properties" => properties(value, bound, at, wrong),
            "additionalProperties" => additional(value, bound, schema, at, wrong),
            "items" => items(value, bound, at, wrong),
            _ => {
                wrong.push(format!("{at}: no keyword that is known: {keyword}"));
                true
            }
        };
        if !holds {
            wrong.push(format!("{at}: {keyword} {bound}"));
        }
    }
}

/// Of both kinds that JSON's integers have here. A protocol's schemas bound no others.
fn integer(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

/// One text, or several.
fn types(bound: &Value) -> Vec<&str> {
    match bound {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn fitting(value: &Value, schemas: &Value) -> usize {
    schemas.as_array().into_iter().flatten().filter(|schema| wrong(value, schema).is_empty()).count()
}

// The parts of a value say themselves what is wrong with them.

fn properties(value: &Value, schemas: &Value, at: &str, wrong: &mut Vec<String>) -> bool {
    for (name, schema) in schemas.as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            check(value, schema, &format!("{at}/{name}"), wrong);
        }
    }
    true
}

fn additional(value: &Value, bound: &Value, schema: &Map<String, Value>, at: &str, wrong: &mut Vec<String>) -> bool {
    let named = |name: &str| schema.get("properties").is_some_and(|properties| properties.get(name).is_some());
    for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| !named(name)) {
        match bound {
            Value::Bool(false) => wrong.push(format!("{at}/{name}: not foreseen")),
            bound => check(value, bound, &format!("{at}/{name}"), wrong),
        }
    }
    true
}

fn items(value: &Value, schema: &Value, at: &str, wrong: &mut Vec<String>) -> bool {
    for (place, value) in value.as_array().into_iter().flatten().enumerate() {
        check(value, schema, &format!("{at}/{place}"), wrong);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tells_each_kind_of_misfit() {
        let schema = json!({
            "type": "object",
            "properties": {
                "n": {"type": "integer", "minimum": 0, "maximum": 9},
                "s": {"type": ["string", "null"], "minLength": 1, "maxLength": 2},
                "a": {"items": {"enum": [1, 2]}, "uniqueItems": true, "minItems": 1, "maxItems": 2},
                "o": {"oneOf": [{"const": 1}, {"type": "boolean"}]},
                "m": {"maxProperties": 1, "additionalProperties": {"type": "integer"}},
            },
            "required": ["n"],
            "additionalProperties": false,
        });
        let fit = [json!({"n": 0}), json!({"n": 9, "s": null, "a": [2, 1], "o": true, "m": {"x": 1}})];
        let unfit = [
            json!([]),
            json!({}),
            json!({"n": -1}),
            json!({"n": 10}),
            json!({"n": u64::MAX}),
            json!({"n": 0.5}),
            json!({"n": 0, "s": ""}),
            json!({"n": 0, "s": "abc"}),
            json!({"n": 0, "s": 1}),
            json!({"n": 0, "a": []}),
            json!({"n": 0, "a": [3]}),
            json!({"n": 0, "a": [1, 1]}),
            json!({"n": 0, "a": [1, 2, 1]}),
            json!({"n": 0, "o": 2}),
            json!({"n": 0, "m": {"x": 1, "y": 1}}),
            json!({"n": 0, "m": {"x": "1"}}),
            json!({"n": 0, "z": 1}),
        ];
        for value in fit {
            assert_eq!(wrong(&value, &schema), [""; 0], "{value}");
        }
        for value in unfit {
            assert!(!wrong(&value, &schema).is_empty(), "{value}");
        }
        assert!(!wrong(&json!(1), &json!({"multipleOf": 1})).is_empty());
    }
}
