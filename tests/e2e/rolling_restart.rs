//! Rails is restarted while callers ask, one process after the other, behind nginx.

use std::{collections::HashMap, time::Duration};

use serde_json::value::RawValue;

use crate::{
    health_log::HealthLog,
    storm::{Aside, Callers, Storm},
    support::{Bridge, Nginx, Shop, differences, dynamic, within_patience},
};

/// Prints a row of the table in `docs/upstream.md`.
#[tokio::test]
async fn nobody_notices_that_two_rails_processes_are_restarted_one_after_the_other() {
    let mut shops = [Shop::with(&[]).await, Shop::with(&[]).await];
    let nginx = Nginx::before(&[shops[0].address(), shops[1].address()]).await;
    let bridge = Bridge::before(nginx.url()).start().await;
    let health = HealthLog::of(bridge.health()).await;
    let storm = Storm::begin(bridge.address().parse().unwrap(), callers(&shops[0]).await);
    storm.is_well().await;
    for shop in &mut shops {
        is_asked(&nginx, shop).await;
        shop.stop().await;
        shop.start_again().await;
        // As an orchestrator waits before it goes on.
        is_asked(&nginx, shop).await;
    }
    let recovery = Some(storm.is_well().await);
    let report = storm.end().await;
    let ([requests, _], health) = (nginx.requests(""), health.said());
    let aside = Aside { recovery, requests, sent_again: None, health: health.join(" → ") };
    report.print("two Rails processes restarted in turn behind nginx", &aside);
    report.is_sound(&["OK"], requests.saturating_sub(report.calls) as u64);
    assert_eq!(health, ["SERVING"]);
}

/// Waits until nginx has another answer from this server.
async fn is_asked(nginx: &Nginx, shop: &Shop) {
    let answers = || nginx.requests(shop.address())[1];
    let before = answers();
    let asked = async {
        while answers() == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within_patience("nginx to ask a server again", asked, String::new).await;
}

/// Callers who compare each answer with what Rails itself says.
async fn callers(shop: &Shop) -> Callers {
    let ids: Vec<_> = [1].into_iter().chain(101..=140).collect();
    let mut rails: HashMap<i64, Box<RawValue>> = HashMap::new();
    for &id in &ids {
        rails.insert(id, shop.json(&format!("/products/{id}")).await);
    }
    Callers {
        ids,
        is_right: Box::new(move |id, answer| differences(&rails[&id], &dynamic(answer)).is_empty()),
        pause: Duration::from_millis(800),
        deadline: Duration::from_secs(2),
    }
}
