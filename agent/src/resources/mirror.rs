//! `mirror`: a directory follows one of another host's, by rsync(1) over SSH, until it is the users' own; sibling of
//! `postgres_server` for files. It never loses data: what a copy replaces is put aside, nothing becomes the users' own
//! before it has been proven to have all that the other host has, and nothing that users wrote is taken back before
//! it has been proven to be there too. The data themselves are no part of the state.

mod back;
mod delete;
mod feed;
mod place;
mod round;
mod rsync;
mod spec;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::place::Place;
use super::timer;
use super::timer::pair;
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

pub use spec::{Data, Limit, Mode, Owners, Rounds, Source, Spec};

/// A directory that follows another.
#[derive(Debug)]
pub struct Mirror;

/// A directory as a mirror sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What stands at its path.
    pub place: Place,
    /// Whether what stood there is put aside.
    pub aside: bool,
    /// What it follows; `None`: it is the users' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<Follows>,
    /// The timer that brings it up to date.
    pub timer: timer::State,
}

/// What a directory follows, and how: the content of `follows.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Follows {
    /// The directory.
    pub path: String,
    /// The other host.
    pub of: Source,
    /// How owners are told apart.
    pub owners: Owners,
    /// How often a timer brings it up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// Limits by time of day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bandwidth: Vec<Limit>,
    /// How many percent of its entries a round may delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_at_most: Option<u8>,
    /// The first copy is not through.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copying: bool,
    /// Something in it may be nowhere else: a person has said that it goes back all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
}

impl Follows {
    fn new(spec: &Spec) -> Option<Follows> {
        Follows::one_day(spec).filter(|_| spec.mode == Mode::Follow)
    }

    /// What it follows, now or when it is told to.
    fn one_day(spec: &Spec) -> Option<Follows> {
        let of = spec.of.clone()?;
        let (path, owners, every, bandwidth) =
            (spec.path.clone(), spec.owners, spec.every.clone(), spec.bandwidth.clone());
        let delete_at_most = spec.delete_at_most;
        Some(Follows { path, of, owners, every, bandwidth, delete_at_most, copying: false, unproven: false })
    }

    /// Without what is no part of what was asked for.
    fn plain(&self) -> Follows {
        Follows { unproven: false, ..self.clone() }
    }
}

impl Lens for Mirror {
    const NAME: &'static str = "mirror";
    const TELLING: bool = true;
    const UNDO: Exactness = Exactness::BestEffort(
        "a directory that users had meanwhile on another host, and has had a last round from there",
    );
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        spec.problems()
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        let unit = feed::unit(&spec.name);
        let own = [spec.path.clone(), feed::marker(&spec.name), feed::doubt(&spec.name)];
        let files = pair::paths(&unit).into_iter().chain(own);
        let units = [format!("{unit}.service"), format!("{unit}.timer")].map(|unit| Claim::Name("unit", unit));
        files.map(|path| Claim::Path(path.into())).chain(units).collect()
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        Ok(State {
            place: Place::get(&spec.path, cx)?,
            aside: place::aside_exists(spec, cx)?,
            follows: feed::follows(&spec.name, cx)?,
            timer: pair::get(&feed::unit(&spec.name), cx)?,
        })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        let follows = Follows::new(spec);
        let (mut place, mut aside) = (state.place, state.aside);
        if follows.is_some() && state.follows.is_none() && spec.data == Data::Copy {
            if place == Place::Directory {
                if aside {
                    let message = "what an earlier run put aside is still there, and this would be next";
                    let hint = "give it up with `forget_aside: true`, or say `data: own` if this is what the other has";
                    return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
                }
                aside = true;
            }
            if place == Place::Absent {
                place = Place::Directory;
            }
        }
        aside &= !spec.forget_aside;
        let texts = Follows::one_day(spec).and_then(|follows| feed::units(&spec.name, &follows));
        let timer = pair::want(&feed::unit(&spec.name), texts.as_ref(), &state.timer)?;
        Ok(State { place, aside, follows, timer })
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let ours = Follows::new(spec).filter(|ours| wanted.follows.as_ref().is_some_and(|to| to.plain() == *ours));
        if let Some(other) = now.follows.as_ref().filter(|other| other.path != spec.path) {
            let message = format!("the mirror `{}` is the one of {}", spec.name, other.path);
            return Err(Fault::new(FaultCode::Conflict, message).hint("choose another `name`"));
        }
        if let Some(ours) = &ours {
            if now.follows.as_ref().is_some_and(|now| now.of != ours.of || now.owners != ours.owners) {
                let message = "it follows another host already, or counts owners otherwise";
                return Err(
                    Fault::new(FaultCode::Unsupported, message).hint("make it `own` or `gone` in an earlier step")
                );
            }
            if now.follows.is_none() {
                place::check(spec, now.place, cx)?;
            }
            // What is ready was tried then: its timer runs.
            let tried = spec.data == Data::Own && ours.every.is_some() && now.timer == wanted.timer;
            if now.follows.is_none() && !tried {
                rsync::check(&spec.name, ours, cx)?;
            }
        }
        let in_doubt = now.follows.as_ref().is_some_and(|now| now.unproven);
        if spec.mode == Mode::Own && in_doubt && wanted.follows.is_none() {
            let message = format!("what {} holds may be nowhere else, and a last round would remove it", spec.path);
            let hint = "have it follow the other host again first: that is kept beside it then";
            return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
        }
        if let (Mode::Ready, Some(ours)) = (spec.mode, Follows::one_day(spec)) {
            if now.follows.is_some() {
                let fault = Fault::new(FaultCode::Conflict, "it follows a host already");
                return Err(fault.hint("make it `own` or `gone` in an earlier step"));
            }
            rsync::check(&spec.name, &ours, cx)?;
        }
        pair::keep(&now.timer, &wanted.timer, cx)
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let name = spec.name.as_str();
        cx.host.sweep(feed::marker(name).as_ref())?;
        cx.host.sweep(feed::doubt(name).as_ref())?;
        for text in Follows::one_day(spec).and_then(|follows| feed::units(name, &follows)).iter().flatten() {
            cx.offer(text.as_bytes());
        }
        let Some(follows) = &to.follows else {
            if now.follows.is_some() || now.timer != to.timer {
                feed::quiet(name, now, cx)?;
            }
            match (&now.follows, spec.mode) {
                (_, Mode::Follow) if spec.data == Data::Copy => place::give_back(spec, now, to, cx)?,
                (Some(follows), Mode::Own | Mode::Follow) => round::last(spec, follows, cx)?,
                _ => {}
            }
            feed::set(name, None, cx)?;
            pair::put(&feed::unit(name), &now.timer, &to.timer, cx)?;
            return if now.aside && !to.aside && spec.mode != Mode::Follow { place::forget(spec, cx) } else { Ok(()) };
        };
        let mut follows = follows.clone();
        let forward = Follows::new(spec).is_some_and(|ours| ours == follows.plain());
        let whole = now.follows.as_ref().is_some_and(|now| !now.copying);
        // Also where this is done a second time, after a crash: what could not be proven stays so.
        let (doubt, was_in_doubt) = (now.follows.as_ref().is_some_and(|now| now.unproven), follows.unproven);
        follows.unproven |= doubt;
        if spec.mode == Mode::Own && now.follows.is_none() && spec.fed_back && follows.every.is_none() {
            // Proven once the timer is to come back: users need not wait for it.
            follows.unproven = true;
        } else if spec.mode == Mode::Own && now.follows.is_none() {
            follows.unproven = !back::nothing_is_lost(spec, &follows, cx)?;
        }
        let changes = whole && spec.mode == Mode::Follow && now.timer != to.timer;
        if forward && doubt && !was_in_doubt {
            feed::quiet(name, now, cx)?;
            round::keeping(spec, &follows, cx)?;
            follows.unproven = false;
        } else if changes && doubt && !was_in_doubt {
            follows.unproven = !back::all_is_there(spec, &follows, cx)?;
        } else if changes && !follows.unproven {
            feed::quiet(name, now, cx)?;
            round::one_more(spec, &follows, forward, cx)?;
        }
        if forward && spec.data == Data::Copy && !whole {
            place::make_room(spec, now, cx)?;
            feed::set(name, Some(&Follows { copying: true, ..follows.clone() }), cx)?;
            cx.host.sync()?;
            round::copy(spec, &follows, cx)?;
        }
        feed::set(name, Some(&follows), cx)?;
        for text in feed::units(name, &follows).iter().flatten() {
            cx.offer(text.as_bytes());
        }
        pair::put(&feed::unit(name), &now.timer, &to.timer, cx)
    }

    fn same(spec: &Spec, a: &State, b: &State) -> bool {
        // What was in doubt before is so again; what could not be proven now, too.
        let doubt = |state: &State| state.follows.as_ref().is_some_and(|follows| follows.unproven);
        a.place == b.place
            && rest_alike(a, b)
            && (doubt(b) || !doubt(a))
            && pair::same(&feed::unit(&spec.name), &a.timer, &b.timer)
    }

    fn intact(spec: &Spec, after: &State, now: &State) -> bool {
        rest_alike(after, now) && pair::intact(&feed::unit(&spec.name), &after.timer, &now.timer)
    }

    fn amiss(spec: &Spec, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
        feed::fails(spec, cx)
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let word = |state: &State| match &state.follows {
            None if state.timer.timer.exists => "own, ready to follow".into(),
            None => "own".into(),
            Some(follows) => {
                let every = follows.every.as_ref().map_or_else(String::new, |every| format!(", every {every}"));
                format!("follows {}:{}{every}", follows.of.address, follows.of.port)
            }
        };
        let mut lines = vec![format!("{} -> {}", word(now), word(wanted))];
        let doubt = |state: &State| state.follows.as_ref().is_some_and(|follows| follows.unproven);
        if doubt(now) && wanted.follows.is_some() {
            lines.push("what it has and the other host has not is kept beside it (`.weiche-left-`)".into());
        }
        match (now.aside, wanted.aside) {
            (false, true) => lines.push("what stands there is put aside, and a copy of the other host's made".into()),
            (true, false) => lines.push("what was put aside is removed for good".into()),
            _ if now.place == Place::Absent && wanted.place != now.place => {
                lines.push("a copy of the other host's is made".into());
            }
            _ => {}
        }
        Some(lines)
    }

    fn irreversible(spec: &Spec) -> bool {
        spec.forget_aside
    }

    fn title(spec: &Spec) -> String {
        spec.path.clone()
    }

    fn examples() -> Vec<Value> {
        let of = json!({ "address": "192.0.2.10" });
        let limit = json!({ "from": "06:00", "to": "20:00", "limit": "4 MiB" });
        vec![
            json!({ "name": "plans", "path": "/srv/plans", "mode": "follow", "of": of, "every": "5m",
                    "bandwidth": [limit] }),
            json!({ "name": "letters", "path": "/srv/share", "mode": "follow", "data": "own",
                    "of": { "address": "2001:db8::11", "port": 2222 }, "owners": "number", "every": "30s" }),
            json!({ "name": "drawings", "path": "/srv/drawings", "mode": "ready", "of": of, "every": "1m" }),
            json!({ "name": "plans", "path": "/srv/plans", "mode": "own", "within": "30s" }),
            json!({ "name": "letters", "path": "/srv/share", "mode": "gone" }),
        ]
    }
}

fn rest_alike(a: &State, b: &State) -> bool {
    let plain = |state: &State| state.follows.as_ref().map(Follows::plain);
    a.aside == b.aside && plain(a) == plain(b)
}
