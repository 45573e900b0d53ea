//! A resource is a lens: `get` reads its state, `want` says (purely) what the state should be, `put` makes it so.
//!
//! Apply is `put(wanted)`, undo is `put(before)`: there is no undo code. A kind implements [`Lens`]; the rest of the
//! agent and the controller sees it as a [`Kind`], which speaks JSON. To add one: a file in `resources/`, its `mod`
//! line, its line in [`each`], and examples; the laws, the schema and the diff then cover it.

mod claim;
mod cx;

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::resources as r;

pub use claim::Claim;
pub use cx::{Circumstances, Cx};

/// Shows a visitor every kind there is, alphabetical.
pub fn each(visitor: &mut impl Visitor) {
    visitor.visit::<r::apt_source::AptSource>();
    visitor.visit::<r::archive::Archive>();
    visitor.visit::<r::authorized_key::AuthorizedKey>();
    visitor.visit::<r::block::Block>();
    visitor.visit::<r::certificate::Certificate>();
    visitor.visit::<r::command::Command>();
    visitor.visit::<r::cron::Cron>();
    visitor.visit::<r::directory::Directory>();
    visitor.visit::<r::dns_record::DnsRecord>();
    visitor.visit::<r::download::Download>();
    visitor.visit::<r::file::File>();
    visitor.visit::<r::firewall::Firewall>();
    visitor.visit::<r::group::Group>();
    visitor.visit::<r::hold::Hold>();
    visitor.visit::<r::hostname::Hostname>();
    visitor.visit::<r::hosts_entry::HostsEntry>();
    visitor.visit::<r::ini::Ini>();
    visitor.visit::<r::line::Line>();
    visitor.visit::<r::locale::Locale>();
    visitor.visit::<r::mirror::Mirror>();
    visitor.visit::<r::mount::Mount>();
    visitor.visit::<r::network::Network>();
    visitor.visit::<r::package::Package>();
    visitor.visit::<r::postgres_database::PostgresDatabase>();
    visitor.visit::<r::postgres_role::PostgresRole>();
    visitor.visit::<r::postgres_server::PostgresServer>();
    visitor.visit::<r::postgres_upgrade::PostgresUpgrade>();
    visitor.visit::<r::relay::Relay>();
    visitor.visit::<r::replica::Replica>();
    visitor.visit::<r::samba_share::SambaShare>();
    visitor.visit::<r::service_address::ServiceAddress>();
    visitor.visit::<r::symlink::Symlink>();
    visitor.visit::<r::sysctl::Sysctl>();
    visitor.visit::<r::timer::Timer>();
    visitor.visit::<r::timezone::Timezone>();
    visitor.visit::<r::tree::Tree>();
    visitor.visit::<r::unit::Unit>();
    visitor.visit::<r::user::User>();
}

/// Sees each kind with its types. What only the controller wants of them (schemas, examples) is asked this way, and so
/// is not in the agent that is pushed.
pub trait Visitor {
    /// Sees one kind.
    fn visit<L: Lens + 'static>(&mut self);
}

/// All kinds, in the order of [`each`].
pub fn kinds() -> &'static [&'static dyn Kind] {
    struct All(Vec<&'static dyn Kind>);
    impl Visitor for All {
        fn visit<L: Lens + 'static>(&mut self) {
            self.0.push(&Of::<L>(PhantomData));
        }
    }
    static KINDS: OnceLock<Vec<&'static dyn Kind>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let mut all = All(Vec::new());
        each(&mut all);
        all.0
    })
}

/// Finds a kind by name.
pub fn kind(name: &str) -> Option<&'static dyn Kind> {
    kinds().iter().copied().find(|k| k.name() == name)
}

/// Every example of every kind.
pub fn examples() -> Vec<(&'static dyn Kind, Value)> {
    struct All(Vec<(&'static dyn Kind, Value)>);
    impl Visitor for All {
        fn visit<L: Lens + 'static>(&mut self) {
            let kind: &'static dyn Kind = &Of::<L>(PhantomData);
            self.0.extend(L::examples().into_iter().map(|example| (kind, example)));
        }
    }
    let mut all = All(Vec::new());
    each(&mut all);
    all.0
}

/// How exactly `put(before)` restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// Everything the state holds, and nothing else was touched.
    Exact,
    /// The state; the text says what may remain different.
    BestEffort(&'static str),
}

/// What a manifest (see [`crate::manifest`]) has to list of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// What stands at its paths: that is all there is of it.
    Paths,
    /// The same, with everything below.
    Trees,
    /// All packages.
    Packages,
    /// Its paths and its state.
    State,
}

/// One resource kind, typed.
pub trait Lens {
    /// The key in YAML and the `kind` on the wire.
    const NAME: &'static str;
    /// How exactly it is taken back.
    const UNDO: Exactness = Exactness::Exact;
    /// Carried out alone, with a sync before and after; others share one journal write and one sync.
    const BARRIER: bool = false;
    /// A barrier that can be taken back while the host comes up all the same, see [`Cx::booting`].
    const BOOTING: bool = false;
    /// What a manifest lists of it.
    const WITNESS: Witness = Witness::State;
    /// Whether a state says all there is, whatever was asked for: what one step makes is what the next one finds.
    const TELLING: bool = false;
    /// Keys of the spec under which a content stands (`content`, `template` or `source`) that is sent apart; the empty
    /// key is the spec itself.
    const SENT: &'static [&'static str] = &[];
    /// What YAML asks for. Unknown fields are errors.
    type Spec: Serialize + DeserializeOwned + JsonSchema;
    /// What the host has: also the undo record.
    type State: Serialize + DeserializeOwned + PartialEq;

    /// Says what is wrong with a spec that has the right form (relative paths, impossible combinations). Pure.
    fn problems(_spec: &Self::Spec) -> Vec<String> {
        Vec::new()
    }
    /// What this resource owns on its host, e.g. `path /etc/motd`: two owners of one thing are refused. Pure.
    fn claims(spec: &Self::Spec) -> Vec<Claim>;
    /// Files of which it changes a part only: others may own them, but nobody may own them whole. Pure.
    fn edits(_spec: &Self::Spec) -> Vec<PathBuf> {
        Vec::new()
    }
    /// Reads the state.
    fn get(spec: &Self::Spec, cx: &mut Cx<'_>) -> Result<Self::State, Fault>;
    /// What the state shall be, given what it is. Pure; a fixed point: `want(want(s)) == want(s)`.
    fn want(spec: &Self::Spec, state: &Self::State, given: Circumstances) -> Result<Self::State, Fault>;
    /// Makes the state so, coming from `now` or from anything between (a crash half-way). Idempotent.
    fn put(spec: &Self::Spec, now: &Self::State, to: &Self::State, cx: &mut Cx<'_>) -> Result<(), Fault>;
    /// Saves what `put(now)` will need after `put(wanted)`; called before `Begin` is journalled. May refuse a change
    /// that could not be taken back.
    fn keep(_spec: &Self::Spec, _now: &Self::State, _wanted: &Self::State, _cx: &mut Cx<'_>) -> Result<(), Fault> {
        Ok(())
    }
    /// Whether two states, the first from before and the second from after an undo, are the same as far as undo
    /// promises; differs from `==` where a state holds what cannot be brought back (an invocation id).
    fn same(_spec: &Self::Spec, a: &Self::State, b: &Self::State) -> bool {
        a == b
    }
    /// Whether what the step made (`after`) is still what is there, in all that this resource owns: if not, someone
    /// changed it since, and that is drift. Pure.
    fn intact(_spec: &Self::Spec, after: &Self::State, now: &Self::State) -> bool {
        after == now
    }
    /// What is wrong with it although nobody has changed it: something that it does again and again is in vain. Nothing is
    /// planned or taken back otherwise for it.
    fn amiss(_spec: &Self::Spec, _cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
        Ok(None)
    }
    /// The change in words, a line each, where that says more than the states' fields do. Pure.
    fn change(_now: &Self::State, _wanted: &Self::State) -> Option<Vec<String>> {
        None
    }
    /// Text content behind a state, for diffs: only if small, text, and not sensitive.
    fn preview(_spec: &Self::Spec, _state: &Self::State, _cx: &mut Cx<'_>) -> Option<String> {
        None
    }
    /// The contents behind a wanted state, by digest, the one that a diff shows first. Pure.
    fn contents(_spec: &Self::Spec, _wanted: &Self::State) -> Vec<Digest> {
        Vec::new()
    }
    /// Those of [`Lens::contents`] that the host does not already have where they are wanted. Pure.
    fn needs(spec: &Self::Spec, _now: &Self::State, wanted: &Self::State) -> Vec<Digest> {
        Self::contents(spec, wanted)
    }
    /// Whether the state cannot be read back (a command without `creates` and `unless`): the journal's word is taken.
    fn blind(_spec: &Self::Spec) -> bool {
        false
    }
    /// Whether there is no way back, declared by the author.
    fn irreversible(_spec: &Self::Spec) -> bool {
        false
    }
    /// Whether diffs of this resource must be masked.
    fn sensitive(_spec: &Self::Spec) -> bool {
        false
    }
    /// A few words for people, e.g. `nginx` or `/etc/motd`.
    fn title(spec: &Self::Spec) -> String;
    /// Specs in YAML-like JSON that documentation shows and every law test uses.
    fn examples() -> Vec<Value>;
}

/// A [`Lens`] seen from outside: specs and states are JSON.
pub trait Kind: Sync {
    /// See [`Lens::NAME`].
    fn name(&self) -> &'static str;
    /// See [`Lens::UNDO`].
    fn undo(&self) -> Exactness;
    /// See [`Lens::BARRIER`].
    fn barrier(&self) -> bool;
    /// Whether it can be taken back while the host comes up: [`Lens::BOOTING`], and whatever is no barrier.
    fn booting(&self) -> bool;
    /// See [`Lens::WITNESS`].
    fn witness(&self) -> Witness;
    /// See [`Lens::SENT`].
    fn sent(&self) -> &'static [&'static str];
    /// Reads a spec and says all that is wrong with it. Pure.
    fn problems(&self, spec: &Value) -> Vec<String>;
    /// See [`Lens::claims`].
    fn claims(&self, spec: &Value) -> Result<Vec<Claim>, Fault>;
    /// See [`Lens::edits`].
    fn edits(&self, spec: &Value) -> Vec<PathBuf>;
    /// See [`Lens::get`].
    fn get(&self, spec: &Value, cx: &mut Cx<'_>) -> Result<Value, Fault>;
    /// See [`Lens::want`].
    fn want(&self, spec: &Value, state: &Value, given: Circumstances) -> Result<Value, Fault>;
    /// See [`Lens::put`].
    fn put(&self, spec: &Value, now: &Value, to: &Value, cx: &mut Cx<'_>) -> Result<(), Fault>;
    /// See [`Lens::keep`].
    fn keep(&self, spec: &Value, now: &Value, wanted: &Value, cx: &mut Cx<'_>) -> Result<(), Fault>;
    /// See [`Lens::same`].
    fn same(&self, spec: &Value, a: &Value, b: &Value) -> Result<bool, Fault>;
    /// See [`Lens::intact`].
    fn intact(&self, spec: &Value, after: &Value, now: &Value) -> Result<bool, Fault>;
    /// See [`Lens::amiss`].
    fn amiss(&self, spec: &Value, cx: &mut Cx<'_>) -> Result<Option<String>, Fault>;
    /// See [`Lens::change`].
    fn change(&self, now: &Value, wanted: &Value) -> Option<Vec<String>>;
    /// See [`Lens::preview`].
    fn preview(&self, spec: &Value, state: &Value, cx: &mut Cx<'_>) -> Option<String>;
    /// See [`Lens::contents`].
    fn contents(&self, spec: &Value, wanted: &Value) -> Result<Vec<Digest>, Fault>;
    /// See [`Lens::needs`].
    fn needs(&self, spec: &Value, now: &Value, wanted: &Value) -> Result<Vec<Digest>, Fault>;
    /// See [`Lens::blind`].
    fn blind(&self, spec: &Value) -> bool;
    /// See [`Lens::irreversible`].
    fn irreversible(&self, spec: &Value) -> bool;
    /// See [`Lens::sensitive`].
    fn sensitive(&self, spec: &Value) -> bool;
    /// See [`Lens::title`].
    fn title(&self, spec: &Value) -> String;
}

/// Makes a [`Kind`] of a [`Lens`].
struct Of<L>(PhantomData<fn() -> L>);

impl<L: Lens> Kind for Of<L> {
    fn name(&self) -> &'static str {
        L::NAME
    }

    fn undo(&self) -> Exactness {
        L::UNDO
    }

    fn barrier(&self) -> bool {
        L::BARRIER
    }

    fn booting(&self) -> bool {
        L::BOOTING || !L::BARRIER
    }

    fn witness(&self) -> Witness {
        L::WITNESS
    }

    fn sent(&self) -> &'static [&'static str] {
        L::SENT
    }

    fn problems(&self, spec: &Value) -> Vec<String> {
        match L::Spec::deserialize(spec) {
            Ok(spec) => L::problems(&spec),
            Err(error) => vec![error.to_string()],
        }
    }

    fn claims(&self, spec: &Value) -> Result<Vec<Claim>, Fault> {
        Ok(L::claims(&read(L::NAME, "spec", spec)?))
    }

    fn edits(&self, spec: &Value) -> Vec<PathBuf> {
        read(L::NAME, "spec", spec).map(|spec| L::edits(&spec)).unwrap_or_default()
    }

    fn get(&self, spec: &Value, cx: &mut Cx<'_>) -> Result<Value, Fault> {
        write(&L::get(&read(L::NAME, "spec", spec)?, cx)?)
    }

    fn want(&self, spec: &Value, state: &Value, given: Circumstances) -> Result<Value, Fault> {
        write(&L::want(&read(L::NAME, "spec", spec)?, &read(L::NAME, "state", state)?, given)?)
    }

    fn put(&self, spec: &Value, now: &Value, to: &Value, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let (now, to) = (read(L::NAME, "state", now)?, read(L::NAME, "state", to)?);
        L::put(&read(L::NAME, "spec", spec)?, &now, &to, cx)
    }

    fn keep(&self, spec: &Value, now: &Value, wanted: &Value, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let (now, wanted) = (read(L::NAME, "state", now)?, read(L::NAME, "state", wanted)?);
        L::keep(&read(L::NAME, "spec", spec)?, &now, &wanted, cx)
    }

    fn same(&self, spec: &Value, a: &Value, b: &Value) -> Result<bool, Fault> {
        let (a, b) = (read(L::NAME, "state", a)?, read(L::NAME, "state", b)?);
        Ok(L::same(&read(L::NAME, "spec", spec)?, &a, &b))
    }

    fn intact(&self, spec: &Value, after: &Value, now: &Value) -> Result<bool, Fault> {
        let (after, now) = (read(L::NAME, "state", after)?, read(L::NAME, "state", now)?);
        Ok(L::intact(&read(L::NAME, "spec", spec)?, &after, &now))
    }

    fn amiss(&self, spec: &Value, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
        L::amiss(&read(L::NAME, "spec", spec)?, cx)
    }

    fn change(&self, now: &Value, wanted: &Value) -> Option<Vec<String>> {
        L::change(&read(L::NAME, "state", now).ok()?, &read(L::NAME, "state", wanted).ok()?)
    }

    fn preview(&self, spec: &Value, state: &Value, cx: &mut Cx<'_>) -> Option<String> {
        let (spec, state) = (read(L::NAME, "spec", spec).ok()?, read(L::NAME, "state", state).ok()?);
        if L::sensitive(&spec) { None } else { L::preview(&spec, &state, cx) }
    }

    fn contents(&self, spec: &Value, wanted: &Value) -> Result<Vec<Digest>, Fault> {
        Ok(L::contents(&read(L::NAME, "spec", spec)?, &read(L::NAME, "state", wanted)?))
    }

    fn needs(&self, spec: &Value, now: &Value, wanted: &Value) -> Result<Vec<Digest>, Fault> {
        let (now, wanted) = (read(L::NAME, "state", now)?, read(L::NAME, "state", wanted)?);
        let mut needs = L::needs(&read(L::NAME, "spec", spec)?, &now, &wanted);
        let holder = |key: &&str| if key.is_empty() { Some(spec) } else { spec.get(*key) };
        for holder in L::SENT.iter().filter_map(holder) {
            let digest = holder["blob"]["digest"].as_str().and_then(|text| Digest::try_from(text.to_owned()).ok());
            needs.extend(digest.filter(|digest| !needs.contains(digest)));
        }
        Ok(needs)
    }

    fn blind(&self, spec: &Value) -> bool {
        read::<L::Spec>(L::NAME, "spec", spec).is_ok_and(|spec| L::blind(&spec))
    }

    fn irreversible(&self, spec: &Value) -> bool {
        read::<L::Spec>(L::NAME, "spec", spec).is_ok_and(|spec| L::irreversible(&spec))
    }

    fn sensitive(&self, spec: &Value) -> bool {
        read::<L::Spec>(L::NAME, "spec", spec).is_ok_and(|spec| L::sensitive(&spec))
    }

    fn title(&self, spec: &Value) -> String {
        read::<L::Spec>(L::NAME, "spec", spec).map(|spec| L::title(&spec)).unwrap_or_default()
    }
}

/// Not inlined: a dozen methods of every kind come here, and the agent is to stay small.
#[inline(never)]
fn read<T: DeserializeOwned>(kind: &str, what: &str, value: &Value) -> Result<T, Fault> {
    T::deserialize(value).map_err(|e| Fault::new(FaultCode::Invalid, format!("{kind}: unreadable {what}: {e}")))
}

#[inline(never)]
fn write<T: Serialize>(value: &T) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|e| Fault::new(FaultCode::Invalid, format!("state cannot be written: {e}")))
}
