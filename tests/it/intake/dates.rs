//! Which dates can be true.

use proptest::prelude::*;
use quintile::{
    intake::{Message, Prepared, Received, Rules},
    model::{Source, Timestamp},
};
use serde_json::json;

use super::convergence::empty;
use crate::support::shop::{NOON, order};

/// 1990-01-01
const EARLIEST: i64 = 631_152_000_000;
const LATEST: i64 = NOON + 2 * Timestamp::DAY;

fn instants() -> impl Strategy<Value = i64> {
    // All of the years 0 to 9999, and the edges.
    prop_oneof![-62_167_219_200_000i64..253_402_300_799_999, EARLIEST - 3..EARLIEST + 3, LATEST - 3..LATEST + 3]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_order_is_taken_when_its_date_can_be_true_and_kept_for_later_when_not(millis in instants()) {
        let mut connection = empty();
        let tx = connection.transaction().unwrap();
        let text = Timestamp::from_millis(millis).to_string();
        let message = Message {
            source: Source::Shopify,
            topic: "orders/create".to_owned(),
            delivery_key: None,
            triggered_at: None,
            headers: json!({}),
            body: order(1).placed(&text).updated(&text).json().to_string().into_bytes(),
            received_at: Timestamp::from_millis(NOON),
        };
        let received = Prepared::new(message, &Rules::default()).store(&tx, &Rules::default()).unwrap();
        let possible = (EARLIEST..=LATEST).contains(&millis);
        prop_assert_eq!(received == Received::Done, possible, "{}: {:?}", text, received);
        prop_assert_eq!(matches!(received, Received::Quarantined(_)), !possible, "{}: {:?}", text, received);
    }
}
