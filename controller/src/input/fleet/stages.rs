//! The stages of a playbook, those of the playbooks that it uses among them.

use super::Fleet;
use crate::input::playbook::{Item, Playbook, StepAction, Transfer, Use, Via};
use crate::input::source::Span;

/// How deep playbooks may use playbooks.
const DEPTH_MAX: usize = 8;

/// How many stages a playbook may have in the end; also how many items are looked at to find that out.
const STAGES_MAX: usize = 1000;

/// Why a playbook has no end, or as good as none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unending {
    /// It uses itself, by way of these.
    Circle(Vec<String>),
    /// One that it uses does.
    Elsewhere,
    /// There are too many stages, or playbooks below playbooks.
    TooMuch,
}

/// Stages of the same name in the used playbook, one of each part: `(name, where it comes from)`.
type Row = Vec<(String, Span)>;

impl Fleet {
    /// The names of all stages of a playbook in the order in which they are done if all parts are given, each with the
    /// place in this playbook that it comes from.
    ///
    /// # Errors
    /// [`Unending`]; the author of the playbook can fix it. No playbook of a checked fleet is.
    pub fn stage_names(&self, playbook: &Playbook) -> Result<Vec<(String, Span)>, Unending> {
        if let Some(circle) = self.circle(playbook) {
            return Err(Unending::Circle(circle));
        }
        if self.playbooks_of(playbook).into_iter().any(|used| self.circle(used).is_some()) {
            return Err(Unending::Elsewhere);
        }
        let rows = self.rows(playbook, DEPTH_MAX, &mut STAGES_MAX.clone()).ok_or(Unending::TooMuch)?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn rows(&self, playbook: &Playbook, depth: usize, left: &mut usize) -> Option<Vec<Row>> {
        let depth = depth.checked_sub(1)?;
        let mut rows = Vec::new();
        for item in &playbook.items {
            match item {
                Item::Stage(stage) => {
                    *left = left.checked_sub(1)?;
                    rows.push(vec![(stage.name.to_string(), stage.name.span)]);
                }
                Item::Use(uses) => {
                    *left = left.checked_sub(1)?;
                    let Some(used) = self.used(uses) else { continue };
                    for row in self.rows(used, depth, left)? {
                        let wanted = row.iter().all(|(name, _)| uses.wants(name));
                        *left = left.checked_sub(row.len().checked_mul(uses.parts.len())?)?;
                        let of = |part: &str, name: &str| (format!("{part}-{name}"), uses.playbook.span);
                        let named = uses.parts.iter().flat_map(|part| row.iter().map(move |(n, _)| of(&part.name, n)));
                        rows.extend(wanted.then(|| named.collect()));
                    }
                }
            }
        }
        Some(rows)
    }

    /// The playbook that is used.
    pub fn used(&self, uses: &Use) -> Option<&Playbook> {
        self.playbooks.get(&*uses.playbook.value)
    }

    /// The names on a way from a playbook back to itself, or to one that is met a second time.
    fn circle(&self, playbook: &Playbook) -> Option<Vec<String>> {
        let name = playbook.name.to_string();
        let mut seen = std::collections::BTreeSet::new();
        let mut open = vec![(playbook, vec![name.clone()])];
        while let Some((at, way)) = open.pop() {
            for used in at.uses().filter_map(|uses| self.used(uses)) {
                let next = used.name.to_string();
                let way: Vec<String> = way.iter().cloned().chain([next.clone()]).collect();
                if next == name {
                    return Some(way);
                }
                if seen.insert(next) {
                    open.push((used, way));
                }
            }
        }
        None
    }

    /// A playbook and all that it uses, each once.
    pub fn playbooks_of<'a>(&'a self, playbook: &'a Playbook) -> Vec<&'a Playbook> {
        let mut all = vec![playbook];
        let mut at = 0;
        while let Some(next) = all.get(at) {
            for used in next.uses().filter_map(|uses| self.used(uses)).collect::<Vec<_>>() {
                if all.iter().all(|known| known.name.value != used.name.value) {
                    all.push(used);
                }
            }
            at += 1;
        }
        all
    }

    /// Whether data go directly from host to host in it, with keys made for the run.
    pub fn has_direct(&self, playbook: &str) -> bool {
        let Some(playbook) = self.playbooks.get(playbook) else { return false };
        let steps = self.playbooks_of(playbook).into_iter().flat_map(|of| of.stages().flat_map(|stage| &stage.steps));
        steps
            .map(|step| &step.action)
            .any(|action| matches!(action, StepAction::Transfer(Transfer { via: Via::Direct(_), .. })))
    }
}

impl Unending {
    /// Where in the playbook that begins, and the way round as people read it.
    pub fn at(&self, fleet: &Fleet, playbook: &Playbook) -> (Span, String) {
        let Unending::Circle(way) = self else {
            return (playbook.uses().next().map_or(playbook.name.span, |uses| uses.playbook.span), String::new());
        };
        let next = way.get(1).map_or("", String::as_str);
        let uses = playbook.uses().find(|uses| fleet.used(uses).is_some_and(|used| &*used.name.value == next));
        (uses.map_or(playbook.name.span, |uses| uses.playbook.span), way.join(" -> "))
    }
}
