//! An answer that comes line by line. Never keeps more than one line.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;

use crate::failure::{Failure, Outcome};

/// The longest line, in bytes: an event has a log line and its fields at most.
const LINE_BYTES_MAX: usize = 4 << 20;

/// Lines of an answer.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    rest: Vec<u8>,
    /// Holds the connection open.
    _sender: SendRequest<Full<Bytes>>,
}

impl Lines {
    pub(super) fn new(body: Incoming, sender: SendRequest<Full<Bytes>>) -> Self {
        Self { body, rest: Vec::new(), _sender: sender }
    }

    /// The next line without its end; none when the host has no more. A host that ends, however it does, breaks off.
    pub async fn next(&mut self) -> Outcome<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.rest.iter().skip(searched).position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.rest.drain(..=searched + at).collect();
                line.pop();
                return Ok(Some(line));
            }
            searched = self.rest.len();
            if searched > LINE_BYTES_MAX {
                return Err(Failure::new("E_API_VERSION", format!("a line is longer than {LINE_BYTES_MAX} bytes")));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(Failure::new("E_HOST_GONE", format!("the host broke off: {error}")));
                }
                Some(Ok(frame)) => self.rest.extend(frame.into_data().unwrap_or_default()),
            }
        }
    }
}
