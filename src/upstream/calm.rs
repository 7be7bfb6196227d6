//! How long an endpoint takes in calm: while so few requests are in flight that none waits inside the API.
//!
//! It is what all else is compared with: how long answers take under load, and how long other endpoints take. How long
//! they take under load serves for neither, since what is fast is as slow as what it waits for.

/// For how many of the last answers it stands at most: enough to know how much of its time an endpoint spends on the few
/// calls that take a hundred times longer than the others.
const MEMORY: f64 = 100.0;
/// How many answers it takes to know it, or to know that it is another one now.
const ENOUGH: usize = 5;
/// How many answers of a moment of calm are looked at for that.
const MOMENT: usize = 20;
/// By which factor it differs then.
const ANOTHER: f64 = 2.0;

/// How long an endpoint takes where nothing hurries it, in seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Calm {
    /// The mean, for the long calls take the places too.
    mean: f64,
    /// For how many answers it stands.
    answers: f64,
    /// The first answers of the present moment of calm, or of the last one.
    moment: Vec<f64>,
    /// The median of the moment before.
    median: Option<f64>,
    /// Whether there was a moment before the present one. The answers of the first may be cold, and count no more as soon as
    /// there are others.
    later: bool,
    /// The shortest answer of all.
    least: Option<f64>,
}

impl Calm {
    /// A moment of calm begins.
    pub(super) fn begin_moment(&mut self) {
        if self.moment.len() >= ENOUGH {
            self.median = self.later.then(|| median(&self.moment));
            self.later = true;
        }
        self.moment.clear();
    }

    /// Learns from an answer, which came in calm or did not.
    pub(super) fn learn(&mut self, seconds: f64, in_calm: bool) {
        self.least = Some(self.least.map_or(seconds, |least| least.min(seconds)));
        if !in_calm {
            return;
        }
        self.answers = (self.answers + 1.0).min(MEMORY);
        self.mean += (seconds - self.mean) / self.answers;
        if self.moment.len() < MOMENT {
            self.moment.push(seconds);
            if self.moment.len() >= ENOUGH && self.is_another() {
                self.begin_anew();
            }
        }
    }

    /// How long it takes, once that is known.
    pub(super) fn seconds(&self) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)]
        (self.answers >= ENOUGH as f64).then_some(self.mean)
    }

    /// How long it takes, as far as anything tells: before calm was seen, nothing is nearer to it than the shortest answer.
    pub(super) fn estimate(&self) -> Option<f64> {
        self.seconds().or(self.least)
    }

    /// Whether the present moment is no longer like what was before.
    fn is_another(&self) -> bool {
        let now = median(&self.moment);
        self.later && self.median.is_none_or(|before| now > before * ANOTHER || now * ANOTHER < before)
    }

    fn begin_anew(&mut self) {
        #[allow(clippy::cast_precision_loss)]
        let answers = self.moment.len() as f64;
        (self.mean, self.answers) = (self.moment.iter().sum::<f64>() / answers, answers);
    }
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(calm: &mut Calm, seconds: &[f64]) -> f64 {
        seconds.iter().for_each(|seconds| calm.learn(*seconds, true));
        calm.seconds().unwrap()
    }

    #[test]
    fn what_was_cold_counts_no_more_after_the_first_moment() {
        let mut calm = Calm::default();
        assert!(learned(&mut calm, &[0.3, 0.2, 0.1, 0.01, 0.01, 0.01]) > 0.1);
        calm.begin_moment();
        assert!((learned(&mut calm, &[0.01; 5]) - 0.01).abs() < 1e-9);
    }

    #[test]
    fn the_few_calls_that_take_long_count_for_as_long_as_they_take() {
        let mut calm = Calm::default();
        let mixed: Vec<f64> = (0..100).map(|call| if call % 20 == 7 { 1.0 } else { 0.01 }).collect();
        for moment in mixed.chunks(20) {
            calm.begin_moment();
            learned(&mut calm, moment);
        }
        assert!((calm.seconds().unwrap() - 0.0595).abs() < 0.01, "{calm:?}");
    }

    #[test]
    fn a_moment_that_is_twice_as_slow_takes_the_place_of_those_before() {
        let mut calm = Calm::default();
        for _ in 0..10 {
            calm.begin_moment();
            learned(&mut calm, &[0.01; 20]);
        }
        calm.begin_moment();
        assert!(learned(&mut calm, &[0.015; 5]) < 0.012);
        calm.begin_moment();
        assert!((learned(&mut calm, &[0.05; 5]) - 0.05).abs() < 1e-9);
    }

    #[test]
    fn before_calm_was_seen_the_shortest_answer_is_nearest_to_it() {
        let mut calm = Calm::default();
        calm.learn(0.5, false);
        calm.learn(0.2, false);
        assert_eq!((calm.seconds(), calm.estimate()), (None, Some(0.2)));
    }
}
