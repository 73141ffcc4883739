//! Exact shares: rationals that are compared by multiplying across, never divided, never floats.

/// `> parts/whole` or `>= parts/whole`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share {
    parts: u64,
    whole: u64,
    /// Reaching it exactly is not enough.
    strict: bool,
}

impl Share {
    /// All.
    pub(crate) const ALL: Self = Self { parts: 1, whole: 1, strict: false };

    /// `p/q`, more than 0 and at most 1, or why it is none. Only digits and the stroke: no sign, no space.
    pub(crate) fn read(text: &str, strict: bool) -> Result<Self, String> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { digits.parse::<u64>().ok() } else { None }
        };
        let (parts, whole) = text
            .split_once('/')
            .and_then(|(parts, whole)| Some((number(parts)?, number(whole)?)))
            .ok_or_else(|| format!("{text:?} is no fraction like \"2/3\""))?;
        if parts == 0 || parts > whole {
            return Err(format!("{text:?} is not above 0 and at most 1"));
        }
        if strict && parts == whole {
            return Err("nothing is more than all".to_owned());
        }
        Ok(Self { parts, whole, strict })
    }

    /// Whether it is `>= 1`.
    pub(crate) fn is_all(self) -> bool {
        self.parts == self.whole
    }

    /// Whether `score` is so much of `base`. Both are below 2^64, so the products fit.
    pub(crate) fn is_reached(self, score: u64, base: u64) -> bool {
        let (have, need) = self.across(score, base);
        if self.strict { have > need } else { have >= need }
    }

    /// The least whole number that is so much of `base`, for a share that is not strict.
    pub(crate) fn least_of(self, base: u64) -> u64 {
        let (_, need) = self.across(0, base);
        // A share is at most 1, so this is at most `base`.
        u64::try_from(need.div_ceil(u128::from(self.whole))).unwrap_or(base)
    }

    fn across(self, score: u64, base: u64) -> (u128, u128) {
        (u128::from(score) * u128::from(self.whole), u128::from(base) * u128::from(self.parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirds_are_exact() {
        let share = Share::read("2/3", false).unwrap();
        assert!(share.is_reached(2, 3) && !share.is_reached(6, 10) && share.is_reached(7, 10));
        let strict = Share::read("2/3", true).unwrap();
        assert!(!strict.is_reached(2, 3) && strict.is_reached(3, 4));
        // In floats, 2/3 of this base is the score itself.
        let base = 3 * (1_u64 << 60);
        assert!(share.is_reached(2 << 60, base) && !share.is_reached((2 << 60) - 1, base));
    }

    #[test]
    fn no_product_is_too_large() {
        let share = Share::read(&format!("{}/{}", u64::MAX - 1, u64::MAX), true).unwrap();
        assert!(share.is_reached(u64::MAX, u64::MAX) && !share.is_reached(u64::MAX - 1, u64::MAX));
        assert_eq!(Share::ALL.least_of(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_least_is_rounded_up() {
        let share = Share::read("3/5", false).unwrap();
        assert_eq!([0, 1, 4, 5, 6].map(|base| share.least_of(base)), [0, 1, 3, 3, 4]);
    }

    #[test]
    fn refuses_what_is_no_share() {
        for text in
            ["", "1", "/", "1/", "/2", "0/1", "2/1", "-1/2", "+1/2", " 1/2", "1/2/3", "1/99999999999999999999", "a/b"]
        {
            assert!(Share::read(text, false).is_err(), "{text:?}");
        }
        assert!(Share::read("1/1", true).is_err() && Share::read("1/1", false).is_ok_and(Share::is_all));
    }
}
