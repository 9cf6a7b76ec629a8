//! Pulls by themselves: when, and after a failure.

use quintile::{
    model::Timestamp,
    sync::log::{State, Trigger},
};

use super::{admin::Fault, home::Home};

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

#[tokio::test]
async fn pulls_come_every_six_hours_and_before_the_night() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(3, "2026-11-22T00:00:00Z");
    let syncer = home.syncer();
    let night = at("2026-11-24T02:00:00Z");
    let mut started = Vec::new();
    while home.now() < night {
        if let Some(ended) = syncer.beat(Some(night)).await.unwrap() {
            assert!(ended.error.is_none());
            started.push((ended.entry.started_at.to_string(), ended.entry.trigger));
        }
        home.timer().sleep(std::time::Duration::from_secs(60)).await;
    }
    // The first one took four minutes of polls.
    assert_eq!(
        started,
        [
            ("2026-11-23T12:00:00Z".to_owned(), Trigger::Scheduled),
            ("2026-11-23T18:00:00Z".to_owned(), Trigger::Scheduled),
            ("2026-11-24T00:00:00Z".to_owned(), Trigger::Scheduled),
            ("2026-11-24T01:30:00Z".to_owned(), Trigger::BeforeScoring),
        ]
    );
}

#[tokio::test]
async fn a_pull_that_failed_is_tried_again_sooner_and_then_later() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(3, "2026-11-22T00:00:00Z");
    let syncer = home.syncer();
    let mut minutes = Vec::new();
    for minute in 0..80 {
        // Every pull of the first hour is refused at once.
        if minute < 60 && home.admin.shop().faults.is_empty() {
            home.admin.shop().faults.push_back(Fault::Status(403, None));
        }
        if let Some(ended) = syncer.beat(None).await.unwrap() {
            minutes.push((minute, ended.entry.state));
        }
        home.timer().sleep(std::time::Duration::from_secs(60)).await;
        if minute == 60 {
            home.admin.shop().faults.clear();
        }
    }
    assert_eq!(minutes, [(0, State::Failed), (10, State::Failed), (30, State::Failed), (70, State::Done)]);
}
