//! Canonical JSON: the same value is always the same bytes, on every machine, so that states and bodies can be compared
//! by their digests. RFC 8785, but integers above 2^53 keep all their digits.

use serde::Serialize;
use serde_json::{Map, Number, Value};

/// A value as canonical JSON.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(value, &mut out);
    out
}

/// Anything as canonical JSON, or why it is none.
pub(crate) fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    match serde_json::to_value(value) {
        Ok(value) => Ok(canonical(&value)),
        Err(error) => Err(format!("this is no JSON: {error}")),
    }
}

fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => put_object(map, out),
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                put(item, out);
            }
            out.push(b']');
        }
        Value::Number(number) => put_number(number, out),
        // As RFC 8785 has it: no white space, the short escapes, everything else that must be escaped in lower case.
        Value::Null | Value::Bool(_) | Value::String(_) => out.extend_from_slice(value.to_string().as_bytes()),
    }
}

/// In the order of UTF-16 code units, which the map's own is not for characters beyond U+FFFF.
fn put_object(map: &Map<String, Value>, out: &mut Vec<u8>) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    out.push(b'{');
    for (place, (key, value)) in entries.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(Value::from(key.as_str()).to_string().as_bytes());
        out.push(b':');
        put(value, out);
    }
    out.push(b'}');
}

fn put_number(number: &Number, out: &mut Vec<u8>) {
    let text = number.to_string();
    out.extend_from_slice(if number.is_f64() { float_text(&text) } else { text }.as_bytes());
}

/// The shortest digits that give a float back are there already; ECMAScript lays them out in another way: with an
/// exponent outside of 1e-6 to 1e21.
fn float_text(text: &str) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{part}");
    let digits = all.trim_start_matches('0');
    // Where the point stands, counted from the first of the digits.
    let point = place(whole.len()) + exponent.parse::<i32>().unwrap_or(0) - place(all.len() - digits.len());
    let digits = digits.trim_end_matches('0');
    let length = place(digits.len());
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    match point {
        _ if digits.is_empty() => "0".to_owned(),
        1..=21 if length <= point => format!("{sign}{digits}{}", zeros(point - length)),
        1..=21 => format!("{sign}{}", pointed(digits, point)),
        -5..=0 => format!("{sign}0.{}{digits}", zeros(-point)),
        _ => {
            let mantissa = if length > 1 { pointed(digits, 1) } else { digits.to_owned() };
            format!("{sign}{mantissa}e{:+}", point - 1)
        }
    }
}

fn pointed(digits: &str, point: i32) -> String {
    let (whole, part) = digits.split_at(usize::try_from(point).unwrap_or(0));
    format!("{whole}.{part}")
}

/// No float has so many digits.
fn place(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::from_str;

    fn text(json: &str) -> String {
        String::from_utf8(canonical(&from_str(json).unwrap())).unwrap()
    }

    #[test]
    fn numbers_are_written_as_the_rfc_lists_them() {
        // RFC 8785, appendix B, but for those that JSON has not.
        let cases: [(u64, &str); 24] = [
            (0x0000000000000000, "0"),
            (0x8000000000000000, "0"),
            (0x0000000000000001, "5e-324"),
            (0x8000000000000001, "-5e-324"),
            (0x7fefffffffffffff, "1.7976931348623157e+308"),
            (0xffefffffffffffff, "-1.7976931348623157e+308"),
            (0x4340000000000000, "9007199254740992"),
            (0xc340000000000000, "-9007199254740992"),
            (0x4430000000000000, "295147905179352830000"),
            (0x44b52d02c7e14af5, "9.999999999999997e+22"),
            (0x44b52d02c7e14af6, "1e+23"),
            (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
            (0x444b1ae4d6e2ef4e, "999999999999999700000"),
            (0x444b1ae4d6e2ef4f, "999999999999999900000"),
            (0x444b1ae4d6e2ef50, "1e+21"),
            (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
            (0x3eb0c6f7a0b5ed8d, "0.000001"),
            (0x41b3de4355555553, "333333333.3333332"),
            (0x41b3de4355555554, "333333333.33333325"),
            (0x41b3de4355555555, "333333333.3333333"),
            (0x41b3de4355555556, "333333333.3333334"),
            (0x41b3de4355555557, "333333333.33333343"),
            (0xbecbf647612f3696, "-0.0000033333333333333333"),
            (0x43143ff3c1cb0959, "1424953923781206.2"),
        ];
        for (bits, expect) in cases {
            assert_eq!(canonical(&Value::from(f64::from_bits(bits))), expect.as_bytes(), "{expect}");
        }
        assert_eq!(
            text("[1.0, 9007199254740991, -3, 18446744073709551615]"),
            "[1,9007199254740991,-3,18446744073709551615]"
        );
    }

    #[test]
    fn keys_are_in_the_order_of_the_rfc() {
        // RFC 8785, section 3.2.3.
        let sorted = text(r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#);
        assert_eq!(
            sorted,
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn texts_are_written_as_the_rfc_shows_them() {
        // RFC 8785, section 3.2.2.
        let string = r#""\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/""#;
        assert_eq!(text(string), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"");
        assert_eq!(text("[ null , true, false ]"), "[null,true,false]");
    }
}
