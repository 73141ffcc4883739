//! The control of the bench: the client library by itself, on the server that hosts use. Public for the bench alone; nothing
//! of a hive is in it, so that what hosts add can be seen.

use std::fmt::Display;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use async_nats::{Client, ConnectOptions, Subscriber, jetstream};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::Error;

/// What is sent, in bytes.
pub const BODY_BYTES: usize = 64;
/// Messages of a window, of which the best one counts. Nothing holds a publisher back, so the receiver's client and the
/// server have to have room for all of them: neither may leave one out.
const WINDOW_MESSAGES: usize = 200_000;
/// A window, or an answer, that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests before the first that counts.
const REQUESTS_BEFORE: u32 = 200;
const TELLS: &str = "bench.tells";
const REQUESTS: &str = "bench.requests";
const STREAM: &str = "bench";
const STREAMED: &str = "bench.streamed";
/// Far more than a run writes. The server sets it aside.
const STREAM_BYTES_MAX: i64 = 64 << 20;
/// A thread for each connection.
const THREADS: usize = 2;

static BODY: [u8; BODY_BYTES] = [b'x'; BODY_BYTES];

/// Two connections to one server.
#[derive(Debug)]
pub struct Control {
    runtime: tokio::runtime::Runtime,
    one: Client,
    two: Client,
}

impl Control {
    /// Connects twice to a server that is there.
    ///
    /// # Errors
    /// There is none.
    pub fn connect(url: &str) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
        let runtime = runtime.map_err(away)?;
        let connect = || ConnectOptions::new().subscription_capacity(WINDOW_MESSAGES).connect(url);
        let (one, two) = runtime.block_on(async { tokio::try_join!(connect(), connect()) }).map_err(away)?;
        Ok(Self { runtime, one, two })
    }

    /// Messages in a second that are published on one connection and received on the other, which may lose what it has no
    /// room for: here all are received. For so long, and a window at least.
    ///
    /// # Errors
    /// One is not received.
    pub fn tells_per_s(&self, time_max: Duration) -> Result<f64, Error> {
        self.runtime.block_on(async {
            let mut heard = self.heard(TELLS).await?;
            // The first one warms up.
            self.window(&mut heard).await?;
            let (began, mut best) = (Instant::now(), Duration::MAX);
            loop {
                best = best.min(self.window(&mut heard).await?);
                if began.elapsed() >= time_max {
                    return Ok(WINDOW_MESSAGES as f64 / best.as_secs_f64());
                }
            }
        })
    }

    /// What the second connection hears, once the server knows that it listens: its own first word has come back.
    async fn heard(&self, subject: &'static str) -> Result<Subscriber, Error> {
        let mut heard = self.two.subscribe(subject).await.map_err(away)?;
        self.two.publish(subject, Bytes::new()).await.map_err(away)?;
        let first = timeout(PATIENCE, heard.next()).await.map_err(away)?;
        first.map(|_| heard).ok_or_else(|| away("the subscription has ended"))
    }

    async fn window(&self, heard: &mut Subscriber) -> Result<Duration, Error> {
        let (one, began) = (self.one.clone(), Instant::now());
        let sender = tokio::spawn(async move {
            for _ in 0..WINDOW_MESSAGES {
                one.publish(TELLS, Bytes::from_static(&BODY)).await.map_err(away)?;
            }
            one.flush().await.map_err(away)
        });
        let mut count = 0;
        let all = async {
            while count < WINDOW_MESSAGES && heard.next().await.is_some() {
                count += 1;
            }
        };
        let _ = timeout(PATIENCE, all).await;
        if count < WINDOW_MESSAGES {
            return Err(away(format!("{count} of {WINDOW_MESSAGES} messages were received")));
        }
        sender.await.map_err(away)??;
        Ok(began.elapsed())
    }

    /// Messages in a second that are written to a stream of the hives' kind, each once the server has confirmed the one
    /// before it. For so long.
    ///
    /// # Errors
    /// The server keeps none, or does not confirm.
    pub fn jetstream_per_s(&self, time_max: Duration) -> Result<f64, Error> {
        self.runtime.block_on(async {
            let jetstream = jetstream::new(self.one.clone());
            let config = Config {
                name: STREAM.to_owned(),
                subjects: vec![STREAMED.to_owned()],
                retention: RetentionPolicy::WorkQueue,
                storage: StorageType::File,
                max_bytes: STREAM_BYTES_MAX,
                ..Config::default()
            };
            jetstream.create_stream(config).await.map_err(away)?;
            let (began, mut count) = (Instant::now(), 0u32);
            while began.elapsed() < time_max {
                let sent = jetstream.publish(STREAMED, Bytes::from_static(&BODY)).await.map_err(away)?;
                sent.await.map_err(away)?;
                count += 1;
            }
            let taken = began.elapsed();
            jetstream.delete_stream(STREAM).await.map_err(away)?;
            Ok(f64::from(count) / taken.as_secs_f64())
        })
    }

    /// Microseconds from a request on one connection to its reply from the other, one at a time: the median of so many.
    ///
    /// # Errors
    /// One is not answered.
    pub fn request_us(&self, requests: u32) -> Result<f64, Error> {
        self.runtime.block_on(async {
            let mut heard = self.heard(REQUESTS).await?;
            let two = self.two.clone();
            let answers = tokio::spawn(async move {
                while let Some(request) = heard.next().await {
                    if let Some(asker) = request.reply {
                        let _ = two.publish(asker, request.payload).await;
                    }
                }
            });
            let mut taken = Vec::new();
            for at in 0..REQUESTS_BEFORE + requests {
                let began = Instant::now();
                self.one.request(REQUESTS, Bytes::from_static(&BODY)).await.map_err(away)?;
                if at >= REQUESTS_BEFORE {
                    taken.push(began.elapsed());
                }
            }
            answers.abort();
            taken.sort_unstable();
            let median = taken.get(taken.len() / 2).copied().unwrap_or_default();
            Ok(median.as_secs_f64() * 1e6)
        })
    }
}

fn away(why: impl Display) -> Error {
    Error::NatsAway { why: why.to_string() }
}
