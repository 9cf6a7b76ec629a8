//! What `check --deep` sees between two turns of the forwarder: the queue agrees with itself after each of its
//! writes, not only once everything that was claimed has ended.

use quintile::{
    invariants,
    outbox::{self, Claim, Claims, Places, Route, Shop as ShopInfo, Verdict},
};

use super::fixture::{Shop, end};
use crate::support::{folder::TURN, receiver::Receiver};

/// Claims up to `free` deliveries, as a turn of the forwarder does.
fn claim(shop: &Shop, number: u64, free: usize) -> Vec<Claim> {
    let now = shop.now();
    let claims = Claims {
        boot: "boot".into(),
        number,
        shop: ShopInfo::from_config(&shop.config),
        routes: Route::from_config(&shop.config).unwrap().into(),
        places: vec![Places { free, ..Places::default() }],
        start: 0,
        limit: free,
        now,
        latest: now.plus_millis(1_000_000),
    };
    shop.write(move |tx| Ok(outbox::claim(tx, &claims)?.claims))
}

fn settle(shop: &Shop, claim: &Claim, verdict: Verdict) {
    let (claim, now) = (claim.clone(), shop.now());
    assert_eq!(shop.write(move |tx| Ok(end(tx, claim, 0, verdict, now))), 1);
}

/// Lines in which more than one delivery moves, or none.
fn broken_lines(shop: &Shop) -> Vec<String> {
    let violations = invariants::violations(&shop.db().readers().get().unwrap()).unwrap();
    violations.into_iter().filter(|violation| violation.starts_with(TURN)).collect()
}

#[tokio::test]
async fn a_batch_is_split_before_what_was_claimed_behind_it_comes_back() {
    let tool = Receiver::start().await;
    let mut shop = Shop::new(&[&tool]);
    shop.config.destination[0].batch = 2;
    shop.moves(&[1, 2], "lost");
    shop.moves(&[2], "champion");
    let [batch, ahead] = claim(&shop, 0, 2).try_into().unwrap();
    assert_eq!((batch.events, ahead.events), (2, 1));
    settle(&shop, &batch, Verdict::Split { remember: false });
    assert_eq!(broken_lines(&shop), Vec::<String>::new());
    let claims = claim(&shop, 100, 2);
    assert_eq!(claims.len(), 1, "the older event of customer 2 waits for what is in flight: {claims:?}");
    settle(&shop, &claims[0], Verdict::Unsent);
    assert_eq!(broken_lines(&shop), Vec::<String>::new());
    settle(&shop, &ahead, Verdict::Unsent);
    assert_eq!(broken_lines(&shop), Vec::<String>::new());
    shop.deliver().await;
    let of_two = tool.received().into_iter().filter_map(|request| {
        let events = request.json()["data"]["events"].as_array().unwrap().clone();
        events.into_iter().find(|event| event["data"]["customerId"] == "2")
    });
    let told: Vec<_> = of_two.map(|event| event["data"]["newSegment"].clone()).collect();
    assert_eq!(told, ["lost", "champion"]);
}
