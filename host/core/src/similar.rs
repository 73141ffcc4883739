//! Did you mean: the known word that is most like one that is unknown. Never a search: it is for messages about errors.

/// The longest word that is compared, in bytes: beyond that nobody mistypes, and comparing costs the square.
const BYTES_MAX: usize = 64;

/// Of the candidates the one that is nearest to the text, the first in their own order among equals. None if all need
/// more changes than a third of the text's length, at most 3. Compares bytes, for names have no others than ASCII, and
/// looks at every candidate.
pub fn closest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = text.as_bytes();
    if wanted.len() > BYTES_MAX {
        return None;
    }
    let mut best: Option<(usize, &'a str)> = None;
    let mut changes_max = (wanted.len() / 3).clamp(1, 3);
    for candidate in candidates {
        let Some(changes) = changes(wanted, candidate.as_bytes(), changes_max) else { continue };
        let nearest = (changes, candidate);
        if best.is_none_or(|best| nearest < best) {
            changes_max = changes;
            best = Some(nearest);
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// How many bytes must be inserted, removed or replaced; none if more than allowed.
fn changes(wanted: &[u8], candidate: &[u8], changes_max: usize) -> Option<usize> {
    if candidate.len().abs_diff(wanted.len()) > changes_max {
        return None;
    }
    // What it takes to come from the candidate so far to each beginning of what is wanted.
    let mut row: [usize; BYTES_MAX] = std::array::from_fn(|index| index + 1);
    for (line, byte) in candidate.iter().enumerate() {
        let (mut diagonal, mut left) = (line, line + 1);
        let mut least = left;
        for (cell, other) in row.iter_mut().zip(wanted) {
            let replaced = diagonal + usize::from(other != byte);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
            least = least.min(left);
        }
        if least > changes_max {
            return None;
        }
    }
    let all = row.get(..wanted.len()).and_then(<[usize]>::last).copied().unwrap_or(candidate.len());
    (all <= changes_max).then_some(all)
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
    fn slow(a: &[u8], b: &[u8]) -> usize {
        match (a, b) {
            ([], rest) | (rest, []) => rest.len(),
            ([x, a1 @ ..], [y, b1 @ ..]) if x == y => slow(a1, b1),
            ([_, a1 @ ..], [_, b1 @ ..]) => 1 + slow(a1, b1).min(slow(a, b1)).min(slow(a1, b)),
        }
    }

    proptest! {
        #[test]
        fn the_changes_are_those_of_the_definition(a in "[abc]{0,6}", b in "[abc]{0,6}", changes_max in 0usize..5) {
            let expected = slow(a.as_bytes(), b.as_bytes());
            let got = changes(a.as_bytes(), b.as_bytes(), changes_max);
            prop_assert_eq!(got, (expected <= changes_max).then_some(expected));
        }
    }
}
