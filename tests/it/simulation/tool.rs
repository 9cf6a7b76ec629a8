//! An email tool with moods, and its own book of what it was sent.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use quintile::{
    delivery::retry::{Answer, Failure, Reply},
    outbox::Claim,
};
use serde_json::Value;

use super::steps::any;

/// How a tool answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Answers(u16),
    /// Takes the message and wants nothing after it.
    Satisfied,
    /// 429 or 503 with `Retry-After`, in seconds.
    Busy(u16, u32),
    /// Takes the message and never answers.
    Hangs,
    /// The connection ends; the message may have arrived.
    Cuts,
    /// Nobody listens.
    Away,
    /// One of the others each time.
    Moody,
}

impl Mood {
    const ALL: [Self; 15] = [
        Self::Answers(200),
        Self::Answers(200),
        Self::Answers(202),
        Self::Answers(302),
        Self::Answers(400),
        Self::Answers(401),
        Self::Answers(410),
        Self::Answers(413),
        Self::Answers(500),
        Self::Satisfied,
        Self::Busy(429, 120),
        Self::Busy(503, 7200),
        Self::Hangs,
        Self::Cuts,
        Self::Away,
    ];

    pub fn any(dice: &mut fastrand::Rng) -> Self {
        if dice.u32(..4) == 0 { Self::Moody } else { any(dice, &Self::ALL) }
    }
}

/// An event as a tool reads it: its seq, the customer it is about, and its type.
pub type Told = (i64, String, String);

/// One tool.
#[derive(Debug)]
pub struct Tool {
    pub name: String,
    pub mood: Mood,
    /// Requests per delivery.
    pub steps: usize,
    /// One request after the other, in order.
    pub in_a_row: bool,
    /// It is told only of customers who agreed, and of no erasures.
    pub asks_consent: bool,
    /// The merchant paused it, or it asked for nothing more: it must not be sent to.
    pub closed: bool,
    messages: BTreeMap<[u8; 16], Message>,
    /// Requests that it took, while we never learnt of it: they may come again.
    unheard: BTreeSet<([u8; 16], usize)>,
    /// Events that it took, and we know.
    pub known: BTreeSet<i64>,
    /// Events that came, in whichever message.
    came: BTreeSet<i64>,
    /// The latest event told of each customer, or of each and of one type.
    latest: BTreeMap<String, i64>,
}

#[derive(Debug)]
struct Message {
    body: Vec<u8>,
    /// Requests of it that were answered 2xx.
    taken: BTreeSet<usize>,
}

impl Tool {
    pub fn new(name: &str, steps: usize, in_a_row: bool) -> Self {
        Self {
            name: name.to_owned(),
            mood: Mood::Answers(200),
            steps,
            in_a_row,
            asks_consent: steps > 1,
            closed: false,
            messages: BTreeMap::new(),
            unheard: BTreeSet::new(),
            known: BTreeSet::new(),
            came: BTreeSet::new(),
            latest: BTreeMap::new(),
        }
    }

    /// A request comes in. Checks what a receiver can check by itself, and answers.
    pub fn receive(&mut self, claim: &Claim, step: usize, dice: &mut fastrand::Rng) -> anyhow::Result<Reply> {
        let mood = match self.mood {
            Mood::Moody => any(dice, &Mood::ALL),
            mood => mood,
        };
        let arrives = match mood {
            Mood::Away => false,
            Mood::Cuts => dice.bool(),
            _ => true,
        };
        if arrives {
            self.read(claim, step)?;
        }
        let taken = matches!(mood, Mood::Answers(200..=299) | Mood::Satisfied);
        if taken {
            self.messages.entry(claim.message_id).and_modify(|message| {
                message.taken.insert(step);
            });
        }
        Ok(match mood {
            Mood::Answers(status) => Reply::Answer(Answer { status, ..Answer::default() }),
            Mood::Satisfied => Reply::Answer(Answer { status: 200, disable: true, ..Answer::default() }),
            Mood::Busy(status, seconds) => {
                Reply::Answer(Answer { status, retry_after: Some(seconds.to_string()), ..Answer::default() })
            }
            Mood::Hangs => Reply::Failure(Failure::Timeout),
            Mood::Cuts => Reply::Failure(Failure::Cut),
            Mood::Away | Mood::Moody => Reply::Failure(Failure::Refused),
        })
    }

    fn read(&mut self, claim: &Claim, step: usize) -> anyhow::Result<()> {
        let is_new = !self.messages.contains_key(&claim.message_id);
        let message = self
            .messages
            .entry(claim.message_id)
            .or_insert_with(|| Message { body: claim.body.clone(), taken: BTreeSet::new() });
        ensure!(message.body == claim.body, "{}: delivery {} changed its bytes", self.name, claim.delivery_id);
        let again = message.taken.contains(&step);
        ensure!(
            !again || self.unheard.contains(&(claim.message_id, step)),
            "{}: delivery {} came again although its answer was recorded",
            self.name,
            claim.delivery_id
        );
        if claim.replay_of.is_some() {
            return Ok(());
        }
        for (seq, customer, kind) in told(&claim.body)? {
            ensure!(!self.known.contains(&seq), "{}: event {seq} came in a second message", self.name);
            // What comes again may have been overtaken, also in the half of a batch that it took before we
            // learnt of it, and then found too large. The baseline may wait beside its line until the
            // merchant lets it go.
            if is_new && self.came.insert(seq) && !claim.initial {
                // What waits until a customer agrees stands beside the line too, and only news of its own
                // type supersede it.
                let line = if self.asks_consent { format!("{customer}, {kind}") } else { customer };
                let latest = self.latest.entry(line.clone()).or_insert(seq);
                ensure!(*latest <= seq, "{}: event {seq} of {line} came after event {latest}", self.name);
                *latest = seq;
            }
        }
        Ok(())
    }

    /// The answers to these requests of a message will never be known to the sender.
    pub fn forget_answers(&mut self, message_id: [u8; 16], steps: impl IntoIterator<Item = usize>) {
        for step in steps {
            if self.messages.get(&message_id).is_some_and(|message| message.taken.contains(&step)) {
                self.unheard.insert((message_id, step));
            }
        }
    }

    /// The sender has recorded that these requests were taken: they must not come again.
    pub fn is_heard(&mut self, message_id: [u8; 16], steps: usize) {
        for step in 0..steps {
            self.unheard.remove(&(message_id, step));
        }
    }

    /// Whether it took the whole message.
    pub fn took(&self, message_id: [u8; 16]) -> bool {
        self.messages.get(&message_id).is_some_and(|message| (0..self.steps).all(|step| message.taken.contains(&step)))
    }
}

/// The events in a body.
pub fn told(body: &[u8]) -> anyhow::Result<Vec<Told>> {
    let body: Value = serde_json::from_slice(body).context("a body that is no JSON")?;
    let one = |event: &Value| -> anyhow::Result<Told> {
        let seq = event["seq"].as_i64().context("an event without seq")?;
        let customer = event["data"]["customerId"].as_str().context("an event without a customer")?;
        let kind = event["type"].as_str().context("an event without a type")?;
        Ok((seq, customer.to_owned(), kind.to_owned()))
    };
    match body["data"]["events"].as_array() {
        Some(events) => events.iter().map(one).collect(),
        None => Ok(vec![one(&body)?]),
    }
}
