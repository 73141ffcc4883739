//! Bodies: how a value becomes bytes and comes back. JSON unless it is bytes already.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What can be a message's body, a reply, a stored value. Every serde type is, as JSON; [`Bytes`] and messages marked
/// `#[message(raw)]` are, as they are.
pub trait Body: Sized {
    /// As bytes. The error is for people.
    fn encode(&self) -> Result<Cow<'_, [u8]>, String>;

    /// From bytes. No bytes at all count as `null`, or else as `{}`. The error is for people.
    fn decode(bytes: Vec<u8>) -> Result<Self, String>;
}

impl<T: Serialize + DeserializeOwned> Body for T {
    fn encode(&self) -> Result<Cow<'_, [u8]>, String> {
        serde_json::to_vec(self).map(Cow::Owned).map_err(|error| error.to_string())
    }

    fn decode(bytes: Vec<u8>) -> Result<Self, String> {
        let read = |text: &[u8]| serde_json::from_slice(text).map_err(|error| error.to_string());
        if bytes.is_empty() { read(b"null").or_else(|_| read(b"{}")) } else { read(&bytes) }
    }
}

/// Bytes that are not JSON: a body, a reply or a stored value as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bytes(pub Vec<u8>);

impl Body for Bytes {
    fn encode(&self) -> Result<Cow<'_, [u8]>, String> {
        Ok(Cow::Borrowed(&self.0))
    }

    fn decode(bytes: Vec<u8>) -> Result<Self, String> {
        Ok(Self(bytes))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// A message: a body, the kind that names it and what it is answered with. Made by `#[message]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    note = "put `#[message]` on the type; timers, answers and the like take the SDK's own types"
)]
pub trait Message: Body {
    /// The kind, in the receiver's terms.
    const KIND: &'static str;

    /// What an ask is answered with.
    type Reply: Body;

    /// The kind of this very message: [`Self::KIND`] except for an [`Envelope`].
    fn kind(&self) -> &str {
        Self::KIND
    }

    /// Told its kind when it arrives; only an [`Envelope`] cares.
    #[doc(hidden)]
    fn labelled(&mut self, _kind: impl FnOnce() -> String) {}
}

/// A message whose kind is only known when it runs: to pass on what one does not understand. Its reply is [`Bytes`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The kind.
    pub kind: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Body for Envelope {
    fn encode(&self) -> Result<Cow<'_, [u8]>, String> {
        Ok(Cow::Borrowed(&self.body))
    }

    fn decode(body: Vec<u8>) -> Result<Self, String> {
        Ok(Self { kind: String::new(), body })
    }
}

impl Message for Envelope {
    const KIND: &'static str = "";
    type Reply = Bytes;

    fn kind(&self) -> &str {
        &self.kind
    }

    fn labelled(&mut self, kind: impl FnOnce() -> String) {
        self.kind = kind();
    }
}
