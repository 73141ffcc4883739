//! One table of the file, read key by key: wrong values and unknown keys become problems with their place, and what is
//! right goes into the field that it is for. Never decides what a value means.

use std::ops::Range;

use skep_core::Name;
use skep_core::name::shown;
use skep_core::similar::closest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Form, Key};
use super::problem::{Code, Problems};
use super::unit;
use super::words::any_of;

/// The most characters of a file's text in one message.
const SHOWN_CHARS_MAX: usize = 64;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Noted<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A table of the file.
#[derive(Clone)]
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    keys: &'static [Key],
    /// What it is, for messages: `agent ledger`.
    what: String,
    /// Where it begins: its name.
    at: Range<usize>,
}

impl<'a> Section<'a> {
    /// The table of the whole file, or of one that was found elsewhere.
    pub(super) fn new(
        table: &'a DeTable<'a>,
        keys: &'static [Key],
        what: String,
        at: Range<usize>,
        problems: &mut Problems,
    ) -> Self {
        let section = Self { table, keys, what, at };
        section.report_unknown_keys(problems);
        section
    }

    fn report_unknown_keys(&self, problems: &mut Problems) {
        let names: Vec<&str> = self.keys.iter().map(|key| key.name).collect();
        for (key, _) in self.table {
            let word = key.get_ref();
            if names.contains(&word.as_ref()) {
                continue;
            }
            let similar = closest(word, names.iter().copied());
            let message = format!("{} has no key `{}`", self.what, shown(word, SHOWN_CHARS_MAX));
            let help = similar.map_or_else(
                || format!("its keys are {}", any_of(&names)),
                |similar| format!("did you mean `{similar}`?"),
            );
            problems.unknown_key(key.span(), message, help);
        }
    }

    pub(super) fn what(&self) -> &str {
        &self.what
    }

    pub(super) fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    /// The place of a key's value, or of the table itself.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        self.value(key).map_or_else(|| self.at(), Spanned::span)
    }

    /// The keys that a table in this one may have and has.
    pub(super) fn keys_of(&self, table: &str) -> Vec<&'static str> {
        let Some(Form::Table(keys)) = self.keys.iter().find(|key| key.name == table).map(|key| &key.form) else {
            return Vec::new();
        };
        let found = self.value(table).and_then(|value| value.get_ref().as_table());
        keys.iter().map(|key| key.name).filter(|name| found.is_some_and(|found| found.contains_key(*name))).collect()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    fn form(&self, name: &str) -> Option<Form> {
        let found = self.keys.iter().find(|key| key.name == name);
        debug_assert!(found.is_some(), "{} has no key {name}", self.what);
        found.map(|key| key.form)
    }

    /// A value of the wrong sort.
    fn mistyped(&self, key: &str, value: &Spanned<DeValue<'_>>, accepted: &str, problems: &mut Problems) {
        let message = format!("`{key}` of {} cannot be {}", self.what, sort_of(value.get_ref()));
        problems.error(Code::Type, value.span(), message, "wrong type", Some(format!("accepted: {accepted}")));
    }

    /// A value of the right sort that is not allowed.
    fn not_allowed(&self, key: &str, span: Range<usize>, text: &str, accepted: &str, problems: &mut Problems) {
        let message = format!("`{key}` of {} cannot be {}", self.what, shown(text, SHOWN_CHARS_MAX));
        let rule = match key {
            "intensity" => " (OTP: invalid_intensity)",
            "period" => " (OTP: invalid_period)",
            _ => "",
        };
        problems.error(Code::Value, span, message, "not accepted", Some(format!("accepted: {accepted}{rule}")));
    }

    /// A key that has to be there is not.
    pub(super) fn missing(&self, key: &str, help: &str, problems: &mut Problems) {
        let message = format!("{} has no `{key}`", self.what);
        problems.error(Code::MissingKey, self.at(), message, "it has to be here", Some(help.to_owned()));
    }

    /// Values that do not go together; `rule` is the rule that they break.
    pub(super) fn contradiction(&self, key: &str, message: String, rule: &str, problems: &mut Problems) {
        let span = self.span_of(key);
        problems.error(Code::Contradiction, span, message, "these do not go together", Some(rule.to_owned()));
    }

    fn text_of(&self, key: &str, accepted: &str, problems: &mut Problems) -> Option<Noted<&'a str>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Noted { value: text.as_ref(), span: value.span() }),
            _ => {
                self.mistyped(key, value, accepted, problems);
                None
            }
        }
    }

    /// A text as it is.
    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Option<Noted<&'a str>> {
        self.text_of(key, "a text in quotes", problems)
    }

    /// A name.
    pub(super) fn name(&self, key: &str, problems: &mut Problems) -> Option<Noted<Name>> {
        let text = self.text_of(key, "a name in quotes", problems)?;
        match Name::new(text.value) {
            Ok(value) => Some(Noted { value, span: text.span }),
            Err(error) => {
                let message = format!("`{key}` of {}: {error}", self.what);
                problems.error(Code::Value, text.span, message, "no name", None);
                None
            }
        }
    }

    /// true or false.
    pub(super) fn flag(&self, key: &str, into: &mut bool, problems: &mut Problems) {
        match self.value(key).map(|value| (value, value.get_ref())) {
            Some((_, DeValue::Boolean(flag))) => *into = *flag,
            Some((value, _)) => self.mistyped(key, value, "true or false", problems),
            None => {}
        }
    }

    /// One of the words of the key's form.
    pub(super) fn choice<T>(&self, key: &str, of: impl Fn(&str) -> Option<T>, into: &mut T, problems: &mut Problems) {
        let Some(Form::Choice(words)) = self.form(key) else { return };
        let accepted = any_of(words);
        let Some(text) = self.text_of(key, &accepted, problems) else { return };
        match of(text.value) {
            Some(value) => *into = value,
            None => self.not_allowed(key, text.span, &quoted(text.value), &with_guess(text.value, words), problems),
        }
    }

    /// A whole number, a size or a duration, as the key's form says; the field's own range is kept.
    pub(super) fn number<T: TryFrom<u64>>(&self, key: &str, into: &mut T, problems: &mut Problems) {
        if let Some(value) = self.number_of(key, problems)
            && let Ok(value) = T::try_from(value)
        {
            *into = value;
        }
    }

    fn number_of(&self, key: &str, problems: &mut Problems) -> Option<u64> {
        let value = self.value(key)?;
        let scale = Scale::of(key, self.form(key)?)?;
        let read = match value.get_ref() {
            DeValue::Integer(number) if scale.bare => integer(number.as_str(), number.radix()),
            DeValue::String(text) => (scale.read)(text),
            DeValue::Integer(_) => None,
            _ => {
                self.mistyped(key, value, &scale.accepted(), problems);
                return None;
            }
        };
        let allowed = read.filter(|number| (scale.min..=scale.max).contains(number));
        if allowed.is_none() {
            self.not_allowed(key, value.span(), &written(value.get_ref()), &scale.accepted(), problems);
        }
        allowed
    }

    /// A factor in percent.
    pub(super) fn factor(&self, key: &str, into: &mut u32, problems: &mut Problems) {
        let Some(value) = self.value(key) else { return };
        let text = match value.get_ref() {
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            _ => return self.mistyped(key, value, "a number from 1 to 100, such as 2.0", problems),
        };
        match unit::percent(&text).filter(|percent| (100..=10_000).contains(percent)) {
            Some(percent) => *into = percent,
            None => self.not_allowed(key, value.span(), &text, "a number from 1 to 100, such as 2.0", problems),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str, problems: &mut Problems) -> Vec<Noted<&'a str>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.mistyped(key, value, "a list of texts: [\"a\", \"b\"]", problems);
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => texts.push(Noted { value: text.as_ref(), span: item.span() }),
                _ => self.mistyped(key, item, "texts in quotes", problems),
            }
        }
        texts
    }

    /// A list of some of the words of the key's form.
    pub(super) fn choices<T>(&self, key: &str, of: impl Fn(&str) -> Option<T>, problems: &mut Problems) -> Vec<T> {
        let Some(Form::Choices(words)) = self.form(key) else { return Vec::new() };
        let mut chosen = Vec::new();
        for text in self.texts(key, problems) {
            match of(text.value) {
                Some(value) => chosen.push(value),
                None => self.not_allowed(key, text.span, &quoted(text.value), &with_guess(text.value, words), problems),
            }
        }
        chosen
    }

    /// A table of its own.
    pub(super) fn table(&self, key: &str, problems: &mut Problems) -> Option<Section<'a>> {
        let Some(Form::Table(keys)) = self.form(key) else { return None };
        let table = self.plain_table(key, problems)?;
        let what = if self.at.is_empty() { format!("[{key}]") } else { format!("{} of {}", key, self.what) };
        let at = self.table.get_key_value(key).map_or_else(|| self.at(), |(name, _)| name.span());
        Some(Section::new(table, keys, what, at, problems))
    }

    /// A table whose keys are not the manifest's.
    pub(super) fn plain_table(&self, key: &str, problems: &mut Problems) -> Option<&'a DeTable<'a>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                self.mistyped(key, value, "a table", problems);
                None
            }
        }
    }

    /// The tables in a table, in the order of the file, each with its name.
    pub(super) fn named(&self, key: &str, problems: &mut Problems) -> Vec<(Noted<Name>, Section<'a>)> {
        let Some(Form::Named(keys)) = self.form(key) else { return Vec::new() };
        let Some(outer) = self.plain_table(key, problems) else { return Vec::new() };
        let mut found = Vec::with_capacity(outer.len());
        for (name, value) in outer {
            let DeValue::Table(table) = value.get_ref() else {
                let message =
                    format!("[{key}] holds a key `{}` that is no {key}", shown(name.get_ref(), SHOWN_CHARS_MAX));
                let help = Some(format!("each {key} is a table of its own: [{key}.NAME]"));
                problems.error(Code::Type, name.span(), message, "no table", help);
                continue;
            };
            match Name::new(name.get_ref()) {
                Ok(value) => {
                    let what = format!("{key} {value}");
                    let section = Section::new(table, keys, what, name.span(), problems);
                    found.push((Noted { value, span: name.span() }, section));
                }
                Err(error) => problems.error(Code::Value, name.span(), error.to_string(), "no name", None),
            }
        }
        found.sort_by_key(|(name, _)| name.span.start);
        found
    }
}

/// How a number is read.
struct Scale {
    /// Whether a bare number says what it counts: by the key's own name.
    bare: bool,
    read: fn(&str) -> Option<u64>,
    forms: &'static str,
    min: u64,
    max: u64,
    show: fn(u64) -> String,
}

impl Scale {
    fn of(key: &str, form: Form) -> Option<Self> {
        let scale = match form {
            Form::Count(min, max) => {
                Self { bare: true, read: |_| None, forms: "a whole number", min, max, show: |value| value.to_string() }
            }
            Form::Bytes(min, max) => {
                let bare = key.contains("_bytes");
                Self { bare, read: unit::size_bytes, forms: unit::SIZES, min, max, show: unit::shown_bytes }
            }
            Form::Millis(min, max) => {
                let bare = key.contains("_ms");
                Self { bare, read: unit::duration_ms, forms: unit::DURATIONS, min, max, show: unit::shown_ms }
            }
            _ => return None,
        };
        Some(scale)
    }

    fn accepted(&self) -> String {
        if self.max >= u64::from(u32::MAX) {
            return format!("{}, at least {}", self.forms, (self.show)(self.min));
        }
        format!("{}, from {} to {}", self.forms, (self.show)(self.min), (self.show)(self.max))
    }
}

fn integer(digits: &str, radix: u32) -> Option<u64> {
    u64::from_str_radix(digits, radix).ok()
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn with_guess(word: &str, words: &[&str]) -> String {
    match closest(word, words.iter().copied()) {
        Some(similar) => format!("{}; did you mean {similar}?", any_of(words)),
        None => any_of(words),
    }
}

/// A value as it is written, for messages.
fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        other => sort_of(other).to_owned(),
    }
}

fn sort_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with decimals",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
