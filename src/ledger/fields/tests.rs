use super::*;

#[test]
fn versions_sort_by_update_then_by_sending() {
    let at = Timestamp::from_millis;
    let updated = 1_795_435_200_000;
    let ascending = [
        Version::of(None, Some(at(updated))),
        Version::of(Some(at(-5)), None),
        Version::of(Some(at(updated - 1)), None),
        Version::of(Some(at(updated)), Some(at(updated - 10))),
        Version::of(Some(at(updated)), Some(at(updated + 1))),
        Version::of(Some(at(updated)), Some(at(updated + 2))),
        Version::of(Some(at(updated)), Some(at(i64::MAX))),
        Version::of(Some(at(updated)), None),
        Version::of(Some(at(updated + 1)), Some(at(0))),
        Version::of(Some(at(i64::MAX)), Some(at(0))),
    ];
    assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
}

#[test]
fn a_field_takes_what_is_newer() {
    let version = |updated| Version::of(Some(Timestamp::from_millis(updated)), None);
    let mut field = Field::default();
    for (told, version, taken, value) in [
        (None, version(9), Taken::Silent, None),
        (Some("file"), None, Taken::Changed, Some("file")),
        (Some(""), None, Taken::Silent, Some("file")),
        (Some("other file"), None, Taken::Changed, Some("other file")),
        (Some("shop"), version(5), Taken::Changed, Some("shop")),
        (Some("file"), None, Taken::Lost, Some("shop")),
        (Some("older"), version(4), Taken::Lost, Some("shop")),
        (Some("shop"), version(4), Taken::Known, Some("shop")),
        (Some("shop"), version(6), Taken::Confirmed, Some("shop")),
        (Some("a tie, and less"), version(6), Taken::Lost, Some("shop")),
        (Some("shops"), version(6), Taken::Changed, Some("shops")),
        (Some(" "), version(7), Taken::Changed, None),
        (Some("back"), version(8), Taken::Changed, Some("back")),
    ] {
        assert_eq!(field.take(told, version), taken, "{told:?}");
        assert_eq!(field.value.as_deref(), value, "{told:?}");
    }
}

#[test]
fn files_tell_less_than_messages_and_a_list_more_than_orders() {
    let order = |day| Version::of_file(Some(Timestamp::from_millis(day * Timestamp::DAY)));
    let (list, message) = (Some(Version::SNAPSHOT), Version::of(Some(Timestamp::from_millis(1)), None));
    assert!([None, order(1), order(2), order(40_000), list, message].is_sorted_by(|a, b| a < b));
    assert_eq!(Version::of_file(None), None);

    let mut field = Field::default();
    for (told, version, taken, value) in [
        (Some("yes"), order(2), Taken::Changed, "yes"),
        (Some("no"), order(1), Taken::Lost, "yes"),
        (Some(""), order(3), Taken::Silent, "yes"),
        (Some("yes"), list, Taken::Confirmed, "yes"),
        (Some("no"), order(4), Taken::Lost, "yes"),
        (Some("yes"), list, Taken::Known, "yes"),
        (Some("no"), list, Taken::Changed, "no"),
        (Some("yes"), list, Taken::Changed, "yes"),
        (Some(""), list, Taken::Silent, "yes"),
        (Some("maybe"), message, Taken::Changed, "maybe"),
        (Some("no"), list, Taken::Lost, "maybe"),
    ] {
        assert_eq!(field.take(told, version), taken, "{told:?}");
        assert_eq!(field.value.as_deref(), Some(value), "{told:?}");
    }
}
