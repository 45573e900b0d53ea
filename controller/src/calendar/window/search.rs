//! The openings of a window, found day by day: civil time first, instants last.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, date};

use super::{Opening, Pattern, Rule, Window};
use crate::calendar::holiday::Holidays;
use crate::calendar::moment::{Clock, DAY_MINUTES, Moment};
use crate::calendar::zone::Edge;

/// How far ahead a window is looked for: the rarest ones, a weekly one on public holidays only, open again within eleven
/// years (that is how far a date may be from the same day of the week).
pub const HORIZON_DAYS: u16 = 12 * 366;

/// How far back: an opening that contains now began a week ago at most, or several weeks ago when holidays join weekly
/// ones together (25 December, 1 January and Whit Monday are too far apart for more).
const BACK_DAYS: u16 = 45;

/// The same, for windows that are open all day: no two public holidays that follow each other are further apart.
const BACK_ALL_DAY: u16 = 366;

/// From when to when a window is open that never closes. The same whenever one asks.
const EVER: (Date, Date) = (date(1970, 1, 1), date(9999, 1, 1));

/// From and to, as clocks show it.
type Civil = (DateTime, DateTime);

/// See [`Window::openings`].
pub(super) fn openings(window: &Window, now_ms: i64) -> impl Iterator<Item = Opening> + '_ {
    let mut pieces = ever(window).into_iter().chain(days(window, now_ms).flat_map(Pieces::of(window))).peekable();
    let reserve = i64::try_from(window.reserve_ms).unwrap_or(i64::MAX);
    let joined = std::iter::from_fn(move || {
        let (start_ms, mut end_ms) = pieces.next()?;
        while let Some((_, end)) = pieces.next_if(|(start, _)| *start <= end_ms) {
            end_ms = end_ms.max(end);
        }
        Some(Opening { start_ms, end_ms, close_ms: end_ms.saturating_sub(reserve).max(start_ms) })
    });
    joined.skip_while(move |opening| opening.end_ms <= now_ms)
}

/// Whether only its `except` closes it.
fn always(window: &Window) -> bool {
    window.pattern.all_day() && window.holidays.is_none_or(|holidays| holidays.rule == Rule::Also)
}

/// A window that only its `except` closes is open between those days: that is years, and need not be found day by day.
fn ever(window: &Window) -> Vec<(i64, i64)> {
    if !always(window) {
        return Vec::new();
    }
    let instant = |date: Date, edge| window.zone.instant(Clock(0).on(date)?, edge);
    let (first, end) = EVER;
    let closed = window.except.range(first..end);
    let opens = std::iter::once(Some(first)).chain(closed.clone().map(|date| date.tomorrow().ok()));
    let closes = closed.copied().chain([end]);
    let between = |(from, to): (Option<Date>, Date)| Some((instant(from?, Edge::Begin)?, instant(to, Edge::End)?));
    opens.zip(closes).filter_map(between).filter(|(start, end)| start < end).collect()
}

/// The days on which an opening may begin.
fn days(window: &Window, now_ms: i64) -> impl Iterator<Item = Date> + use<> {
    let (first, count) = match (window.pattern.from, window.zone.civil(now_ms)) {
        // However far away it is, and however long.
        (Moment::Once(date, _), Some(_)) => (Some(date), 1),
        _ if always(window) => (None, 0),
        (_, Some(now)) => {
            let back_days = if window.pattern.all_day() { BACK_ALL_DAY } else { BACK_DAYS };
            let back = now.date().checked_sub(jiff::Span::new().days(back_days));
            (Some(back.unwrap_or(Date::MIN)), back_days + HORIZON_DAYS)
        }
        (_, None) => (None, 0),
    };
    std::iter::successors(first, |date| date.tomorrow().ok()).take(usize::from(count))
}

/// Turns a day into what begins on it, as instants; years of holidays are reckoned once.
struct Pieces<'a> {
    window: &'a Window,
    years: BTreeMap<i16, Vec<Date>>,
}

impl<'a> Pieces<'a> {
    fn of(window: &'a Window) -> impl FnMut(Date) -> Vec<(i64, i64)> + 'a {
        let mut pieces = Pieces { window, years: BTreeMap::new() };
        move |date| pieces.on(date)
    }

    fn on(&mut self, date: Date) -> Vec<(i64, i64)> {
        let mut found: Vec<Civil> = regular(&self.window.pattern, date).into_iter().collect();
        let rule = self.window.holidays;
        found.retain(|piece| match rule.map(|rule| rule.rule) {
            Some(Rule::No) => !touched(piece).any(|day| self.holiday(day)),
            Some(Rule::Only) => self.holiday(piece.0.date()),
            Some(Rule::Also) | None => true,
        });
        if rule.is_some_and(|rule| rule.rule == Rule::Also) && self.holiday(date) {
            found.extend(holiday(&self.window.pattern, date));
            found.sort_unstable();
        }
        let except = &self.window.except;
        found.retain(|piece| except.is_empty() || !touched(piece).any(|day| except.contains(&day)));
        let zone = &self.window.zone;
        let instants = found
            .into_iter()
            .filter_map(|(from, to)| Some((zone.instant(from, Edge::Begin)?, zone.instant(to, Edge::End)?)));
        // Of a window that lies in the hour that is left out nothing remains.
        instants.filter(|(start, end)| start < end).collect()
    }

    fn holiday(&mut self, date: Date) -> bool {
        let Some(rule) = self.window.holidays else { return false };
        let of = |year| Holidays::of(rule.calendar, year).into_iter().map(|(date, _)| date).collect();
        self.years.entry(date.year()).or_insert_with_key(|year| of(*year)).contains(&date)
    }
}

/// What the pattern itself has on a day.
fn regular(pattern: &Pattern, date: Date) -> Option<Civil> {
    let start = match (pattern.from, pattern.to) {
        (Moment::Daily(clock), _) => clock,
        (Moment::Weekly(day, clock), _) => {
            (i8::try_from(day).ok()? == date.weekday().to_monday_zero_offset()).then_some(clock)?
        }
        (Moment::Once(from, start), Moment::Once(to, end)) => {
            return if from == date { Some((start.on(from)?, end.on(to)?)) } else { None };
        }
        _ => return None,
    };
    let end = u64::from(start.minutes()) + pattern.minutes();
    let days = i64::try_from(end / u64::from(DAY_MINUTES)).ok()?;
    let last = date.checked_add(jiff::Span::new().days(days)).ok()?;
    Some((start.on(date)?, Clock(u16::try_from(end % u64::from(DAY_MINUTES)).ok()?).on(last)?))
}

/// What [`Rule::Also`] adds on a holiday: never a minute of another day, which may be a working day.
fn holiday(pattern: &Pattern, date: Date) -> Option<Civil> {
    let (from, to) = match (pattern.from, pattern.to) {
        (Moment::Weekly(first, from), Moment::Weekly(last, to)) if first == last && from < to => (from, to),
        (Moment::Daily(from), Moment::Daily(to)) if from < to => (from, to),
        _ => (Clock(0), Clock(DAY_MINUTES)),
    };
    Some((from.on(date)?, to.on(date)?))
}

/// The days that an opening touches. One that ends at midnight does not touch the next day.
fn touched(&(from, to): &Civil) -> impl Iterator<Item = Date> + use<> {
    let last = to.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(to).date();
    std::iter::successors(Some(from.date()), |date| date.tomorrow().ok()).take_while(move |date| *date <= last)
}
