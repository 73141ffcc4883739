//! Did you mean: the known word that is most like one that is unknown. Never a search: it is for messages about errors.

/// The longest word that is compared, in characters: beyond that nobody mistypes, and comparing costs the square.
const CHARS_MAX: usize = 64;

/// Of the candidates the one that is nearest to the text, the first in their own order among equals. None if all need
/// more changes than a third of the text's length, at most 3. Looks at every candidate.
pub fn closest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = text.chars().take(CHARS_MAX + 1).collect();
    if wanted.len() > CHARS_MAX {
        return None;
    }
    let mut best: Option<(usize, &'a str)> = None;
    let mut changes_max = (wanted.len() / 3).clamp(1, 3);
    for candidate in candidates {
        let Some(changes) = changes(&wanted, candidate, changes_max) else { continue };
        let nearest = (changes, candidate);
        if best.is_none_or(|best| nearest < best) {
            changes_max = changes;
            best = Some(nearest);
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// How many characters must be inserted, removed or replaced; none if more than allowed.
fn changes(wanted: &[char], candidate: &str, changes_max: usize) -> Option<usize> {
    // A character has at most four bytes, so this needs no count of characters.
    if candidate.len() > (wanted.len() + changes_max) * 4 || candidate.len() + changes_max < wanted.len() {
        return None;
    }
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (line, character) in candidate.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut least = left;
        for (cell, other) in row.iter_mut().skip(1).zip(wanted) {
            let replaced = diagonal + usize::from(*other != character);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
            least = least.min(left);
        }
        if least > changes_max {
            return None;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().filter(|changes| *changes <= changes_max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn among<'a>(text: &str, candidates: &[&'a str]) -> Option<&'a str> {
        closest(text, candidates.iter().copied())
    }

    #[test]
    fn works_when_a_letter_is_missing_wrong_or_too_many() {
        let known = ["digest", "ledger", "watcher"];
        for text in ["digst", "dogest", "digestt", "digets"] {
            assert_eq!(among(text, &known), Some("digest"), "{text}");
        }
        assert_eq!(among("legder", &known), Some("ledger"));
    }

    #[test]
    fn refuses_what_is_too_far_away() {
        assert_eq!(among("worker", &["digest", "ledger"]), None);
        assert_eq!(among("a", &["bcd"]), None);
        assert_eq!(among(&"x".repeat(65), &["x"]), None);
    }

    #[test]
    fn the_nearest_wins_and_then_the_first() {
        assert_eq!(among("worker-1", &["worker-22", "worker-2", "worker-3"]), Some("worker-2"));
    }

    /// The textbook's definition.
    fn slow(a: &[char], b: &[char]) -> usize {
        match (a, b) {
            ([], rest) | (rest, []) => rest.len(),
            ([x, a1 @ ..], [y, b1 @ ..]) if x == y => slow(a1, b1),
            ([_, a1 @ ..], [_, b1 @ ..]) => 1 + slow(a1, b1).min(slow(a, b1)).min(slow(a1, b)),
        }
    }

    proptest! {
        #[test]
        fn the_changes_are_those_of_the_definition(a in "[abü]{0,6}", b in "[abü]{0,6}", changes_max in 0usize..5) {
            let wanted: Vec<char> = a.chars().collect();
            let expected = slow(&wanted, &b.chars().collect::<Vec<_>>());
            let got = changes(&wanted, &b, changes_max);
            prop_assert_eq!(got, (expected <= changes_max).then_some(expected));
        }
    }
}
