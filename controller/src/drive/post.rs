//! Delivers the outbox: each webhook's letters in order, the first that is not received holds back those behind it.
//!
//! A webhook is served by one weiche at a time: a lease in the store, as members have. It never delays a run: it works
//! beside it, and what is not delivered when the run is over waits in the store for the next weiche.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use sha2::Sha256;
use tokio::sync::oneshot;

use super::chain;
use super::clock::now_ms;
use crate::input::webhook::Topic;
use crate::notice::Pace;
use crate::store::{Lease, Store, StoreError, Waiting};

/// How often the outbox is looked at while a run is driven.
const LOOK: Duration = Duration::from_millis(500);

/// Most of an error that is kept, in characters.
const SAID: usize = 300;

/// A webhook with its secret.
#[derive(Clone)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// Where letters go.
    pub url: String,
    /// What they are signed with; `None`: it cannot be had, and nothing is sent.
    pub secret: Option<Vec<u8>>,
    /// What it asked for.
    pub on: BTreeSet<Topic>,
    /// How long a try may take.
    pub timeout: Duration,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Who delivers.
#[derive(Clone)]
pub struct Post {
    /// The outbox.
    pub store: Arc<dyn Store>,
    /// The webhooks.
    pub receivers: Vec<Receiver>,
    /// As leases name this process.
    pub holder: String,
    /// Whether another holder is known to be gone.
    pub is_gone: fn(&Lease) -> bool,
    /// When to try again.
    pub pace: Pace,
}

/// What became of a webhook's letters in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Went {
    /// Nothing waits any more.
    Empty,
    /// The first letter waits for its next try.
    Waits(Waiting),
    /// Another weiche delivers to it.
    Elsewhere(String),
    /// There is no secret to sign with.
    NoSecret,
}

impl Post {
    /// Delivers until it is told to end: for as long as a run is driven.
    ///
    /// # Errors
    /// If the store cannot be used; whoever drives the run will notice, too.
    pub async fn serve(&self, over: &mut oneshot::Receiver<()>) -> Result<(), StoreError> {
        loop {
            self.go(false).await?;
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = &mut *over => return Ok(()),
            }
        }
    }

    /// Delivers what waits and is due (`now`: due or not), and says what became of each webhook.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub async fn go(&self, now: bool) -> Result<BTreeMap<String, Went>, StoreError> {
        // Side by side: one that does not answer delays no other.
        let mut tasks = tokio::task::JoinSet::new();
        for receiver in self.receivers.clone() {
            let post = self.clone();
            tasks.spawn(async move { (receiver.name.clone(), post.deliver(&receiver, now).await) });
        }
        let mut went = BTreeMap::new();
        while let Some(done) = tasks.join_next().await {
            let (name, result) = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            went.insert(name, result?);
        }
        Ok(went)
    }

    async fn deliver(&self, receiver: &Receiver, now: bool) -> Result<Went, StoreError> {
        let Some(first) = self.store.first_letter(&receiver.name).await? else { return Ok(Went::Empty) };
        if !now && !self.is_due(&first) {
            return Ok(Went::Waits(first));
        }
        let Some(secret) = &receiver.secret else { return Ok(Went::NoSecret) };
        // No member has a name with a colon.
        let claim = [format!("webhook:{}", receiver.name)];
        let epoch = loop {
            match self.store.lease(&claim, &self.holder, now_ms()).await? {
                Ok(epoch) => break epoch,
                Err(lease) if (self.is_gone)(&lease) => self.store.expire(&lease).await?,
                Err(lease) => return Ok(Went::Elsewhere(lease.holder)),
            }
        };
        let went = self.in_order(receiver, secret, (&claim, epoch), now).await;
        self.store.release(&claim, epoch).await?;
        went
    }

    /// Also where the next try is further away than any pause: the clock was set back since.
    fn is_due(&self, first: &Waiting) -> bool {
        let left = first.next_ms.saturating_sub(now_ms());
        left <= 0 || u128::from(left.unsigned_abs()) > self.pace.most.as_millis()
    }

    async fn in_order(
        &self,
        receiver: &Receiver,
        secret: &[u8],
        (claim, epoch): (&[String], u64),
        mut now: bool,
    ) -> Result<Went, StoreError> {
        let client = client(receiver.timeout);
        loop {
            // The claim lasts longer than any try.
            if !self.store.renew(claim, epoch, now_ms()).await? {
                return Ok(Went::Elsewhere("another weiche".into()));
            }
            // Read under the claim: whoever had it before has noted what was received.
            let Some(first) = self.store.first_letter(&receiver.name).await? else { return Ok(Went::Empty) };
            if !now && !self.is_due(&first) {
                return Ok(Went::Waits(first));
            }
            let tried = match &client {
                Ok(client) => send(client, receiver, secret, &first).await,
                Err(why) => Err(why.clone()),
            };
            match tried {
                Ok(()) => self.store.delivered(first.n, now_ms()).await?,
                Err(why) => {
                    let pause = self.pace.after(first.tries.saturating_add(1));
                    let next_ms = now_ms().saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
                    let why: String = why.chars().take(SAID).collect();
                    self.store.refused(first.n, &why, next_ms).await?;
                    now = false;
                }
            }
        }
    }
}

fn client(timeout: Duration) -> Result<Client, String> {
    // The process-wide provider may be set already; either way there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().timeout(timeout).redirect(Policy::none()).referer(false).no_proxy();
    builder.build().map_err(|e| chain(&e))
}

/// One try.
async fn send(client: &Client, receiver: &Receiver, secret: &[u8], waiting: &Waiting) -> Result<(), String> {
    let letter = &waiting.letter;
    let signature = signature(secret, now_ms() / 1000, &letter.body);
    let request = client
        .post(&receiver.url)
        .header("Content-Type", "application/json")
        .header("User-Agent", concat!("weiche/", env!("CARGO_PKG_VERSION")))
        .header("Idempotency-Key", &letter.key)
        .header("Weiche-Signature", signature)
        .body(letter.body.clone());
    // Its body is not read: what the receiver says is of no use, and it may say much.
    let answer = request.send().await.map_err(|e| chain(&e.without_url()))?.status();
    if answer.is_success() {
        return Ok(());
    }
    Err(match answer {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => format!("it answered {answer}"),
        _ if answer.is_server_error() => format!("it answered {answer}"),
        _ => format!("it REFUSES: it answered {answer}; its address or its secret is probably wrong"),
    })
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA-256 (RFC 2104) under the secret of the time in seconds since the epoch, a dot, and the
/// body. Receivers refuse old times, so that what was overheard cannot be sent once more.
fn signature(secret: &[u8], at: i64, body: &str) -> String {
    // A key of any length is right for HMAC.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(format!("{at}.{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at},v1={hex}")
}
