//! What may happen, and the list of what does under a seed.

use quintile::{model::Timestamp, outbox::Action, outbox::Resume};

use super::{api, tool::Mood};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = Timestamp::DAY;

/// Steps of one seed.
const STEPS: std::ops::Range<usize> = 100..190;
/// Tools that are sent to; see `World::new`.
pub const TOOLS: usize = 3;

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub what: What,
    /// Its own choices: they stay the same when other steps are left out.
    pub dice: u64,
}

#[derive(Debug, Clone, Copy)]
pub enum What {
    /// Somebody orders, pays, gets a refund, cancels; the webhook is on its way.
    Business {
        times: usize,
    },
    /// Webhooks on their way arrive, in any order.
    Arrive {
        count: usize,
    },
    /// They arrive at one moment and share a commit.
    Burst {
        count: usize,
    },
    /// One that was stored comes once more.
    Repeat {
        same_id: bool,
    },
    Pass {
        millis: i64,
    },
    /// The machine's clock is set, forward or back.
    Jump {
        millis: i64,
    },
    /// The machine's clock is right again.
    SetRight,
    /// A tool answers like this from now on.
    Mood {
        tool: usize,
        mood: Mood,
    },
    /// One turn of the forwarder.
    Turn {
        free: usize,
    },
    /// Requests on their way end.
    Answer {
        count: usize,
    },
    /// A heartbeat of the night watch.
    Beat,
    /// The merchant presses Score now.
    ScoreNow,
    Pause {
        tool: usize,
    },
    Resume {
        tool: usize,
        how: Resume,
    },
    Act {
        action: Action,
        tool: Option<usize>,
    },
    /// The merchant forgets a customer.
    Erase,
    /// What is not kept for ever is forgotten.
    Forget,
    /// The program is stopped and started.
    Restart,
    /// It is killed after so many more commits.
    Crash {
        commits: i64,
    },
    /// The database can grow by so many pages and no more.
    DiskFull {
        pages: i64,
    },
    /// After so many more commits none succeeds, until the disk is free.
    DiskFails {
        commits: i64,
    },
    DiskFree,
    /// Webhooks on their way get lost.
    Lose {
        count: usize,
    },
    /// The shop's API is asked for what changed.
    Pull {
        full: bool,
    },
    /// It answers so many requests.
    ApiAnswers {
        count: usize,
    },
    /// And meanwhile the program is killed, after so many more commits.
    ApiCrash {
        count: usize,
        commits: i64,
    },
    ApiMood {
        mood: api::Mood,
    },
}

/// The steps of a seed.
pub fn steps(seed: u64) -> Vec<Step> {
    let mut dice = fastrand::Rng::with_seed(seed);
    (0..dice.usize(STEPS)).map(|_| Step { what: what(&mut dice), dice: dice.u64(..) }).collect()
}

/// Any of `of`.
pub fn any<T: Copy>(dice: &mut fastrand::Rng, of: &[T]) -> T {
    of[dice.usize(..of.len())]
}

fn what(dice: &mut fastrand::Rng) -> What {
    let tool = dice.usize(..TOOLS);
    match dice.u32(..123) {
        0..14 => What::Business { times: dice.usize(1..6) },
        14..26 => What::Arrive { count: dice.usize(1..8) },
        26..29 => What::Burst { count: dice.usize(2..7) },
        29..32 => What::Repeat { same_id: dice.bool() },
        32..43 => {
            let some = [SECOND, 5 * SECOND, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, DAY, 3 * DAY, 40 * DAY];
            What::Pass { millis: any(dice, &some) }
        }
        43..46 => {
            let some = [MINUTE, HOUR, 7 * HOUR, DAY, 3 * DAY, 30 * DAY, 500 * DAY, 26_000 * DAY];
            What::Jump { millis: any(dice, &some) * any(dice, &[1, -1]) }
        }
        46..48 => What::SetRight,
        48..53 => What::Mood { tool, mood: Mood::any(dice) },
        53..65 => What::Turn { free: dice.usize(1..9) },
        65..77 => What::Answer { count: dice.usize(1..8) },
        77..84 => What::Beat,
        84..86 => What::ScoreNow,
        86 => What::Pause { tool },
        87..89 => What::Resume { tool, how: any(dice, &[Resume::All, Resume::All, Resume::Latest, Resume::None]) },
        89..92 => {
            let actions = [Action::Release, Action::Discard, Action::Retry, Action::Retry, Action::Replay];
            What::Act { action: any(dice, &actions), tool: dice.bool().then_some(tool) }
        }
        92 => What::Erase,
        93 => What::Forget,
        94 => What::Restart,
        95..97 => What::Crash { commits: dice.i64(0..9) },
        97 => What::DiskFull { pages: dice.i64(0..4) },
        98 => What::DiskFails { commits: dice.i64(0..6) },
        99 => What::DiskFree,
        100..105 => What::Lose { count: dice.usize(1..6) },
        105..110 => What::Pull { full: dice.u32(..8) == 0 },
        110..118 => What::ApiAnswers { count: dice.usize(1..24) },
        118..120 => What::ApiCrash { count: dice.usize(1..16), commits: dice.i64(0..12) },
        _ => What::ApiMood { mood: api::Mood::any(dice) },
    }
}
