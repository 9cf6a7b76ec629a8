//! Rows that are no orders, and the file they go to.

use std::fs;

use serde_json::json;

use super::{Desk, GENERIC_HEADER};

#[test]
fn rejected_rows_go_to_a_file_that_can_be_corrected() {
    let desk = Desk::new();
    desk.file(
        "orders.csv",
        b"sep=;\n\
          order_id;email;ordered_at;total;currency;note\n\
          1;a@example.com;2026-01-01;10.00;EUR;fine\n\
          2;b@example.com;02.01.2026;10.00;EUR;\"two\nlines; and M\xfcll\"\n\
          3;c@example.com;2026-01-03;10.00;USD;dollars\n\
          4;d@example.com;1970-01-01;10.00;EUR;zero\n",
    );
    let done = desk.import(&["orders.csv", "--format", "json"]);
    let report = &done.ends_with(3).json()["files"][0];
    assert_eq!(report["orders"], json!({ "new": 1, "updated": 0, "unchanged": 0, "rejected": 3 }));
    assert_eq!(report["rows"], 4);
    assert_eq!(report["rejectedFile"], "orders.csv.rejected.csv");
    let rejected = fs::read_to_string(desk.path("orders.csv.rejected.csv")).unwrap();
    insta::assert_snapshot!(rejected, @r##"
    line,reason,order_id,email,ordered_at,total,currency,note
    4,"ordered_at: ""02.01.2026"" is not a date like 2026-11-23 02:00:00; say how the file writes dates with [import] date_format, like ""%d.%m.%Y""",2,b@example.com,02.01.2026,10.00,EUR,"two
    lines; and Müll"
    6,"it is in USD, this shop's currency is EUR ([shop] currency); amounts are never converted",3,c@example.com,2026-01-03,10.00,USD,dollars
    7,its order date 1969-12-31T23:00:00Z is not between 1990 and two days from now; correct the date in the shop,4,d@example.com,1970-01-01,10.00,EUR,zero
    "##);

    let corrected =
        rejected.replace("02.01.2026", "2026-01-02").replace("USD", "EUR").replace("1970-01-01", "2026-01-04");
    desk.file("orders.csv.rejected.csv", corrected).import(&["orders.csv.rejected.csv"]).ends_with(0);
    assert_eq!(desk.query("SELECT source_id FROM orders ORDER BY 1"), ["1", "2", "3", "4"]);
    assert!(!desk.path("orders.csv.rejected.csv.rejected.csv").exists());
}

#[test]
fn rejected_rows_are_gone_when_the_file_is_right() {
    let desk = Desk::new();
    let row = |total: &str| format!("{GENERIC_HEADER}\n1,c1,,2026-01-02,{total},,,,,\n");
    desk.file("orders.csv", row("ten")).import(&["orders.csv"]).ends_with(3);
    let rejected = desk.path("orders.csv.rejected.csv");
    assert!(rejected.exists());
    desk.file("orders.csv", row("10.00")).import(&["orders.csv", "--dry-run"]).ends_with(0);
    assert!(rejected.exists(), "a dry run changes nothing");
    desk.import(&["orders.csv"]).ends_with(0);
    assert!(!rejected.exists());

    desk.file("orders.csv.rejected.csv", "what somebody else keeps\n").import(&["orders.csv"]).ends_with(0);
    assert!(rejected.exists());
}
