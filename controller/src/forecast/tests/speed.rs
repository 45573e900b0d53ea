//! Big plans: what the forecast says of them, and how long that took, for whoever looks.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::time::Instant;

use super::scene;
use crate::forecast::{Options, of};

#[test]
fn the_weekend_of_500_pcs_is_foreseen() {
    let plan = scene::big(500, 40, &mut scene::Draw(fastrand::Rng::with_seed(3)));
    let options = Options { start_ms: scene::FRIDAY_MS, ..Options::default() };
    let begin = Instant::now();
    let forecast = of(&plan, &options);
    let took = begin.elapsed();
    let steps = forecast.stages.iter().flat_map(|stage| stage.hosts.values()).map(Vec::len).sum::<usize>();
    assert_eq!(steps, 500 * 40);
    // Whoever comes last in a stage is what the others wait for.
    let slack =
        |of: &crate::forecast::StageForecast| of.hosts.values().flatten().filter(|step| step.critical()).count();
    assert!(forecast.stages.iter().all(|stage| slack(stage) > 0));
    let begin = Instant::now();
    // `WEEKENDS=10000 cargo test --release` measures what DESIGN.md asks for.
    let weekends = std::env::var("WEEKENDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let chance = of(&plan, &Options { weekends, ..options }).chance.expect("sampled");
    assert_eq!(chance.weekends, weekends);
    println!("20,000 steps foreseen in {took:?}; {weekends} weekends sampled in {:?}", begin.elapsed());
}
