use super::*;

fn counts(scheme: &Scheme) -> Vec<(&str, usize)> {
    scheme
        .segments()
        .iter()
        .map(|segment| {
            (segment.name.as_str(), combinations().filter(|rfm| scheme.segment_of(*rfm).name == segment.name).count())
        })
        .collect()
}

fn rule(name: &str, r: &str, f: &str, m: &str) -> config::Segment {
    config::Segment {
        name: name.to_owned(),
        r: r.to_owned(),
        f: f.to_owned(),
        m: m.to_owned(),
        ..config::Segment::default()
    }
}

#[test]
fn classic_names_every_combination() {
    assert_eq!(
        counts(&Scheme::classic()),
        [
            ("champion", 8),
            ("loyal", 19),
            ("new", 10),
            ("potential", 38),
            ("at_risk", 40),
            ("hibernating", 8),
            ("lost", 2),
        ]
    );
}

#[test]
fn detailed_names_every_combination() {
    assert_eq!(
        counts(&Scheme::detailed()),
        [
            ("champion", 10),
            ("loyal", 20),
            ("potential_loyalist", 20),
            ("new", 5),
            ("promising", 5),
            ("need_attention", 5),
            ("about_to_sleep", 10),
            ("cannot_lose", 10),
            ("at_risk", 20),
            ("hibernating", 15),
            ("lost", 5),
        ]
    );
}

/// The rules of the original, written out a second time as conditions.
#[test]
fn classic_follows_the_original_rule_by_rule() {
    let scheme = Scheme::classic();
    for [r, f, m] in combinations() {
        let expected = match () {
            () if r >= 4 && f >= 4 && m >= 4 => "champion",
            () if r >= 3 && f >= 3 && m >= 3 => "loyal",
            () if r >= 4 && f <= 1 => "new",
            () if r >= 3 => "potential",
            () if r <= 2 && f >= 2 => "at_risk",
            () if r <= 2 && f <= 2 && m >= 2 => "hibernating",
            () => "lost",
        };
        assert_eq!(scheme.segment_of([r, f, m]).name, expected, "{r} {f} {m}");
    }
}

#[test]
fn detailed_segments_are_areas_of_recency_and_frequency() {
    let scheme = Scheme::detailed();
    for (rf, expected) in [
        ((5, 5), "champion"),
        ((4, 5), "loyal"),
        ((5, 3), "potential_loyalist"),
        ((5, 1), "new"),
        ((4, 1), "promising"),
        ((3, 3), "need_attention"),
        ((3, 2), "about_to_sleep"),
        ((2, 5), "cannot_lose"),
        ((1, 3), "at_risk"),
        ((1, 1), "lost"),
        ((2, 1), "hibernating"),
        ((1, 2), "hibernating"),
    ] {
        for m in 1..=5 {
            assert_eq!(scheme.segment_of([rf.0, rf.1, m]).name, expected, "{rf:?} {m}");
        }
    }
}

#[test]
fn every_preset_segment_speaks_to_people() {
    for scheme in [Scheme::classic(), Scheme::detailed()] {
        for (rank, segment) in scheme.segments().iter().enumerate() {
            assert_eq!(segment.rank, rank);
            assert!(!segment.label.is_empty() && segment.definition.ends_with('.') && segment.action.ends_with('.'));
            assert_eq!(scheme.get(&segment.name), Some(segment));
        }
    }
    assert_eq!(Scheme::classic().get("vip"), None);
}

#[test]
fn a_custom_scheme_in_order_first_match_wins() {
    let scheme = custom(&[
        rule("vip", "4-5", "", "5"),
        rule("fresh", " 5 ", "1", ""),
        rule("vip", "3", "5", "5"),
        rule("rest", "", "", ""),
    ])
    .unwrap();
    assert_eq!(scheme.segment_of([5, 1, 5]).name, "vip");
    assert_eq!(scheme.segment_of([5, 1, 4]).name, "fresh");
    assert_eq!(scheme.segment_of([3, 5, 5]).name, "vip");
    assert_eq!(scheme.segment_of([3, 4, 5]).name, "rest");
    let labels: Vec<_> = scheme.segments().iter().map(|s| (s.label.as_str(), s.tone.as_str(), s.rank)).collect();
    assert_eq!(labels, [("Vip", "keep", 0), ("Fresh", "grow", 1), ("Rest", "win_back", 2)]);
    assert_eq!(scheme.segments()[0].definition, "recency 4 to 5, monetary value 5");
}

#[test]
fn what_is_missing_and_what_never_wins_is_named() {
    let problems = custom(&[
        rule("good", "2-5", "", ""),
        rule("never", "3", "3", "3"),
        rule("some", "1", "2-5", "1-3"),
        rule("point", "1", "2", "5"),
    ])
    .unwrap_err();
    insta::assert_snapshot!(problems, @r#"segments = "custom": no rule covers r1 f1 m1-5, r1 f2 m4, r1 f3 m4-5, r1 f4 m4-5, r1 f5 m4-5; add a rule for them, or a last one without r, f and m; rule 2 ("never") can never win, the rules before it take all it matches; move it up or remove it"#);
}

#[test]
fn what_cannot_be_read_is_named() {
    for (rules, part) in [
        (vec![], "write at least one"),
        (vec![rule("At Risk", "", "", "")], "\"At Risk\" cannot be the name"),
        (vec![rule("", "", "", "")], "\"\" cannot be the name"),
        (vec![rule("a", "6", "", "")], "r = \"6\" is not a span"),
        (vec![rule("a", "", "5-4", "")], "f = \"5-4\" is not a span"),
        (vec![rule("a", "", "", "high")], "m = \"high\" is not a span"),
        (
            vec![
                config::Segment { label: "A".to_owned(), ..rule("a", "5", "", "") },
                config::Segment { label: "B".to_owned(), ..rule("a", "", "", "") },
            ],
            "twice with another label",
        ),
    ] {
        let error = custom(&rules).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_hash_follows_the_mapping_not_the_wording() {
    let base = custom(&[rule("a", "3-5", "", ""), rule("b", "", "", "")]).unwrap();
    let reworded = custom(&[
        config::Segment { label: "Alpha".to_owned(), action: "Call.".to_owned(), ..rule("a", "5", "", "") },
        rule("a", "3-4", "", ""),
        rule("b", "1-2", "", ""),
    ])
    .unwrap();
    assert_eq!(base.hash(), reworded.hash());
    let renamed = custom(&[rule("a", "3-5", "", ""), rule("c", "", "", "")]).unwrap();
    let moved = custom(&[rule("a", "4-5", "", ""), rule("b", "", "", "")]).unwrap();
    assert_ne!(base.hash(), renamed.hash());
    assert_ne!(base.hash(), moved.hash());
    assert_ne!(Scheme::classic().hash(), Scheme::detailed().hash());
}
