//! The script that counts in Redis, beside a model and the crate that counts without one.

use std::{cell::RefCell, num::NonZeroU32, time::Duration};

use governor::{Quota, RateLimiter, clock::FakeRelativeClock};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use redis::{Client, Connection, Script};

use crate::support::Redis;

const SCRIPT: &str = include_str!("../../src/door/rates/gcra.lua");
/// A time as Redis has it, in microseconds, for which Lua's numbers have few bits to spare.
const START: u64 = 1_800_000_000_000_000;
const SPANS: [u64; 4] = [1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000];

/// GCRA by theoretical arrival times, in fractions of a microsecond that nothing is lost of.
struct Model {
    calls: u64,
    span: u64,
    /// Of the next call, times `calls`.
    arrival: u128,
}

impl Model {
    fn wait(&self, now: u64) -> u64 {
        let (now, calls) = (u128::from(now), u128::from(self.calls));
        let early = self.arrival.saturating_sub(u128::from(self.span) * (calls - 1));
        u64::try_from(early.saturating_sub(now * calls).div_ceil(calls)).unwrap()
    }

    fn count(&mut self, now: u64) {
        self.arrival = self.arrival.max(u128::from(now) * u128::from(self.calls)) + u128::from(self.span);
    }
}

/// A Redis that is asked by the script with a time that is given to it, and with keys that outlive the test: only that differs.
struct Asked {
    connection: RefCell<Connection>,
    script: Script,
    _redis: Redis,
}

impl Asked {
    async fn start() -> Self {
        let redis = Redis::start().await;
        let connection = Client::open(redis.url()).unwrap().get_connection().unwrap().into();
        let (time, expiry) = ("redis.call('TIME')", ", 'PX', expires)");
        assert!(SCRIPT.matches(time).count() == 1 && SCRIPT.matches(expiry).count() == 1);
        let script = SCRIPT.replace(time, "{ ARGV[#ARGV - 1], ARGV[#ARGV] }").replace(expiry, ")");
        Self { connection, script: Script::new(&script), _redis: redis }
    }

    /// Which of these rates refuses a call at this time, and for how long.
    fn call(&self, rates: &[(u64, u64)], now: u64) -> (usize, u64) {
        let mut call = self.script.prepare_invoke();
        for (index, (calls, span)) in rates.iter().enumerate() {
            call.key(index).arg(*calls).arg(*span);
        }
        let call = call.arg(now / 1_000_000).arg(now % 1_000_000);
        call.invoke(&mut *self.connection.borrow_mut()).unwrap()
    }

    fn forget(&self) {
        redis::cmd("FLUSHDB").exec(&mut *self.connection.borrow_mut()).unwrap();
    }

    /// What is kept for the first rate.
    fn keep(&self, value: &str) {
        redis::cmd("SET").arg(0).arg(value).exec(&mut *self.connection.borrow_mut()).unwrap();
    }
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() })
}

/// Pauses that are nothing, about as long as a rate needs for the next call, and as long as for all.
fn pauses() -> impl Strategy<Value = Vec<u64>> {
    let pause = prop_oneof![3 => Just(0), 3 => 0..2_000u64, 2 => 0..2_000_000u64, 1 => 0..100_000_000_000u64];
    vec(pause, 1..150)
}

#[tokio::test]
async fn it_decides_as_the_model_does() {
    let redis = Asked::start().await;
    let calls = prop_oneof![1..20u64, 1..104_000u64];
    let rates = vec((calls, 0..SPANS.len()), 1..4).prop_map(|mut rates| {
        rates.sort_by_key(|(_, span)| *span);
        rates.into_iter().map(|(calls, span)| (calls, SPANS[span])).collect::<Vec<_>>()
    });
    let mut runner = runner(150);
    let outcome = runner.run(&(rates, pauses()), |(rates, pauses)| {
        redis.forget();
        let models = rates.iter().map(|(calls, span)| Model { calls: *calls, span: *span, arrival: 0 });
        let (mut models, mut now): (Vec<_>, _) = (models.collect(), START);
        for pause in pauses {
            now += pause;
            let told = redis.call(&rates, now);
            let refusing = models.iter().position(|model| model.wait(now) > 0);
            let expected = refusing.map_or((0, 0), |index| (index + 1, models[index].wait(now)));
            prop_assert_eq!(told, expected);
            if refusing.is_none() {
                models.iter_mut().for_each(|model| model.count(now));
            }
        }
        Ok(())
    });
    outcome.unwrap();
}

#[tokio::test]
async fn it_decides_as_the_local_counts_do() {
    let redis = Asked::start().await;
    let mut runner = runner(60);
    // Those that have whole microseconds for a call, since the others are rounded there.
    let rate = prop_oneof![Just((50u64, 0)), Just((5, 0)), Just((60, 1)), Just((20, 2)), Just((100_000, 3))];
    let outcome = runner.run(&(rate, pauses()), |((calls, span), pauses)| {
        redis.forget();
        let (span, clock) = (SPANS[span], FakeRelativeClock::default());
        let quota = Quota::with_period(Duration::from_micros(span / calls)).unwrap();
        let quota = quota.allow_burst(NonZeroU32::new(u32::try_from(calls).unwrap()).unwrap());
        let (local, mut now) = (RateLimiter::direct_with_clock(quota, clock.clone()), START);
        for pause in pauses {
            now += pause;
            clock.advance(Duration::from_micros(pause));
            let expected = match local.check() {
                Ok(()) => (0, 0),
                Err(until) => {
                    let wait = until.wait_time_from(governor::clock::Clock::now(&clock));
                    (1, u64::try_from(wait.as_micros()).unwrap())
                }
            };
            prop_assert_eq!(redis.call(&[(calls, span)], now), expected);
        }
        Ok(())
    });
    outcome.unwrap();
}

#[tokio::test]
async fn the_largest_rates_let_through_what_they_say() {
    let redis = Asked::start().await;
    for span in SPANS {
        let calls = u64::from(u32::MAX);
        redis.keep(&format!("{} {START}", u128::from(calls - 3) * u128::from(span)));
        let passed = (0..10).take_while(|_| redis.call(&[(calls, span)], START).0 == 0);
        assert_eq!(passed.count(), 3, "{span}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_shuts_nobody_out() {
    let redis = Asked::start().await;
    let rate = [(2, SPANS[0])];
    let later = START + SPANS[3];
    let told: Vec<_> = [later, later, later].map(|now| redis.call(&rate, now)).into();
    assert_eq!(told, [(0, 0), (0, 0), (1, 500_000)]);
    // A day earlier, and then as it goes on from there.
    let now = [START, START + 499_999, START + 500_000, START + 500_000];
    let told: Vec<_> = now.map(|now| redis.call(&rate, now)).into();
    assert_eq!(told, [(1, 500_000), (1, 1), (0, 0), (1, 500_000)]);
}
