//! What an answer means for a delivery and its destination, and when to try again. Pure: the clock
//! and the answer come in, a judgement comes out.

use sha2::{Digest, Sha256};
use url::Url;

use super::plan::{Meaning, mask};
use crate::{
    model::Timestamp,
    outbox::{Claim, Effect, Hold, Verdict},
};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Waits after the first, second … failed attempt: 94 hours in all, Friday evening to Tuesday.
const DELAYS_MS: [i64; 11] = [
    5 * SECOND,
    30 * SECOND,
    2 * MINUTE,
    15 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    24 * HOUR,
    24 * HOUR,
    24 * HOUR,
];
/// Attempts that count, after which a delivery is dead.
pub const ATTEMPTS: u32 = 12;
/// Attempts after which a request that the receiver calls malformed is dead: sending it again
/// changes nothing, but a deployment of the receiver in between may.
const ATTEMPTS_MALFORMED: u32 = 3;
/// Least wait when the receiver looks overloaded.
const OVERLOADED_MS: i64 = MINUTE;
/// How far `Retry-After` may push.
const RETRY_AFTER_MS: (i64, i64) = (SECOND, 24 * HOUR);
/// Jitter, in thousandths of the delay, either way.
const JITTER_PERMILLE: i64 = 200;
/// No attempt is ever further away than this.
pub const LONGEST_WAIT_MS: i64 = 24 * HOUR * (1000 + JITTER_PERMILLE) / 1000;

/// What came back from one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Answer(Answer),
    Failure(Failure),
}

impl Reply {
    /// Whether it is an answer that means this.
    #[must_use]
    pub fn means(&self, meaning: &Meaning) -> bool {
        matches!(self, Self::Answer(answer) if answer.meaning == *meaning)
    }
}

/// A whole answer: its body was read, or as much of it as we read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The header `retry-after`, as it came.
    pub retry_after: Option<String>,
    /// The header `location`, as it came.
    pub location: Option<String>,
    /// The header `webhook-delivery` said `disable`.
    pub disable: bool,
    /// What the destination's preset knows about this answer beside its status.
    pub meaning: Meaning,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The address is not a public one and not in `allow_private`.
    Blocked(String),
    /// The name has no address.
    Dns(String),
    /// No connection within its limit.
    ConnectTimeout,
    /// No whole answer within the limit.
    Timeout,
    Refused,
    /// The connection ended before the answer did.
    Cut,
    Tls(String),
    /// Its request could not be made of the event.
    Unrenderable(String),
    Other(String),
}

/// Which delivery and attempt a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    pub message_id: [u8; 16],
    /// From 1.
    pub attempt: u32,
    /// Attempts that count against the limit, this one included.
    pub counted: u32,
    /// Events in the request.
    pub events: usize,
    /// A failure does not count: the destination was failing already.
    pub spared: bool,
}

/// What a reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// For the destination as a whole.
    pub effect: Effect,
}

/// The answer table. `now` is when the answer was there.
#[must_use]
pub fn judge(reply: &Reply, this: Try, now: Timestamp) -> Judgement {
    let at = now.plus_millis(wait_ms(reply, this, now));
    let so = |verdict, effect| Judgement { verdict, effect };
    let again = |limit| {
        let worn_out = this.counted >= limit && !this.spared;
        if worn_out { Verdict::Dead } else { Verdict::Retry { at, spared: this.spared } }
    };
    let spared = Verdict::Retry { at, spared: true };
    let answer = match reply {
        // Nothing was sent, so it tells nothing of the destination: the merchant's settings keep it away.
        Reply::Failure(Failure::Blocked(_)) => return so(Verdict::Dead, Effect::Notice),
        // The same event and the same settings will fail again, but the settings may be mended.
        Reply::Failure(Failure::Unrenderable(_)) => return so(again(ATTEMPTS_MALFORMED), Effect::None),
        Reply::Failure(_) => return so(again(ATTEMPTS), Effect::Failure),
        Reply::Answer(answer) => answer,
    };
    let status = match answer.meaning {
        Meaning::Plain => answer.status,
        Meaning::Skipped => 200,
        Meaning::Throttled => 429,
        Meaning::Refused(_) => 400,
    };
    match status {
        // Said together with an acceptance, `disable` speaks of the messages after this one.
        200..=299 if answer.disable => so(Verdict::Delivered, Effect::Disable),
        200..=299 => so(Verdict::Delivered, Effect::Success),
        410 => so(Verdict::Held(Hold::Destination), Effect::Disable),
        _ if answer.disable => so(Verdict::Held(Hold::Destination), Effect::Disable),
        400 | 413 | 422 if this.events > 1 => so(Verdict::Split { remember: status == 413 }, Effect::None),
        413 => so(Verdict::Dead, Effect::None),
        400 | 422 => so(again(ATTEMPTS_MALFORMED), Effect::Failure),
        401 | 403 => so(spared, Effect::Refused),
        429 => so(spared, Effect::Wait(now.plus_millis(asked_ms(answer, now).max(DELAYS_MS[0])))),
        _ => so(again(ATTEMPTS), Effect::Failure),
    }
}

/// What the reply to the request of a claim means. `stopped`: its destination is not sent to as usual.
#[must_use]
pub fn conclude(reply: &Reply, claim: &Claim, stopped: bool, now: Timestamp) -> Judgement {
    let this = Try {
        message_id: claim.message_id,
        attempt: claim.attempt,
        counted: claim.counted,
        events: claim.events,
        spared: claim.early.is_some() || (stopped && !claim.probe),
    };
    let Judgement { mut verdict, effect } = judge(reply, this, now);
    if let (Some(own), Verdict::Retry { at, .. }) = (claim.early, &mut verdict) {
        // A probe before its time takes nothing from its schedule, or it would never come to an end.
        *at = own;
    }
    Judgement { verdict, effect }
}

/// Milliseconds from the reply to the next attempt.
fn wait_ms(reply: &Reply, this: Try, now: Timestamp) -> i64 {
    let scheduled = delay_ms(this);
    match reply {
        Reply::Failure(Failure::Timeout | Failure::ConnectTimeout) => scheduled.max(OVERLOADED_MS),
        Reply::Failure(_) => scheduled,
        Reply::Answer(answer) => {
            let least = if matches!(answer.status, 502..=504) { OVERLOADED_MS } else { 0 };
            scheduled.max(least).max(asked_ms(answer, now))
        }
    }
}

/// What `Retry-After` asks for; 0: nothing.
fn asked_ms(answer: &Answer, now: Timestamp) -> i64 {
    answer.retry_after.as_deref().and_then(|text| retry_after_ms(text, now)).unwrap_or(0)
}

/// The schedule with its jitter, which the message id and the attempt decide: the same delivery
/// always waits the same, and a thousand that failed together do not come back together.
fn delay_ms(this: Try) -> i64 {
    let step = (this.counted.max(1) as usize - 1).min(DELAYS_MS.len() - 1);
    let digest = Sha256::new().chain_update(this.message_id).chain_update(this.attempt.to_be_bytes()).finalize();
    let random = i64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]));
    let permille = 1000 - JITTER_PERMILLE + random % (2 * JITTER_PERMILLE + 1);
    DELAYS_MS[step] * permille / 1000
}

/// Seconds, or a date (RFC 9110, 10.2.3), as milliseconds from `now`; `None` when it is neither.
fn retry_after_ms(text: &str, now: Timestamp) -> Option<i64> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(SECOND)
    } else {
        let date = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(date.as_millis()).unwrap_or(i64::MAX).saturating_sub(now.millis())
    };
    Some(wait.clamp(RETRY_AFTER_MS.0, RETRY_AFTER_MS.1))
}

/// What an acceptance says that asks for nothing after it.
const NOTHING_MORE: &str = "asked for nothing more (webhook-delivery: disable)";

/// A sentence for the merchant on why it was not simply delivered; `None` when it was.
#[must_use]
pub fn explain(reply: &Reply, verdict: Verdict) -> Option<String> {
    let why = match reply {
        Reply::Failure(failure) => failure.to_string(),
        Reply::Answer(answer) => explain_status(answer),
    };
    match verdict {
        Verdict::Delivered => match reply {
            Reply::Answer(answer) if answer.disable => Some(NOTHING_MORE.to_owned()),
            reply if reply.means(&Meaning::Skipped) => {
                Some("passed over: the tool does not know this customer".to_owned())
            }
            _ => None,
        },
        Verdict::Dead if matches!(reply, Reply::Failure(Failure::Blocked(_))) => Some(why),
        Verdict::Dead => Some(format!("given up: {why}")),
        Verdict::Split { .. } => Some(format!("sent again in halves: {why}")),
        Verdict::Retry { .. } | Verdict::Held(_) | Verdict::Unsent => Some(why),
    }
}

fn explain_status(answer: &Answer) -> String {
    let status = answer.status;
    match &answer.meaning {
        Meaning::Throttled => return format!("answered {status}: it asks us to slow down"),
        Meaning::Refused(why) => return format!("answered {status} and refused the event: {why}"),
        Meaning::Plain | Meaning::Skipped => {}
    }
    match status {
        410 => "answered 410: this address wants nothing more".to_owned(),
        _ if answer.disable => format!("answered {status} and asks for nothing more (webhook-delivery: disable)"),
        300..=399 => match &answer.location {
            Some(location) => {
                // Path and query of an address may be the key to it.
                let place = Url::parse(location).map_or_else(|_| "another path".to_owned(), |url| mask(&url));
                format!("answered {status}: moved to {place}; redirects are not followed, set `url` to the new address")
            }
            None => format!("answered {status}: a redirect to nowhere; redirects are not followed"),
        },
        400 | 422 => format!("answered {status}: it cannot read the event"),
        401 | 403 => format!("answered {status}: it does not accept the request; check the key"),
        404 => "answered 404: there is nothing at this address; check `url`".to_owned(),
        413 => "answered 413: the event is too large for it".to_owned(),
        429 => "answered 429: it asks us to slow down".to_owned(),
        500..=599 => format!("answered {status}: it has a fault of its own"),
        _ => format!("answered {status}"),
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blocked(host) => {
                write!(
                    f,
                    "{host} is not a public address; if it is meant, add its network to [forwarder] allow_private"
                )
            }
            Self::Dns(host) => write!(f, "the name {host} was not found (DNS)"),
            Self::ConnectTimeout => f.write_str("no connection within 5 seconds"),
            Self::Timeout => f.write_str("no whole answer within 15 seconds"),
            Self::Refused => f.write_str("connection refused"),
            Self::Cut => f.write_str("the connection was closed before the answer was complete"),
            Self::Tls(problem) => write!(f, "no secure connection: {problem}"),
            Self::Unrenderable(problem) => write!(f, "the request could not be made: {problem}"),
            Self::Other(problem) => f.write_str(problem),
        }
    }
}

#[cfg(test)]
mod tests;
