//! The bucket of a hive: found or made, and written to. Never decides what is written.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{HeaderValue, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_TTL};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{KeyValueErrorKind, PublishError};
use async_nats::jetstream::kv::{Config, Store};
use bytes::Bytes;

use super::address::Addresses;

/// How long the mark of something that is gone stands: whoever watches sees it at once, whoever comes later finds
/// nothing, which says the same.
const MARK_S: u64 = 60;

/// Finds the bucket, or makes it.
pub(super) async fn open(jetstream: &Context, addresses: &Addresses) -> Result<Store, String> {
    match jetstream.get_key_value(&addresses.bucket).await {
        Ok(store) => return Ok(store),
        Err(error) if error.kind() == KeyValueErrorKind::GetBucket => {}
        Err(error) => return Err(error.to_string()),
    }
    let config = Config {
        bucket: addresses.bucket.clone(),
        description: "leases of hosts and names of agents".to_owned(),
        history: 1,
        // An expired lease leaves a mark, or else nobody would see it expire.
        limit_markers: Some(Duration::from_secs(MARK_S)),
        ..Config::default()
    };
    jetstream.create_key_value(config).await.map_err(|error| error.to_string())
}

/// Writes an entry if the last one of its key is of this revision (0: there is none), for so many seconds or for ever.
pub(super) async fn put(
    jetstream: &Context,
    subject: String,
    value: Bytes,
    revision: u64,
    lasts_s: Option<u32>,
) -> Result<u64, PublishError> {
    let mut headers = expect(revision);
    if let Some(lasts_s) = lasts_s {
        headers.insert(NATS_MESSAGE_TTL, HeaderValue::from(u64::from(lasts_s)));
    }
    Ok(jetstream.publish_with_headers(subject, headers, value).await?.await?.sequence)
}

/// Puts the mark of something gone in place of an entry of this revision.
pub(super) async fn remove(jetstream: &Context, subject: String, revision: u64) -> Result<(), PublishError> {
    let mut headers = expect(revision);
    headers.insert("KV-Operation", "PURGE");
    headers.insert("Nats-Rollup", "sub");
    headers.insert(NATS_MESSAGE_TTL, HeaderValue::from(MARK_S));
    jetstream.publish_with_headers(subject, headers, Bytes::new()).await?.await.map(|_| ())
}

fn expect(revision: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(revision));
    headers
}
