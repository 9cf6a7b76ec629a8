//! What shops and spreadsheet programs make of a row, and rows that are no table's.

use std::fmt::Write;

use super::{
    tests::{config, nobody, of_orders, open_bytes, read, read_with},
    *,
};
use crate::{
    config::Config,
    ledger::{Applied, Change},
    model::{Currency, Source},
};

#[test]
fn a_shopify_file_is_read_as_shopify_writes_it_whatever_other_files_are() {
    let mut config = config();
    (config.import.decimal_comma, config.import.date_format) = (true, "%d.%m.%Y %H:%M".to_owned());
    let header = "Name,Email,Financial Status,Total,Refunded Amount,Created at,Lineitem name";
    let rows = [
        "#1,a@b.example,paid,1234.50,,2025-12-01 10:11:12 +0100,Mug",
        "#2,a@b.example,paid,\"1.234,50\",,01.12.2025 10:11,Mug",
        "#3,a@b.example,partially_refunded,49.90,-10.00,2025-12-01 10:11:12,Mug",
        "#4,a@b.example,refunded,49.90,-49.90,2025-12-01 10:11:12 +0100,Mug",
        "#5,a@b.example,refunded,49.90,0.00,2025-12-01 10:11:12 +0100,Mug",
    ];
    let (orders, report) = read_with(format!("{header}\n{}\n", rows.join("\n")), &config);
    assert_eq!(report.rejections, []);
    let amounts: Vec<_> =
        orders.iter().map(|it| (it.gross.0, it.refunded.0, it.net_payment.map(|net| net.0))).collect();
    let expected = [
        (123_450, 0, None),
        (123_450, 0, None),
        (4990, 1000, Some(3990)),
        (4990, 4990, Some(0)),
        (4990, 4990, Some(0)),
    ];
    assert_eq!(amounts, expected);
    let (dinars, _) = read_with(
        format!("{header}\n#1,a@b.example,paid,4.990,,2025-12-01 10:11:12 +0100,Mug\n"),
        &Config {
            shop: crate::config::Shop { currency: Currency::new("KWD").unwrap(), ..config.shop.clone() },
            ..config
        },
    );
    assert_eq!(dinars[0].gross.0, 4990);
}

#[test]
fn what_excel_makes_text_of_is_read_without_its_apostrophe() {
    let file =
        "'order_id,'email,'ordered_at,'total,'currency,'first_name\n'1,'anna@b.example,'2025-12-01,'5,'EUR,'t Hooft\n";
    let (orders, report) = read(file);
    assert_eq!(report.rejections, []);
    let person = orders[0].person.as_ref().unwrap();
    assert_eq!((person.email.as_deref(), person.first_name.as_deref()), (Some("anna@b.example"), Some("'t Hooft")));
}

#[test]
fn the_guests_of_a_woocommerce_file_are_not_one_customer() {
    let mut config = config();
    config.import.source = Source::WooCommerce;
    let file = "order_id,customer_id,email,ordered_at,total\n1,0,a@b.example,2025-12-01,5\n2,0,b@b.example,2025-12-01,5\n3,7,c@b.example,2025-12-01,5\n";
    let ids = |orders: &[Order]| orders.iter().map(|it| it.person.clone().unwrap().external_id).collect::<Vec<_>>();
    assert_eq!(ids(&read_with(file, &config).0), [None, None, Some("7".to_owned())]);
    // Other shops may well have a customer with this id.
    assert_eq!(ids(&read(file).0)[0].as_deref(), Some("0"));
}

#[test]
fn files_that_may_hold_what_webhooks_bring_too() {
    let mut config = config();
    let file = b"order_id,email,ordered_at,total\n";
    let warning = |config: &Config| open_bytes(file, config, None).unwrap().preview().warning;
    assert_eq!(warning(&config), None);
    config.webhooks.woocommerce.secrets = vec![crate::config::Secret::new("woo")];
    assert!(warning(&config).unwrap().contains("set [import] source = \"woocommerce\""));
    config.import.source = Source::WooCommerce;
    assert_eq!(warning(&config), None);
}

#[test]
fn lines_of_a_bulk_operation_are_rows_too() {
    let order = |id: u64, at: &str| {
        format!(
            r#"{{"id":"gid://shopify/Order/{id}","createdAt":"2025-01-01T00:00:00Z","updatedAt":"{at}","displayFinancialStatus":"PAID","totalPriceSet":{{"shopMoney":{{"amount":"5.00","currencyCode":"EUR"}}}}}}"#
        )
    };
    let (newer, older) = (order(1, "2025-01-03T00:00:00Z"), order(1, "2025-01-02T00:00:00Z"));
    let customer = r#"{"id":"gid://shopify/Customer/7","firstName":"Anna","updatedAt":"2025-01-03T00:00:00Z"}"#;
    let part = r#"{"id":"gid://shopify/LineItem/1","__parentId":"gid://shopify/Order/1"}"#;
    let file = [part, customer, &newer, "{\"id\":7}", &older].join("\n");
    let input = open_bytes(file.as_bytes(), &config(), None).unwrap();
    let preview = input.preview();
    assert_eq!((preview.table, preview.rows.iter().map(|row| row.line).collect::<Vec<_>>()), (None, vec![2, 3, 4, 5]));
    let mut batches = Vec::new();
    let mut take = |batch: Batch| {
        batches.push((batch.orders.len(), batch.people.len()));
        let known = Applied { owner: Some(1), ..nobody() };
        let orders = batch.orders.iter().map(|_| Ok(known)).collect();
        Ok((batch, Outcomes { orders, people: vec![Ok(Applied { customer: Some(Change::New), ..known })] }))
    };
    let report = import(input, false, &mut take, &|_| {}).unwrap();
    // Which of two states is newer they say themselves: none is dropped here.
    assert_eq!(batches, [(2, 1)]);
    assert_eq!((report.rows, report.orders.new, report.orders.rejected), (5, 2, 1));
    assert_eq!((report.format, report.rejections[0].line), (Format::ShopifyJsonl, 4));
}

#[test]
fn long_rows_share_fewer_batches() {
    let cell = "x".repeat(900_000);
    let mut file = String::from("order_id,email,ordered_at,total,note\n");
    for id in 0..25 {
        writeln!(file, "{id},a@b.example,2025-01-01,5,{cell}").unwrap();
    }
    let mut batches = Vec::new();
    let mut take = |batch: Batch| {
        batches.push(batch.len());
        Ok((Batch::default(), of_orders(batch.orders.iter().map(|_| nobody()))))
    };
    import(open_bytes(file.as_bytes(), &config(), None).unwrap(), false, &mut take, &|_| {}).unwrap();
    assert_eq!(batches, [10, 10, 5]);
}
