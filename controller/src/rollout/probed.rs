//! What users notice while a stage waits between its waves, or soaks: services that are probed.

use super::machine::{Phase, Rollout};

/// What is known of the services that the present stage probes.
#[derive(Clone, Debug, Default)]
pub(super) struct Probed {
    /// Stage and wave after which they worked.
    seen: Option<(usize, usize)>,
    /// Stage and wave that a person lets go on although one does not work.
    spared: Option<(usize, usize)>,
    /// One does not work, and nobody has decided yet.
    failed: bool,
}

impl Rollout {
    /// The stage and the wave whose services are to be probed now, again and again: all of the wave's hosts are through,
    /// and nothing else has begun.
    pub fn probing(&self) -> Option<(usize, usize)> {
        let Phase::Wave(stage, wave) = self.phase else { return None };
        let idle = self.asked.is_empty() && self.wave.is_through() && self.met.is_none() && self.aborted.is_none();
        let spared = self.probed.spared == Some((stage, wave));
        (idle && !spared && !self.stages[stage].rules.probes.is_empty()).then_some((stage, wave))
    }

    /// Whether the services of a stage were seen to work after this wave, or need not be.
    pub(super) fn services_work(&self, stage: usize, wave: usize) -> bool {
        let now = Some((stage, wave));
        self.stages[stage].rules.probes.is_empty() || self.probed.seen == now || self.probed.spared == now
    }

    /// They work.
    pub(super) fn work_seen(&mut self, stage: &str, wave: usize) {
        if let Some(stage) = self.find(stage) {
            self.probed.seen = Some((stage, wave));
        }
    }

    /// One does not: the stage stops.
    pub(super) fn service_failed(&mut self, stage: &str, service: &str, why: &str) {
        let Some(at) = self.find(stage) else { return };
        if let (Phase::Wave(now, wave), None) = (&self.phase, &self.met)
            && *now == at
            && self.probed.spared != Some((at, *wave))
        {
            self.met = Some(format!("{service} does not work after wave {} of stage {stage}: {why}", wave + 1));
            self.probed.failed = true;
        }
    }

    /// A person lets the run go on.
    pub(super) fn spare_services(&mut self) {
        let from = if let Phase::Held(from, _) = &self.phase { from } else { &self.phase };
        if let (Phase::Wave(stage, wave), true) = (from, std::mem::take(&mut self.probed.failed)) {
            self.probed.spared = Some((*stage, *wave));
        }
    }

    /// Whoever drives the run from now on looks himself.
    pub(super) fn look_again(&mut self) {
        self.probed.seen = None;
    }
}
