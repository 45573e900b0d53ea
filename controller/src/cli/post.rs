//! Webhooks of the fleet, with their secrets, and the task that delivers to them while a run is driven.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs::File;
use std::io::{Read as _, Write as _, stderr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::exit::Failure;
use super::lease;
use crate::drive::clock::now_ms;
use crate::drive::post::{Post, Receiver, Went};
use crate::input::load::Loaded;
use crate::input::webhook::SecretPlace;
use crate::notice::Pace;
use crate::store::{Store, StoreError};

/// Longest secret, in bytes: anything longer is some other file.
const SECRET_MAX: u64 = 4096;

/// How long a weiche whose run is over stays for what webhooks have not received.
const STAY: Duration = Duration::from_secs(5);

/// The fleet's webhooks. One whose secret cannot be had is among them: what it is to be told is kept.
pub(super) fn receivers(loaded: &Loaded) -> Vec<Receiver> {
    let receiver = |webhook: &crate::input::webhook::Webhook| Receiver {
        name: webhook.name.to_string(),
        url: webhook.url.value.clone(),
        secret: secret(&webhook.secret, loaded.dir()).ok(),
        on: webhook.on.clone(),
        timeout: webhook.timeout.0,
    };
    loaded.fleet().config().webhooks.iter().map(receiver).collect()
}

/// Whether all secrets are there, before a run begins. A run that has begun is never stopped by a missing one.
///
/// # Errors
/// The webhook whose secret cannot be had: the operator can provide it.
pub(super) fn check(loaded: &Loaded) -> Result<(), Failure> {
    for webhook in &loaded.fleet().config().webhooks {
        secret(&webhook.secret, loaded.dir()).map_err(|why| {
            Failure::new(format!("the secret of webhook `{}` cannot be had: {why}", &**webhook.name))
                .hint("provide it, or take the webhook out of weiche.yaml; nothing was changed")
        })?;
    }
    Ok(())
}

/// Reads a secret; says why not, without a word of it.
fn secret(place: &SecretPlace, fleet: &Path) -> Result<Vec<u8>, String> {
    let (name, text) = match place {
        SecretPlace::Env(name) => {
            let value = std::env::var(name).map_err(|_| format!("the environment has no variable {name}"))?;
            (name, value)
        }
        SecretPlace::File(name) => {
            let path = fleet.join(name);
            let said = |e: std::io::Error| format!("{}: {e}", path.display());
            let mut text = String::new();
            File::open(&path).and_then(|f| f.take(SECRET_MAX).read_to_string(&mut text)).map_err(said)?;
            (name, text)
        }
    };
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() { Err(format!("{name} is empty")) } else { Ok(line.as_bytes().to_vec()) }
}

/// Whoever delivers here.
pub(super) fn post(store: &Arc<dyn Store>, receivers: Vec<Receiver>) -> Post {
    let store = Arc::clone(store);
    Post { store, receivers, holder: lease::holder(), is_gone: lease::is_gone, pace: Pace::USUAL }
}

/// Delivery beside a run.
pub(super) struct Delivery {
    task: JoinSet<Result<(), StoreError>>,
    over: oneshot::Sender<()>,
    post: Post,
}

impl Delivery {
    /// Begins it.
    pub(super) fn start(post: Post) -> Delivery {
        for lacking in post.receivers.iter().filter(|receiver| receiver.secret.is_none()) {
            let name = &lacking.name;
            let _ = writeln!(stderr(), "Webhook {name} has no secret: what it is to be told is kept (weiche outbox).");
        }
        let (over, mut is_over) = oneshot::channel();
        let mut task = JoinSet::new();
        let serving = post.clone();
        if !post.receivers.is_empty() {
            task.spawn(async move {
                serving.serve(&mut is_over).await?;
                let end = now_ms().saturating_add(i64::try_from(STAY.as_millis()).unwrap_or(0));
                loop {
                    let went = serving.go(false).await?;
                    let soon = |went: &Went| match went {
                        Went::Waits(first) => Some(first.next_ms).filter(|due| *due < end),
                        Went::Empty | Went::Elsewhere(_) | Went::NoSecret => None,
                    };
                    let Some(due) = went.values().filter_map(soon).min() else { return Ok(()) };
                    let pause = u64::try_from(due - now_ms()).unwrap_or(0).max(10);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            });
        }
        Delivery { task, over, post }
    }

    /// Ends it once nothing waits, at the latest a few seconds after the run; says what is left.
    pub(super) async fn end(mut self) {
        let _ = self.over.send(());
        // What cannot be written or sent now is in the store, or the run has failed for the same reason.
        let _ = tokio::time::timeout(STAY, self.task.join_next()).await;
        self.task.shutdown().await;
        for mailbox in self.post.store.mailboxes().await.unwrap_or_default() {
            if self.post.receivers.iter().any(|receiver| receiver.name == mailbox.webhook) {
                let why = if mailbox.first.said.is_empty() { "not tried yet" } else { &mailbox.first.said };
                let (name, n) = (&mailbox.webhook, mailbox.waiting);
                let _ = writeln!(stderr(), "Webhook {name}: {n} notice(s) wait: {why}. See: weiche outbox");
            }
        }
    }
}
