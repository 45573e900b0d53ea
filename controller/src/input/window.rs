//! `windows:` of a member: the form, and what becomes of it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::Period;
use super::yaml::Located;
use crate::calendar::{Day, HolidayRule, Holidays, Moment, Pattern, Rule, Window, Zone};

/// A maintenance window: every day (`20:00`), every week (`fri 18:00`) or once (`2026-12-23 18:00`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Window")]
pub struct WindowForm {
    /// Its start.
    pub from: Located<Moment>,
    /// Its end.
    pub to: Located<Moment>,
    /// Time kept free before the end.
    #[serde(default)]
    pub reserve: Option<Located<Period>>,
    /// What public holidays change of it; nothing, if it is not given.
    #[serde(default)]
    pub holidays: Option<Located<Rule>>,
    /// Days on which it stays closed, `2026-12-24`: an opening that touches one is left out.
    #[serde(default)]
    #[schemars(with = "Vec<String>", extend("items" = { "type": "string", "format": "date" }))]
    pub except: Vec<Located<Day>>,
}

impl WindowForm {
    /// Time kept free before the end.
    pub fn reserve(&self) -> Period {
        self.reserve.as_ref().map(|reserve| reserve.value).unwrap_or_default()
    }

    /// The window. `None` if it is not as it was checked to be.
    pub fn window(&self, zone: &Zone, calendar: Option<Holidays>) -> Option<Window> {
        let holidays = match &self.holidays {
            Some(rule) => Some(HolidayRule { calendar: calendar?, rule: rule.value }),
            None => None,
        };
        Some(Window {
            zone: zone.clone(),
            pattern: Pattern::new(self.from.value, self.to.value).ok()?,
            reserve_ms: self.reserve().as_ms(),
            holidays,
            except: self.except.iter().map(|date| date.value.0).collect(),
        })
    }
}
