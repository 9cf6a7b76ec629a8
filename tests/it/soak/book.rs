//! What the tools were sent, and what a receiver can say of it by itself: one message has one body, comes
//! again only if its answer may have been lost with the program, and a customer's events come in order.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::Value;

use super::tools::TOOLS;

/// A request as it came.
#[derive(Debug)]
pub struct Request {
    pub tool: usize,
    /// Which of the requests of a delivery, from 0.
    pub step: usize,
    pub message: String,
    /// The merchant had it sent again.
    pub again: bool,
    /// Whether the signature is right, where there is one.
    pub signed: Option<bool>,
    pub body: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Book {
    messages: HashMap<(usize, String), Message>,
    /// The newest event told of each customer of a tool, and in which message.
    latest: HashMap<(usize, String), (i64, String)>,
    /// Events that a tool took, and in which life: all requests of a message answered 2xx.
    pub known: BTreeMap<(usize, i64), u32>,
    /// Events behind which a newer one of the same customer came before they were taken. Each must have
    /// ended otherwise.
    pub overtaken: BTreeSet<(usize, i64)>,
    /// How each life of the program ended, by its number: whether an answer may have been lost with it.
    pub lost_answers: BTreeMap<u32, bool>,
    /// Requests that came again because of a life's end.
    pub repeats: BTreeMap<u32, u64>,
    pub requests: u64,
    /// What should not be.
    pub wrong: Vec<String>,
}

#[derive(Debug)]
struct Message {
    events: Vec<(i64, String)>,
    /// Of the body of each request.
    hashes: BTreeMap<usize, u64>,
    /// In which life each request was answered 2xx last.
    taken: BTreeMap<usize, u32>,
}

impl Book {
    /// A request has come in, sent by the program in this life.
    pub fn arrives(&mut self, request: &Request, life: u32) {
        self.requests += 1;
        if let Err(wrong) = self.read(request) {
            let Request { step, message, .. } = request;
            self.wrong.push(format!("{} got {message}/{step} in life {life}: {wrong}", TOOLS[request.tool].0));
        }
    }

    fn read(&mut self, request: &Request) -> Result<(), String> {
        if request.signed == Some(false) {
            return Err("its signature is wrong".to_owned());
        }
        let mut hasher = DefaultHasher::new();
        request.body.hash(&mut hasher);
        let (key, hash) = ((request.tool, request.message.clone()), hasher.finish());
        if let Some(message) = self.messages.get_mut(&key) {
            if *message.hashes.entry(request.step).or_insert(hash) != hash {
                return Err("its body has changed".to_owned());
            }
            if request.step > 0 && !message.taken.contains_key(&(request.step - 1)) {
                return Err("the request before it was not taken".to_owned());
            }
            return match message.taken.get(&request.step) {
                Some(before) if self.lost_answers.get(before) == Some(&true) => {
                    *self.repeats.entry(*before).or_default() += 1;
                    Ok(())
                }
                Some(before) => Err(format!("it was taken in life {before}, which lost no answer")),
                None => Ok(()),
            };
        }
        let events = told(&request.body).ok_or("it holds no events")?;
        let new = Message { events: events.clone(), hashes: [(request.step, hash)].into(), taken: BTreeMap::new() };
        self.messages.insert(key, new);
        if request.again {
            return Ok(());
        }
        events.iter().try_for_each(|(seq, customer)| self.is_in_order(request, *seq, customer))
    }

    /// A message tells of an event for the first time, or tells it after another that was refused.
    fn is_in_order(&mut self, request: &Request, seq: i64, customer: &str) -> Result<(), String> {
        let tool = request.tool;
        match self.known.get(&(tool, seq)) {
            // The answer was lost, and the same tool refused what came again.
            Some(life) if self.lost_answers.get(life) == Some(&true) => return Ok(()),
            Some(_) => return Err(format!("event {seq} was taken in another message")),
            None => {}
        }
        if self.overtaken.contains(&(tool, seq)) {
            return Ok(()); // it had ended, and the merchant had it tried again
        }
        match self.latest.insert((tool, customer.to_owned()), (seq, request.message.clone())) {
            Some((before, _)) if before > seq => Err(format!("event {seq} of {customer} came after {before}")),
            Some((before, _)) if before < seq && !self.known.contains_key(&(tool, before)) => {
                self.overtaken.insert((tool, before));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// It is being answered 2xx.
    pub fn is_taken(&mut self, request: &Request, life: u32) {
        let Some(message) = self.messages.get_mut(&(request.tool, request.message.clone())) else { return };
        message.taken.insert(request.step, life);
        if (0..TOOLS[request.tool].1).all(|step| message.taken.contains_key(&step)) {
            self.known.extend(message.events.iter().map(|(seq, _)| ((request.tool, *seq), life)));
        }
    }

    /// Most requests that came again because of one life's end, and how many in all.
    pub fn most_repeats(&self) -> (u64, u64) {
        (self.repeats.values().copied().max().unwrap_or(0), self.repeats.values().sum())
    }
}

/// The events in a body, each with its customer.
fn told(body: &[u8]) -> Option<Vec<(i64, String)>> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let one = |event: &Value| Some((event["seq"].as_i64()?, event["data"]["customerId"].as_str()?.to_owned()));
    match body["data"]["events"].as_array() {
        Some(events) => events.iter().map(one).collect(),
        None => Some(vec![one(&body)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a book finds wrong in these requests: message, event and life of each. Life 1 was killed, life 2
    /// stopped; all are about one customer and answered 2xx, if so told.
    fn wrong(requests: &[(&str, i64, u32)], taken: bool) -> String {
        let mut book = Book { lost_answers: [(1, true), (2, false)].into(), ..Book::default() };
        for (message, seq, life) in requests {
            let request = Request {
                tool: 0,
                step: 0,
                message: (*message).to_owned(),
                again: false,
                signed: Some(true),
                body: format!("{{\"seq\":{seq},\"data\":{{\"customerId\":\"7\"}}}}").into_bytes(),
            };
            book.arrives(&request, *life);
            if taken {
                book.is_taken(&request, *life);
            }
        }
        book.wrong.join("; ")
    }

    #[test]
    fn what_a_kill_may_repeat_and_what_nothing_may() {
        assert_eq!(wrong(&[("a", 1, 1), ("a", 1, 2), ("b", 2, 2)], true), "");
        assert!(wrong(&[("a", 1, 2), ("a", 1, 3)], true).contains("taken in life 2, which lost no answer"));
        assert!(wrong(&[("a", 1, 3), ("a", 1, 3)], true).contains("taken in life 3"));
        assert!(wrong(&[("a", 1, 2), ("b", 1, 2)], true).contains("taken in another message"));
        assert!(wrong(&[("a", 2, 2), ("b", 1, 2)], true).contains("event 1 of 7 came after 2"));
        assert!(wrong(&[("a", 1, 2), ("a", 2, 2)], true).contains("its body has changed"));
    }

    #[test]
    fn what_was_refused_comes_again_until_it_is_overtaken() {
        assert_eq!(wrong(&[("a", 1, 2), ("a", 1, 2), ("b", 2, 2), ("c", 1, 2)], false), "");
        let mut book = Book::default();
        let request = |seq: i64| Request {
            tool: 0,
            step: 0,
            message: format!("m{seq}"),
            again: false,
            signed: None,
            body: format!("{{\"seq\":{seq},\"data\":{{\"customerId\":\"7\"}}}}").into_bytes(),
        };
        book.arrives(&request(1), 1);
        book.arrives(&request(2), 1);
        assert_eq!(book.overtaken, [(0, 1)].into(), "to be looked up at the end");
    }
}
