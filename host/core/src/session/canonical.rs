//! Hashes of what a session logs, and JSON of what the host itself has to say. Never a parser.

use crate::id::MessageId;

/// A hash of texts, in hexadecimal digits: the parts are told apart. Against mistakes, not against forgery.
pub fn hash_text(parts: &[&str]) -> String {
    let mut content = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        content.extend_from_slice(&(part.len() as u64).to_le_bytes());
        content.extend_from_slice(part.as_bytes());
    }
    MessageId::of_bytes("session", &content).to_string()
}

/// A text as JSON has it (RFC 8785, 3.2.2.2).
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            character if character < ' ' => out.push_str(&format!("\\u{:04x}", character as u32)),
            character => out.push(character),
        }
    }
    out.push('"');
    out
}
