//! A town hall with six servers moves over the two weekends on which clocks change.

mod scene;

use std::collections::BTreeMap;

use weiche_agent::protocol::{Fault, FaultCode, StepId};

use super::people::People;
use super::when::When;
use super::words::Words;
use super::{Pen, gantt, hand_over, render, run_sheet, sentence};
use crate::calendar::Zone;
use crate::input::paper::Language;
use crate::input::target::HostName;
use crate::rollout::{Happening, Outcome};
use crate::store::Event;
use crate::view::View;
use scene::Scene;

/// 2026-03-28 18:00 CET; clocks are put forward at 02:00.
const SPRING_MS: i64 = 1_774_717_200_000;

/// 2026-10-24 18:00 CEST; clocks are put back at 03:00.
const AUTUMN_MS: i64 = 1_792_857_600_000;

struct Made {
    run_sheet: String,
    summary: String,
    hand_over: String,
    svg: String,
    text: String,
    json: String,
}

fn made(scene: &Scene, language: Language) -> Made {
    let zone = Zone::find("Europe/Berlin").unwrap();
    let when = When::new(zone, language, scene.forecast.start_ms, scene.forecast.end.latest_ms);
    let pen = Pen { words: Words::of(language), when: &when, people: &scene.people };
    let view = View::of(&scene.events[0].run, &scene.events);
    let own = BTreeMap::new();
    let sheet = run_sheet::of(&scene.plan, &scene.forecast, pen);
    let report = hand_over::of(&scene.plan, &scene.forecast, (&scene.events, &[]), &view, pen);
    let chart = gantt::chart(&scene.forecast, &scene.events, Some(&view));
    Made {
        run_sheet: render::html("run-sheet", &sheet, pen.words, &own).unwrap(),
        summary: render::html("summary", &sheet, pen.words, &own).unwrap(),
        hand_over: render::html("hand-over", &report, pen.words, &own).unwrap(),
        svg: chart.svg(&when),
        text: chart.text(&when, 100),
        json: serde_json::to_string_pretty(&chart).unwrap(),
    }
}

#[test]
fn the_weekend_in_spring() {
    let scene = Scene::new(SPRING_MS);
    assert_eq!(scene.plan.steps().count(), 40);
    assert_eq!(scene.plan.hosts().len(), 6);
    let made = made(&scene, Language::De);
    insta::assert_snapshot!("spring_run_sheet", made.run_sheet);
    insta::assert_snapshot!("spring_hand_over", made.hand_over);
    insta::assert_snapshot!("spring_gantt_svg", made.svg);
    insta::assert_snapshot!("spring_gantt_text", made.text);
    let zone = Zone::find("Europe/Berlin").unwrap();
    let shown = crate::show::plan::text(&scene.plan) + &crate::show::forecast::text(&scene.forecast, &zone);
    insta::assert_snapshot!(
        "spring_plan_text",
        shown + &crate::show::forecast::steps(&scene.plan, &scene.forecast, &zone)
    );
}

#[test]
fn the_weekend_in_autumn() {
    let made = made(&Scene::new(AUTUMN_MS), Language::En);
    insta::assert_snapshot!("autumn_run_sheet", made.run_sheet);
    insta::assert_snapshot!("autumn_summary", made.summary);
    insta::assert_snapshot!("autumn_gantt_json", made.json);
    insta::assert_snapshot!("autumn_gantt_text", made.text);
    let scene = Scene::new(AUTUMN_MS);
    insta::assert_snapshot!("autumn_forecast_json", crate::show::forecast::json(&scene.plan, &scene.forecast));
}

#[test]
fn a_time_that_comes_twice_is_told_with_its_zone() {
    let zone = Zone::find("Europe/Berlin").unwrap();
    let when = When::new(zone, Language::De, AUTUMN_MS, AUTUMN_MS + 12 * 3_600_000);
    let half_past_two = AUTUMN_MS + 3_600_000 * 17 / 2;
    assert_eq!(when.full(half_past_two), "So., 25.10.2026, 02:30 Uhr MESZ");
    assert_eq!(when.day_and_clock(half_past_two + 3_600_000), "So. 02:30 MEZ");
}

#[test]
fn durations_are_rounded_up() {
    let when = When::new(Zone::UTC, Language::En, 0, 1);
    let spans = [0, 1, 59_001, 60_001, 3_600_000, 172_800_001].map(|ms| when.span(ms));
    assert_eq!(spans, ["0 s", "1 s", "1 min", "2 min", "1 h 00 min", "2 d 1 h"]);
}

#[test]
fn the_papers_tell_until_when_the_last_stage_is_watched() {
    let mut scene = Scene::new(AUTUMN_MS);
    let before = made(&scene, Language::En);
    assert!(!before.summary.contains("watched until") && !before.run_sheet.contains("watched until"));
    scene.forecast.stages.last_mut().unwrap().hold_ms = 3 * 86_400_000;
    let told = made(&scene, Language::De);
    for paper in [told.summary, told.run_sheet] {
        assert!(paper.contains("beobachtet bis Mi., 28.10.2026, "), "{paper}");
    }
}

#[test]
fn data_are_escaped_everywhere() {
    let bad = "<script>alert('&\"')</script>";
    let mut scene = Scene::new(SPRING_MS);
    scene.spoil(bad);
    for language in [Language::De, Language::En] {
        let made = made(&scene, language);
        for paper in [made.run_sheet, made.summary, made.hand_over, made.svg] {
            assert!(!paper.contains("<script"), "{paper}");
            assert!(paper.contains("&lt;script&gt;"), "the data are not there at all: {paper}");
        }
    }
}

#[test]
fn no_paper_needs_the_network_or_a_program() {
    let scene = Scene::new(SPRING_MS);
    let made = made(&scene, Language::De);
    for paper in [made.run_sheet, made.summary, made.hand_over] {
        for part in ["<script", "src=", "href=", "url(", "@import"] {
            assert!(!paper.contains(part), "{part}");
        }
    }
}

#[test]
fn a_phone_number_is_in_no_plan() {
    let scene = Scene::new(SPRING_MS);
    let text = serde_json::to_string(&scene.plan).unwrap();
    assert!(!text.contains("+49"));
    assert!(made(&scene, Language::De).run_sheet.contains("+49 30 23125 001"));
}

#[test]
fn what_steps_tell_on_their_way_is_on_no_paper() {
    let scene = Scene::new(SPRING_MS);
    let told = serde_json::to_string(&scene.events).unwrap();
    assert!(told.contains("letter.odt: anna"));
    let made = made(&scene, Language::En);
    for paper in [made.run_sheet, made.hand_over, made.svg, made.text] {
        assert!(!paper.contains("letter.odt"));
    }
}

#[test]
fn the_picture_is_never_wider_than_asked() {
    let scene = Scene::new(AUTUMN_MS);
    let when = When::new(Zone::find("Europe/Berlin").unwrap(), Language::De, AUTUMN_MS, scene.forecast.end.latest_ms);
    let view = View::of(&scene.events[0].run, &scene.events);
    let chart = gantt::chart(&scene.forecast, &scene.events, Some(&view));
    for width in 1..200 {
        let text = chart.text(&when, width);
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width, "{widest} > {width}\n{text}");
    }
}

#[test]
fn every_kind_has_a_sentence() {
    let known: Vec<&str> = weiche_agent::resource::kinds().iter().map(|kind| kind.name()).collect();
    let told: Vec<&str> = sentence::kinds().collect();
    let missing: Vec<_> = known.iter().filter(|kind| !told.contains(kind)).collect();
    let unknown: Vec<_> = told.iter().filter(|kind| !known.contains(kind)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "without a sentence: {missing:?}; no kind: {unknown:?}");
}

#[test]
fn a_fleets_template_takes_the_place_of_ours_and_mistakes_are_told_with_their_place() {
    let words = Words::of(Language::En);
    let data = serde_json::json!({ "member": "A & B" });
    let own = |text: &str| BTreeMap::from([("run-sheet.html.hbs".to_owned(), text.to_owned())]);
    let text = render::html("run-sheet", &data, words, &own("{{words.run_sheet}} {{member}}"));
    assert_eq!(text.unwrap(), "Run sheet A &amp; B");
    let error = render::html("run-sheet", &data, words, &own("one\n{{membre}}")).unwrap_err();
    assert_eq!((error.template.as_str(), error.line), ("run-sheet.html.hbs", Some(2)), "{error}");
    let error = render::html("run-sheet", &data, words, &own("one\n{{#if member}}")).unwrap_err();
    assert!(error.to_string().starts_with("papers/run-sheet.html.hbs:"), "{error}");
}

#[test]
fn a_fleets_template_is_tried_before_it_is_needed() {
    let shipped = [
        ("gantt.html.hbs", include_str!("templates/gantt.html.hbs")),
        ("hand-over.html.hbs", include_str!("templates/hand-over.html.hbs")),
        ("run-sheet.html.hbs", include_str!("templates/run-sheet.html.hbs")),
        ("summary.html.hbs", include_str!("templates/summary.html.hbs")),
    ];
    let own = |texts: &[(&str, &str)]| texts.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    assert_eq!(render::check(&own(&shipped)), [], "ours name what there is");
    let wrong = own(&[
        ("run-sheet.html.hbs", "one\n{{#each stages}}{{#each rows}}{{hots}}{{/each}}{{/each}}"),
        ("summary.html.hbs", "{{#if no_return}}{{no_return.at}}{{else}}\n{{no_returns}}{{/if}}"),
        ("hand-over.html.hbs", "{{#each certificate}}{{host}} {{#each differences}}{{this.[0]}}{{/each}}{{/each}}"),
    ]);
    let places: Vec<(String, Option<usize>)> =
        render::check(&wrong).into_iter().map(|error| (error.template, error.line)).collect();
    assert_eq!(places, [("run-sheet.html.hbs".into(), Some(2)), ("summary.html.hbs".into(), Some(2))]);
}

#[test]
fn an_unknown_name_stays_free_text() {
    assert_eq!(People::default().named("the locksmith").name, "the locksmith");
}

#[test]
fn what_plans_say_of_the_way_back_is_told_in_german() {
    // As plan/build.rs says it; whoever adds a text there adds it to both.
    let source = include_str!("../plan/build.rs");
    let german = |text: &str| sentence::undo(text, Language::De);
    let texts = source.split('"').skip(1).step_by(2);
    let about = |text: &&str| {
        let begins = ["put back ", "remove ", "nothing to take back", "restart it", "a person takes", "none: "];
        begins.iter().any(|begin| text.starts_with(begin))
    };
    let found: Vec<&str> = texts.filter(about).collect();
    assert!(found.len() > 8, "only {found:?}: the search is broken");
    let same: Vec<_> = found.into_iter().filter(|text| german(text) == *text).collect();
    assert!(same.is_empty(), "not in German: {same:?}");
    assert_eq!(german("run `rm -f /x`"), "`rm -f /x` ausführen");
    assert_eq!(german("remove it again (best effort, see below)"), "wieder entfernen (so gut es geht)");
}

#[test]
fn what_was_done_by_hand_and_what_is_stuck_are_open_points() {
    let mut scene = Scene::new(SPRING_MS);
    let told = made(&scene, Language::En).hand_over;
    assert!(told.contains("done by hand") && !told.contains("taken back by hand"), "it is in effect: {told}");
    let last = scene.events.pop().expect("the end");
    let host = |name: &str| HostName(format!("obere-aller/{name}"));
    let fault = Fault::new(FaultCode::Io, "the disk is full");
    let steps = vec![StepId("swap.1".into())];
    let happenings = [
        Happening::HostUndone { host: host("fs-01"), stage: "swap".into() },
        Happening::HostStuck { host: host("db-01"), stage: "swap".into(), steps, fault },
        Happening::RunEnded { outcome: Outcome::Stuck },
    ];
    scene.events.extend(happenings.into_iter().zip(last.seq..).map(|(what, seq)| Event { seq, what, ..last.clone() }));
    let told = made(&scene, Language::En).hand_over;
    for part in [
        "obere-aller/fs-01: swap.4 was done by hand and is to be taken back by hand",
        "obere-aller/db-01: could not be taken back (swap.1)",
        "<td>obere-aller/db-01</td><td><b>STUCK</b></td>",
        "STUCK: at least one host could not be taken back.",
        "the disk is full",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
