//! The end of an ask as bytes: a letter for what it was, then the reply or the text.

use crate::error::{AskError, Refusal, SendError};

/// The reply's bytes, or why there is none.
pub(crate) type Ended = Result<Vec<u8>, AskError>;

pub(super) fn pack(ended: &Ended) -> Vec<u8> {
    let (letter, rest) = match ended {
        Ok(body) => (b'=', body.as_slice()),
        Err(error) => letter(error),
    };
    let mut bytes = vec![letter];
    bytes.extend_from_slice(rest);
    if let Err(AskError::NotSent(SendError::TooLarge(bytes_max))) = ended {
        bytes.extend_from_slice(bytes_max.to_string().as_bytes());
    }
    bytes
}

fn letter(error: &AskError) -> (u8, &[u8]) {
    let (letter, text) = match error {
        AskError::NotSent(error) => match error {
            SendError::Full => (b'f', ""),
            SendError::Absent => (b'a', ""),
            SendError::TooLarge(_) => (b'l', ""),
            SendError::Denied(text) => (b'd', text.as_str()),
            SendError::Invalid(text) => (b'i', text.as_str()),
            SendError::Limit(text) => (b'b', text.as_str()),
        },
        AskError::Refused(refusal) => match refusal {
            Refusal::Invalid(text) => (b'I', text.as_str()),
            Refusal::UnknownKind(text) => (b'U', text.as_str()),
            Refusal::Denied(text) => (b'D', text.as_str()),
            Refusal::Unavailable(text) => (b'N', text.as_str()),
            Refusal::Failed(text) => (b'F', text.as_str()),
        },
        AskError::Timeout => (b't', ""),
        AskError::Down(text) => (b'x', text.as_str()),
        AskError::DeadLetter => (b'm', ""),
        AskError::Cycle(text) => (b'c', text.as_str()),
        AskError::BadReply(text) => (b'r', text.as_str()),
    };
    (letter, text.as_bytes())
}

pub(super) fn unpack(bytes: Vec<u8>) -> Ended {
    let Some((letter, rest)) = bytes.split_first() else { return Err(gone("nothing is stored")) };
    let text = || String::from_utf8_lossy(rest).into_owned();
    Err(match letter {
        b'=' => return Ok(rest.to_vec()),
        b'f' => AskError::NotSent(SendError::Full),
        b'a' => AskError::NotSent(SendError::Absent),
        b'l' => AskError::NotSent(SendError::TooLarge(text().parse().unwrap_or(0))),
        b'd' => AskError::NotSent(SendError::Denied(text())),
        b'i' => AskError::NotSent(SendError::Invalid(text())),
        b'b' => AskError::NotSent(SendError::Limit(text())),
        b'I' => AskError::Refused(Refusal::Invalid(text())),
        b'U' => AskError::Refused(Refusal::UnknownKind(text())),
        b'D' => AskError::Refused(Refusal::Denied(text())),
        b'N' => AskError::Refused(Refusal::Unavailable(text())),
        b'F' => AskError::Refused(Refusal::Failed(text())),
        b't' => AskError::Timeout,
        b'x' => AskError::Down(text()),
        b'm' => AskError::DeadLetter,
        b'c' => AskError::Cycle(text()),
        b'r' => AskError::BadReply(text()),
        _ => gone("what is stored is no result"),
    })
}

fn gone(text: &str) -> AskError {
    AskError::BadReply(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_survives_the_state() {
        let text = || "why: \u{e9}\n".to_owned();
        let ends = [
            Ok(Vec::new()),
            Ok(b"{\"a\":1}".to_vec()),
            Err(AskError::NotSent(SendError::Full)),
            Err(AskError::NotSent(SendError::Absent)),
            Err(AskError::NotSent(SendError::TooLarge(1_048_576))),
            Err(AskError::NotSent(SendError::Denied(text()))),
            Err(AskError::NotSent(SendError::Invalid(text()))),
            Err(AskError::NotSent(SendError::Limit(text()))),
            Err(AskError::Refused(Refusal::Invalid(text()))),
            Err(AskError::Refused(Refusal::UnknownKind(text()))),
            Err(AskError::Refused(Refusal::Denied(text()))),
            Err(AskError::Refused(Refusal::Unavailable(text()))),
            Err(AskError::Refused(Refusal::Failed(text()))),
            Err(AskError::Timeout),
            Err(AskError::Down(text())),
            Err(AskError::DeadLetter),
            Err(AskError::Cycle(text())),
            Err(AskError::BadReply(text())),
        ];
        for end in ends {
            assert_eq!(unpack(pack(&end)), end);
        }
    }
}
