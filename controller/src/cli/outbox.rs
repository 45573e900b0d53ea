//! `weiche outbox`: what webhooks have not received yet, and sending it.

use std::io::{Write as _, stderr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Context, post, work};
use crate::drive::clock::now_ms;
use crate::drive::post::Went;
use crate::store::Mailbox;

/// How often `--follow` looks.
const LOOK: Duration = Duration::from_secs(1);

/// Show what webhooks have not received yet, or send it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Send what waits, in order, whether its next try is due or not (exit code 1 if something is left)
    Send {
        /// Stay, and send whatever comes, until it is ended
        #[arg(long)]
        follow: bool,
    },
    /// Forget what waits for a webhook that is no longer in weiche.yaml: it will never be received
    Forget {
        /// Its name
        webhook: String,
    },
}

/// A line of `weiche outbox --json`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Line<'a> {
    /// The webhook's name.
    webhook: &'a str,
    /// How many notices wait for it.
    waiting: u64,
    /// Key of the first.
    first: &'a str,
    /// How often that was tried.
    tries: u32,
    /// When it is tried again, in milliseconds since the epoch.
    next_ms: i64,
    /// Why the last try failed.
    said: &'a str,
    /// Whether weiche.yaml still has the webhook.
    configured: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let loaded = work::load_fleet(context)?;
    let store = work::store(context, Some(&loaded)).await?;
    let receivers = post::receivers(&loaded);
    let known: Vec<String> = receivers.iter().map(|receiver| receiver.name.clone()).collect();
    let failed = |e| Failure::of("the outbox", &e);
    if let Some(Action::Forget { webhook }) = &args.action {
        if known.contains(webhook) {
            let failure = Failure::new(format!("`{webhook}` is in weiche.yaml: what waits for it is not forgotten"));
            return Err(failure.hint("take it out there first; or `weiche outbox send`"));
        }
        let mut forgotten = 0;
        while let Some(first) = store.first_letter(webhook).await.map_err(failed)? {
            store.delivered(first.n, now_ms()).await.map_err(failed)?;
            forgotten += 1;
        }
        if forgotten == 0 {
            return Err(Failure::new(format!("nothing waits for `{webhook}`")).hint("`weiche outbox` shows what waits"));
        }
        work::print(&format!("{forgotten} notice(s) to {webhook} are forgotten.\n"));
        return Ok(Exit::Done);
    }
    if let Some(Action::Send { follow }) = args.action {
        post::check(&loaded)?;
        let post = post::post(&store, receivers);
        let went = post.go(true).await.map_err(failed)?;
        if follow {
            loop {
                tokio::time::sleep(LOOK).await;
                post.go(false).await.map_err(failed)?;
            }
        }
        let mut left = 0;
        for (name, went) in went {
            left += usize::from(went != Went::Empty);
            let said = match went {
                Went::Empty => "nothing waits any more".into(),
                Went::Waits(first) => {
                    format!("{} is not received after {} tries: {}", first.letter.key, first.tries, first.said)
                }
                Went::Elsewhere(holder) => format!("another weiche sends to it: {holder}"),
                Went::NoSecret => "it has no secret".into(),
            };
            let _ = writeln!(stderr(), "{name}: {said}");
        }
        return match left {
            0 => Ok(Exit::Done),
            n => Err(Failure::new(format!("{n} webhook(s) have not received everything"))
                .hint("nothing is lost: it is tried again beside the next run, or by `weiche outbox send`")),
        };
    }
    let boxes = store.mailboxes().await.map_err(failed)?;
    let is_known = |mailbox: &Mailbox| known.contains(&mailbox.webhook);
    if context.json {
        let line = |m: &Mailbox| serde_json::to_string(&line(m, is_known(m))).unwrap_or_default() + "\n";
        work::print(&boxes.iter().map(line).collect::<String>());
    } else if boxes.is_empty() {
        work::print("Nothing waits.\n");
    } else {
        boxes.iter().for_each(|mailbox| work::print(&words(mailbox, is_known(mailbox))));
    }
    Ok(Exit::Done)
}

fn line(mailbox: &Mailbox, configured: bool) -> Line<'_> {
    let Mailbox { webhook, waiting, first } = mailbox;
    let (tries, next_ms, said) = (first.tries, first.next_ms, &first.said);
    Line { webhook, waiting: *waiting, first: &first.letter.key, tries, next_ms, said, configured }
}

fn words(mailbox: &Mailbox, configured: bool) -> String {
    let first = &mailbox.first;
    let state = match first.tries {
        _ if !configured => {
            "there is no such webhook in weiche.yaml any more; drop it with `weiche outbox forget`".into()
        }
        0 => "not tried yet".into(),
        n => format!("tried {n} times, again at {}: {}", crate::show::time(first.next_ms), first.said),
    };
    format!("{}: {} wait, the first is {}: {state}\n", mailbox.webhook, mailbox.waiting, first.letter.key)
}
