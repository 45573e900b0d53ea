//! The people of a plan's members.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::input::fleet::Fleet;
use crate::input::paper::Person;
use crate::plan::Plan;

/// Who has to do with a run, and what its members are called.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// By short name.
    pub known: BTreeMap<String, Person>,
    /// Names of members in full, by short name.
    pub titles: BTreeMap<String, String>,
}

/// Somebody on a paper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Entry {
    /// In full; a plan's own words for somebody whom the fleet does not know.
    pub name: String,
    /// Empty: not known.
    pub phone: String,
    /// Empty: not known.
    pub role: String,
}

impl People {
    /// Those of the fleet and of the plan's members. Of two members' people of one short name the first is meant.
    pub fn of(fleet: &Fleet, plan: &Plan) -> People {
        let mut people = People::default();
        for host in plan.hosts() {
            let Some(member) = fleet.member(host.member()) else { continue };
            people.titles.insert(host.member().to_owned(), member.name.clone());
            for (name, person) in fleet.people(host.member()) {
                people.known.entry(name.to_owned()).or_insert_with(|| person.clone());
            }
        }
        people
    }

    /// Whom a manual step names.
    pub fn named(&self, by: &str) -> Entry {
        match self.known.get(by) {
            Some(person) => entry(person),
            None => Entry { name: by.to_owned(), ..Entry::default() },
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Entry> {
        self.known.values().map(entry).collect()
    }
}

fn entry(person: &Person) -> Entry {
    Entry {
        name: person.name.clone(),
        phone: person.phone.as_ref().map(|phone| phone.as_str().to_owned()).unwrap_or_default(),
        role: person.role.clone().unwrap_or_default(),
    }
}
