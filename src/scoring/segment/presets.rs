//! The segments that come with quintile, in one table: name, label, definition, action, tone.

use super::{Rule, Scheme, Segment, Span, Tone};

/// One row: a segment and the rule that names it. Rows stand in the order of the rules; `rank`
/// orders the segments, 0 is the best.
pub(super) struct Row {
    name: &'static str,
    label: &'static str,
    definition: &'static str,
    action: &'static str,
    tone: Tone,
    rank: usize,
    spans: [Span; 3],
}

const ANY: Span = Span::ANY;

/// Seven segments over r, f and m.
#[rustfmt::skip]
pub(super) const CLASSIC: &[Row] = &[
    Row { name: "champion", label: "Champions", tone: Tone::Keep, rank: 0, spans: [Span(4, 5), Span(4, 5), Span(4, 5)],
        definition: "Bought lately, buy often, spend most.",
        action: "Thank them: early access, a reward, a request for a review. No discounts, they buy anyway." },
    Row { name: "loyal", label: "Loyal", tone: Tone::Keep, rank: 1, spans: [Span(3, 5), Span(3, 5), Span(3, 5)],
        definition: "Come back regularly and spend well.",
        action: "Invite them into a loyalty programme and show what goes with their last order." },
    Row { name: "new", label: "New", tone: Tone::Grow, rank: 2, spans: [Span(4, 5), Span(1, 1), ANY],
        definition: "Bought lately, for the first time or nearly so.",
        action: "Welcome them, help with the first order, and give a reason for the second one." },
    Row { name: "potential", label: "Potential", tone: Tone::Grow, rank: 3, spans: [Span(3, 5), ANY, ANY],
        definition: "Bought not long ago, but not yet often or much.",
        action: "Recommend what others bought next; offer a bundle or free shipping from a higher basket." },
    Row { name: "at_risk", label: "At risk", tone: Tone::WinBack, rank: 4, spans: [Span(1, 2), Span(2, 5), ANY],
        definition: "Bought more than once, but have been away for long.",
        action: "Ask them back personally, with a time-limited offer and news about what they used to buy." },
    Row { name: "hibernating", label: "Hibernating", tone: Tone::LetRest, rank: 5, spans: [Span(1, 2), Span(1, 2), Span(2, 5)],
        definition: "Bought once, long ago, for a fair amount.",
        action: "One win-back message with a strong reason; then write rarely." },
    Row { name: "lost", label: "Lost", tone: Tone::LetRest, rank: 6, spans: [ANY, ANY, ANY],
        definition: "Bought once, long ago, for little.",
        action: "Spend nothing on them. Take them out of regular mailings." },
];

/// Eleven segments over r and f. `lost` stands before `hibernating`, whose rule would take it, and
/// still ranks last.
#[rustfmt::skip]
pub(super) const DETAILED: &[Row] = &[
    Row { name: "champion", label: "Champions", tone: Tone::Keep, rank: 0, spans: [Span(5, 5), Span(4, 5), ANY],
        definition: "Bought very lately and buy often.",
        action: "Thank them: early access, a reward, a request for a review. No discounts, they buy anyway." },
    Row { name: "loyal", label: "Loyal", tone: Tone::Keep, rank: 1, spans: [Span(3, 4), Span(4, 5), ANY],
        definition: "Buy often; the last order was a while ago.",
        action: "Invite them into a loyalty programme and show what goes with their last order." },
    Row { name: "potential_loyalist", label: "Potential loyalists", tone: Tone::Grow, rank: 2, spans: [Span(4, 5), Span(2, 3), ANY],
        definition: "Bought lately, more than once.",
        action: "Recommend what others bought next; offer a membership or a bundle." },
    Row { name: "new", label: "New", tone: Tone::Grow, rank: 3, spans: [Span(5, 5), Span(1, 1), ANY],
        definition: "Bought very lately, for the first time or nearly so.",
        action: "Welcome them, help with the first order, and give a reason for the second one." },
    Row { name: "promising", label: "Promising", tone: Tone::Grow, rank: 4, spans: [Span(4, 4), Span(1, 1), ANY],
        definition: "Bought lately, once.",
        action: "Remind them of the shop while it is fresh: a small offer on a second order." },
    Row { name: "need_attention", label: "Need attention", tone: Tone::WinBack, rank: 5, spans: [Span(3, 3), Span(3, 3), ANY],
        definition: "In the middle in everything; could go either way.",
        action: "A limited offer based on what they bought, soon." },
    Row { name: "about_to_sleep", label: "About to sleep", tone: Tone::WinBack, rank: 6, spans: [Span(3, 3), Span(1, 2), ANY],
        definition: "Bought seldom, and some time has passed.",
        action: "Show what is popular or new, before they forget the shop." },
    Row { name: "cannot_lose", label: "Cannot lose", tone: Tone::WinBack, rank: 7, spans: [Span(1, 2), Span(5, 5), ANY],
        definition: "Used to buy most often of all, and stopped.",
        action: "Write or call in person; find out what went wrong. Worth a real offer." },
    Row { name: "at_risk", label: "At risk", tone: Tone::WinBack, rank: 8, spans: [Span(1, 2), Span(3, 4), ANY],
        definition: "Used to buy often, and have been away for long.",
        action: "Ask them back personally, with a time-limited offer and news about what they used to buy." },
    Row { name: "lost", label: "Lost", tone: Tone::LetRest, rank: 10, spans: [Span(1, 1), Span(1, 1), ANY],
        definition: "Bought once, longest ago.",
        action: "Spend nothing on them. Take them out of regular mailings." },
    Row { name: "hibernating", label: "Hibernating", tone: Tone::LetRest, rank: 9, spans: [Span(1, 2), Span(1, 2), ANY],
        definition: "Bought seldom, long ago.",
        action: "One win-back message with a strong reason; then write rarely." },
];

/// Who is new goes to Potential both by buying again and by waiting: neither is a fall, so the two are level.
fn level(row: &Row, rows: &[Row]) -> usize {
    let beside = rows.iter().find(|other| row.name == "new" && other.name == "potential");
    beside.unwrap_or(row).rank
}

/// # Panics
/// The table is wrong, which a test excludes.
pub(super) fn scheme(rows: &[Row]) -> Scheme {
    let segment = |row: &Row| Segment {
        name: row.name.to_owned(),
        label: row.label.to_owned(),
        definition: row.definition.to_owned(),
        action: row.action.to_owned(),
        rank: row.rank,
        level: level(row, rows),
        tone: row.tone,
    };
    let mut segments: Vec<Segment> = rows.iter().map(segment).collect();
    segments.sort_by_key(|segment| segment.rank);
    let rules: Vec<Rule> = rows.iter().map(|row| Rule { segment: row.rank, spans: row.spans }).collect();
    Scheme::new(segments, &rules).expect("the presets cover every combination")
}
