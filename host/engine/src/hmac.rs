//! HMAC with SHA-256 (RFC 2104): proof that compiled code was written by whoever holds the key. Never makes or keeps a
//! key.

use sha2::{Digest, Sha256};

/// What SHA-256 works on at a time, in bytes.
const BLOCK_BYTES: usize = 64;
/// The length of a key and of a code, in bytes.
pub(crate) const KEY_BYTES: usize = 32;

/// An authentication code that is being computed.
pub(crate) struct Hmac {
    inner: Sha256,
    outer: Sha256,
}

impl Hmac {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut inner = [0x36_u8; BLOCK_BYTES];
        let mut outer = [0x5c_u8; BLOCK_BYTES];
        for ((inner, outer), key) in inner.iter_mut().zip(&mut outer).zip(key) {
            *inner ^= key;
            *outer ^= key;
        }
        Self { inner: Sha256::new_with_prefix(inner), outer: Sha256::new_with_prefix(outer) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
    }

    pub(crate) fn code(self) -> [u8; KEY_BYTES] {
        self.outer.chain_update(self.inner.finalize()).finalize().into()
    }

    /// Takes as long whatever the difference is.
    pub(crate) fn matches(self, expected: &[u8]) -> bool {
        let code = self.code();
        expected.len() == code.len() && code.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_the_rfc() {
        // RFC 4231, test case 2 with its key filled up with zeros, as the algorithm does.
        let mut key = [0; KEY_BYTES];
        key[..4].copy_from_slice(b"Jefe");
        let mut hmac = Hmac::new(&key);
        hmac.update(b"what do ya want ");
        hmac.update(b"for nothing?");
        let hex: String = hmac.code().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn another_text_or_key_does_not_match() {
        let code = Hmac::new(&[1; KEY_BYTES]).code();
        assert!(Hmac::new(&[1; KEY_BYTES]).matches(&code));
        assert!(!Hmac::new(&[2; KEY_BYTES]).matches(&code));
        assert!(!Hmac::new(&[1; KEY_BYTES]).matches(&code[1..]));
    }
}
