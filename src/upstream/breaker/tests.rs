//! One breaker beside a model that remembers everything.

use proptest::prelude::*;

use super::*;

const PAUSE: Duration = Duration::from_secs(1);

/// What happens to a breaker.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Wait(u64),
    Call,
    /// One of the calls that run ends so.
    End(usize, Health),
    /// One of them is given up.
    Drop(usize),
    Heal,
}

/// A breaker that remembers everything and looks it up.
struct Model {
    is: Is,
    /// The calls that run, by number; those that do not count any more are no longer here.
    running: Vec<usize>,
}

enum Is {
    /// With all outcomes since then, which are failures or not.
    Admitting(Vec<(Instant, bool)>),
    Shut(Instant, u32),
    Probing(Instant, u32),
}

impl Model {
    fn begin(&mut self, call: usize, now: Instant) -> Result<(), Duration> {
        match self.is {
            Is::Shut(until, _) if now < until => return Err(until - now),
            Is::Probing(since, _) if !self.running.is_empty() && now < since + PAUSE => {
                return Err(since + PAUSE - now);
            }
            Is::Shut(_, trips) | Is::Probing(_, trips) => {
                // The one before, if it hangs, counts no more.
                self.running.clear();
                self.is = Is::Probing(now, trips);
            }
            Is::Admitting(_) => {}
        }
        self.running.push(call);
        Ok(())
    }

    /// What it may do: which calls exactly are too old is left open for a second.
    fn end(&mut self, call: usize, health: Health, now: Instant) -> Vec<Turn> {
        let Some(index) = self.running.iter().position(|running| *running == call) else {
            return vec![Turn::Stays];
        };
        self.running.remove(index);
        match (&mut self.is, health) {
            (_, Health::Unknown) => vec![Turn::Stays],
            (Is::Admitting(outcomes), _) => {
                outcomes.push((now, health == Health::Bad));
                if health == Health::Bad { may_trip(outcomes, now) } else { vec![Turn::Stays] }
            }
            (Is::Probing(..), Health::Good) => vec![Turn::Healed],
            (Is::Probing(_, trips), Health::Bad) => {
                let trips = *trips + 1;
                self.is = Is::Shut(now + pause(trips), trips);
                vec![Turn::Stays]
            }
            (Is::Shut(..), _) => unreachable!("nobody runs"),
        }
    }

    fn turns(&mut self, turn: Turn, now: Instant) {
        match turn {
            Turn::Tripped => self.is = Is::Shut(now + pause(0), 0),
            Turn::Healed => self.is = Is::Admitting(Vec::new()),
            Turn::Stays => return,
        }
        self.running.clear();
    }
}

fn pause(trips: u32) -> Duration {
    PAUSE * [1, 2][trips.min(1) as usize]
}

fn may_trip(outcomes: &[(Instant, bool)], now: Instant) -> Vec<Turn> {
    let age = |index: usize| now - outcomes[index].0;
    let mut may = Vec::new();
    for first in 0..outcomes.len() {
        let forgets_the_new = first > 0 && age(first - 1) <= Duration::from_secs(9);
        if forgets_the_new || age(first) >= Duration::from_secs(10) {
            continue;
        }
        let calls = outcomes.len() - first;
        let failures = outcomes[first..].iter().filter(|(_, failed)| *failed).count();
        let row = outcomes.iter().rev().take_while(|(_, failed)| *failed).count();
        let trips = row >= 5 || calls >= 20 && failures * 2 >= calls;
        may.push(if trips { Turn::Tripped } else { Turn::Stays });
    }
    may
}

fn happens() -> impl Strategy<Value = Happens> {
    let health = prop_oneof![5 => Just(Health::Good), 5 => Just(Health::Bad), 1 => Just(Health::Unknown)];
    prop_oneof![
        3 => prop_oneof![0..300_u64, 0..3000_u64, 8000..12_000_u64].prop_map(Happens::Wait),
        8 => Just(Happens::Call),
        8 => (0..8_usize, health).prop_map(|(call, health)| Happens::End(call, health)),
        1 => (0..8_usize).prop_map(Happens::Drop),
        1 => prop::bool::weighted(0.2).prop_map(|heals| if heals { Happens::Heal } else { Happens::Call }),
    ]
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(events in prop::collection::vec(happens(), 1..300)) {
        let config = BreakerConfig { failures: 5, failure_rate: 0.5, pause: PAUSE };
        let breaker = Arc::new(Breaker::new(&config));
        let mut model = Model { is: Is::Admitting(Vec::new()), running: Vec::new() };
        let (mut now, mut passes) = (Instant::now(), Vec::new());
        for (number, event) in events.into_iter().enumerate() {
            match event {
                Happens::Wait(time) => now += Duration::from_millis(time),
                Happens::Call => {
                    let pass = breaker.clone().admit(now);
                    prop_assert_eq!(pass.as_ref().map(drop).map_err(|left| *left), model.begin(number, now));
                    passes.extend(pass.ok().map(|pass| (number, pass)));
                }
                Happens::End(index, health) if index < passes.len() => {
                    let (call, pass) = passes.remove(index);
                    let turn = pass.end(health, now);
                    let may = model.end(call, health, now);
                    prop_assert!(may.contains(&turn), "{:?} is none of {:?}", turn, may);
                    model.turns(turn, now);
                }
                Happens::Drop(index) if index < passes.len() => {
                    let (call, pass) = passes.remove(index);
                    drop(pass);
                    model.end(call, Health::Unknown, now);
                }
                Happens::Heal => {
                    let healed = if matches!(model.is, Is::Admitting(_)) { Turn::Stays } else { Turn::Healed };
                    prop_assert_eq!(breaker.heal(), healed);
                    model.turns(healed, now);
                }
                Happens::End(..) | Happens::Drop(_) => {}
            }
        }
    }
}
