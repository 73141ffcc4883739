//! Durations and sizes as people write them: `5s`, `200 ms`, `64MiB`. Never a number without its unit.

/// What a duration looks like.
pub(super) const DURATIONS: &str = "a number and a unit: \"200ms\", \"5s\", \"10m\" or \"1h\"";
/// What a size looks like.
pub(super) const SIZES: &str = "a number and a unit: \"512B\", \"64KiB\", \"64MiB\" or \"1GiB\"";
/// The same, for editors.
pub(super) const DURATION_PATTERN: &str = r"^[0-9]+(\.[0-9]+)? *(ms|s|m|h)$";
/// The same, for editors.
pub(super) const SIZE_PATTERN: &str = r"^[0-9]+(\.[0-9]+)? *(B|KiB|MiB|GiB)$";

/// A duration in milliseconds; none if the text is no duration or not a whole number of them.
pub fn duration_ms(text: &str) -> Option<u64> {
    scaled(text, |unit| match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    })
}

/// A size in bytes; none if the text is no size or not a whole number of them.
pub fn size_bytes(text: &str) -> Option<u64> {
    scaled(text, |unit| match unit {
        "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    })
}

/// Exact: the number is read as an integer and a count of decimals, never as a float.
fn scaled(text: &str, factor_of: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let number_end = text.find(|character: char| !character.is_ascii_digit() && character != '.')?;
    let (number, unit) = text.split_at_checked(number_end)?;
    let factor = u128::from(factor_of(unit.trim_start_matches(' '))?);
    let (whole, decimals) = number.split_once('.').map_or((number, None), |(whole, decimals)| (whole, Some(decimals)));
    if whole.is_empty() || decimals.is_some_and(str::is_empty) {
        return None;
    }
    let decimals = decimals.unwrap_or("");
    let divisor = 10u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let digits: u128 = format!("{whole}{decimals}").parse().ok()?;
    let product = digits.checked_mul(factor)?;
    (product % divisor == 0).then_some(product / divisor).and_then(|value| u64::try_from(value).ok())
}

/// A decimal number in hundredths; none if it has finer steps.
pub(super) fn percent(text: &str) -> Option<u32> {
    let value = scaled(&format!("{text}%"), |unit| (unit == "%").then_some(100))?;
    u32::try_from(value).ok()
}

/// A duration for people: the largest unit that it is a whole number of.
pub fn shown_ms(ms: u64) -> String {
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let fits = units.into_iter().find(|(size, _)| ms >= *size && ms.is_multiple_of(*size));
    fits.map_or_else(|| format!("{ms}ms"), |(size, unit)| format!("{}{unit}", ms / size))
}

/// A size for people: the largest unit that it is a whole number of.
pub fn shown_bytes(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = units.into_iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size));
    fits.map_or_else(|| format!("{bytes}B"), |(size, unit)| format!("{}{unit}", bytes / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_exact() {
        for (text, value) in [("5s", 5_000), ("200 ms", 200), ("1.5s", 1_500), ("10m", 600_000), ("1h", 3_600_000)] {
            assert_eq!(duration_ms(text), Some(value), "{text}");
        }
        for (text, value) in [("64MiB", 64 << 20), ("0.5KiB", 512), ("7 B", 7), ("4GiB", 4 << 30)] {
            assert_eq!(size_bytes(text), Some(value), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_no_sense() {
        for text in
            ["", "5", "s", "5 minuts", "-5s", "1.s", ".5s", "1e3s", "1.0005s", "99999999999999999999h", "５s", "5ß"]
        {
            assert_eq!(duration_ms(text), None, "{text}");
        }
        assert_eq!(size_bytes("64MB"), None);
    }

    #[test]
    fn shown_values_read_back() {
        for value in [1, 999, 1_000, 61_000, 3_600_000] {
            assert_eq!(duration_ms(&shown_ms(value)), Some(value));
        }
        for value in [1, 1023, 1024, 64 << 20, 3 << 30] {
            assert_eq!(size_bytes(&shown_bytes(value)), Some(value));
        }
    }
}
