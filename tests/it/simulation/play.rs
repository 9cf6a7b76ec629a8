//! Plays the steps of a seed, lets everything come to rest, and finds the fewest steps that break a law.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use quintile::{
    intake::{self, inbox, privacy},
    ledger::Who,
    model::{Source, Timestamp},
    outbox::{self, Action, Expired, Filter, Resume},
    scoring,
};

use super::{
    steps::{Step, TOOLS, What},
    store::{CUSTOMERS, Message, Tells},
    tool::Mood,
    world::{Outcome, World},
};
use crate::support::orders::Buyer;

/// Steps between two looks at all laws; what is cheap is looked at after each.
const LOOK_EVERY: usize = 12;
/// Turns after which everything must have come to rest.
const TURNS: usize = 3000;
/// Spent on leaving out steps.
const SHRINKING: Duration = Duration::from_secs(60);

/// A law that was broken, and what led to it.
#[derive(Debug)]
pub struct Failure {
    pub law: String,
    pub trace: Vec<String>,
}

impl Failure {
    /// The law without what it is about this time.
    fn kind(&self) -> String {
        self.law.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic)).take(4).collect()
    }
}

/// Plays it all; returns what happened.
pub fn play(seed: u64, steps: &[Step]) -> Result<Vec<String>, Failure> {
    let mut world = World::new(&mut fastrand::Rng::with_seed(seed))
        .map_err(|error| Failure { law: format!("{error:#}"), trace: Vec::new() })?;
    let played = catch_unwind(AssertUnwindSafe(|| {
        for (number, step) in steps.iter().enumerate() {
            let now = world.now();
            world.trace.push(format!("{number:>3} {now} {:?}", step.what));
            world.take(step)?;
            if number % LOOK_EVERY == 0 {
                world.check_laws()?;
            }
        }
        world.come_to_rest(seed)
    }));
    let trace = std::mem::take(&mut world.trace);
    match played {
        Ok(Ok(())) => Ok(trace),
        Ok(Err(error)) => Err(Failure { law: format!("{error:#}"), trace }),
        Err(_) => Err(Failure { law: "it panicked, see above".to_owned(), trace }),
    }
}

/// Leaves out steps as long as the same law is still broken without them. How many are left, and the last failure.
pub fn shrink(seed: u64, mut failure: Failure) -> (usize, Failure) {
    let mut steps = super::steps::steps(seed);
    let deadline = Instant::now() + SHRINKING;
    let mut size = steps.len() / 2;
    while size > 0 && Instant::now() < deadline {
        let mut from = 0;
        while from < steps.len() && Instant::now() < deadline {
            let fewer = [&steps[..from], &steps[(from + size).min(steps.len())..]].concat();
            match play(seed, &fewer) {
                Err(still) if still.kind() == failure.kind() => (steps, failure) = (fewer, still),
                _ => from += size,
            }
        }
        size /= 2;
    }
    (steps.len(), failure)
}

impl World {
    fn take(&mut self, step: &Step) -> anyhow::Result<()> {
        let dice = &mut fastrand::Rng::with_seed(step.dice);
        self.act(step.what, dice)?;
        if self.fuse.is_burnt() {
            self.note("killed");
            self.revive(dice)?;
            self.check_laws()?;
        }
        self.check_runs()?;
        self.check_oracle()
    }

    fn act(&mut self, what: What, dice: &mut fastrand::Rng) -> anyhow::Result<()> {
        let now = self.now();
        match what {
            What::Business { times } => (0..times).for_each(|_| self.store.business(self.truth, dice)),
            What::Arrive { count } => {
                for _ in 0..count.min(self.store.pending.len()) {
                    let message = self.store.pending.remove(dice.usize(..self.store.pending.len()));
                    self.arrives(message)?;
                }
            }
            What::Burst { count } => self.burst(count, dice)?,
            What::Repeat { same_id } => self.repeats(same_id, dice)?,
            What::Pass { millis } => self.set_time(self.truth + millis, self.ahead),
            What::Jump { millis } => self.set_time(self.truth, self.ahead + millis),
            What::SetRight => self.set_time(self.truth, 0),
            What::Mood { tool, mood } => self.tools[tool].mood = mood,
            What::Turn { free } => self.turn(free)?,
            What::Answer { count } => self.answer(count, dice)?,
            What::Beat => {
                let beaten = self.runtime.block_on(self.program().night.beat());
                self.excuse("the night", beaten)?;
            }
            What::ScoreNow => {
                let scored = self.runtime.block_on(self.program().night.score_now());
                self.excuse("a run", scored)?;
            }
            What::Pause { tool } => {
                let name = self.tools[tool].name.clone();
                let paused = self.write(move |tx| Ok(outbox::pause(tx, &name, now)?));
                if let Outcome::Done(()) = self.excuse("pausing", paused)? {
                    self.tools[tool].closed = true;
                }
            }
            What::Resume { tool, how } => self.resume(tool, how)?,
            What::Act { action, tool } => {
                let destination = tool.map(|tool| self.tools[tool].name.clone());
                self.decide(action, &Filter { destination, ..Filter::default() })?;
            }
            What::Erase => self.erase(dice.u64(CUSTOMERS))?,
            What::Forget => self.forget()?,
            What::Restart => self.restart(dice)?,
            What::Crash { commits } => self.fuse.light(commits),
            What::DiskFull { pages } => self.fill_disk(Some(pages))?,
            What::DiskFails { commits } => self.disk.light(commits),
            What::DiskFree => self.fill_disk(None)?,
            What::Lose { count } if self.pulls.is_some() => self.store.lose(count, dice),
            What::Lose { .. } => {} // then nobody makes up for it
            What::Pull { full } => self.pull(full)?,
            What::ApiAnswers { count } => self.api_answers(count, dice)?,
            What::ApiCrash { count, commits } => {
                self.fuse.light(commits);
                self.api_answers(count, dice)?;
            }
            What::ApiMood { mood } => {
                if let Some(pulls) = &mut self.pulls {
                    pulls.api.mood = mood;
                }
            }
        }
        Ok(())
    }

    /// A webhook comes in. It is answered after its commit, if the program still lives then.
    fn arrives(&mut self, message: Message) -> anyhow::Result<()> {
        let (now, rules) = (self.now(), self.rules.clone());
        let prepared = message.prepare(&rules, now);
        let stored = self.write(move |tx| prepared.store(tx, &rules));
        self.is_answered(message, stored, now)
    }

    fn is_answered(
        &mut self,
        message: Message,
        stored: anyhow::Result<intake::Received>,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        match self.excuse("a webhook", stored)? {
            Outcome::Done(received) => {
                let about = match &message.tells {
                    Tells::Order((source, id), order) => format!("{source} {id} of {}", order.buyer.label()),
                    other => format!("{other:?}"),
                };
                self.note(format!("{} {} {about} {received:?}", message.key, message.topic));
                self.oracle.is_stored(&message, &received, now)?;
                let answered = !self.fuse.is_burnt();
                if answered { &mut self.store.answered } else { &mut self.store.pending }.push(message);
            }
            Outcome::Prevented => self.store.pending.push(message),
        }
        Ok(())
    }

    /// Webhooks that wait for the writer at the same moment share a commit.
    fn burst(&mut self, count: usize, dice: &mut fastrand::Rng) -> anyhow::Result<()> {
        let count = count.min(self.store.pending.len());
        dice.shuffle(&mut self.store.pending);
        let messages: Vec<Message> = self.store.pending.drain(..count).collect();
        let (now, rules, writer) = (self.now(), self.rules.clone(), self.program().db.writer().clone());
        let sent: Vec<_> = messages.iter().map(|message| message.prepare(&rules, now)).collect();
        let stored = self.runtime.block_on(async move {
            let (begins, begun) = std::sync::mpsc::channel();
            let (go_on, waits) = std::sync::mpsc::channel::<()>();
            let holding = {
                let writer = writer.clone();
                tokio::spawn(async move {
                    let hold = move |_: &rusqlite::Transaction<'_>| {
                        begins.send(())?;
                        Ok(waits.recv()?)
                    };
                    writer.write(hold).await
                })
            };
            tokio::task::yield_now().await;
            begun.recv()?;
            let tasks: Vec<_> = sent
                .into_iter()
                .map(|prepared| {
                    let (writer, rules) = (writer.clone(), rules.clone());
                    tokio::spawn(async move { writer.write(move |tx| prepared.store(tx, &rules)).await })
                })
                .collect();
            tokio::task::yield_now().await;
            go_on.send(())?;
            let _ = holding.await?; // it wrote nothing
            let mut stored = Vec::with_capacity(tasks.len());
            for task in tasks {
                stored.push(task.await?);
            }
            anyhow::Ok(stored)
        })?;
        for (message, stored) in messages.into_iter().zip(stored) {
            self.is_answered(message, stored, now)?;
        }
        Ok(())
    }

    fn repeats(&mut self, same_id: bool, dice: &mut fastrand::Rng) -> anyhow::Result<()> {
        if self.store.answered.is_empty() {
            return Ok(());
        }
        let mut message = self.store.answered[dice.usize(..self.store.answered.len())].clone();
        if !same_id {
            message.key = format!("{}-again-{}", message.key, dice.u32(..));
        }
        self.arrives(message)
    }

    fn resume(&mut self, tool: usize, how: Resume) -> anyhow::Result<()> {
        let (name, now, writer) = (self.tools[tool].name.clone(), self.now(), self.program().db.writer().clone());
        let resumed = self.runtime.block_on(outbox::resume(&writer, &name, how, now));
        if let Outcome::Done(()) = self.excuse("resuming", resumed)? {
            self.tools[tool].closed = false;
        }
        Ok(())
    }

    fn decide(&mut self, action: Action, filter: &Filter) -> anyhow::Result<()> {
        let (now, writer) = (self.now(), self.program().db.writer().clone());
        let done = self.runtime.block_on(scoring::decide(&writer, action, filter, now));
        if let Outcome::Done(count) = self.excuse("a decision", done)? {
            self.note(format!("{count} deliveries"));
        }
        Ok(())
    }

    fn erase(&mut self, customer: u64) -> anyhow::Result<()> {
        let (now, external_id) = (self.now(), Some((Source::Shopify, customer.to_string())));
        let erased = self.write(move |tx| {
            privacy::erase(tx, &Who { external_id, ..Who::default() }, now).map_err(anyhow::Error::from)
        });
        if let Outcome::Done(_) = self.excuse("an erasure", erased)? {
            self.oracle.is_erased(Buyer::Known(Source::Shopify, customer));
        }
        Ok(())
    }

    fn forget(&mut self) -> anyhow::Result<()> {
        let (now, mut expired) = (self.now(), Expired::default());
        loop {
            let Some(ids) = expired.next(&*self.reader()?, now, 7)? else { return self.check_forgotten(now) };
            if ids.is_empty() {
                continue;
            }
            let forgotten = self.write(move |tx| Ok(outbox::forget(tx, &ids)?));
            let Outcome::Done(_) = self.excuse("forgetting", forgotten)? else { return Ok(()) };
        }
    }

    /// All faults end, time passes: everything arrives, or stands in sight.
    fn come_to_rest(&mut self, seed: u64) -> anyhow::Result<()> {
        self.trace.push("all faults end".to_owned());
        let dice = &mut fastrand::Rng::with_seed(seed);
        self.fill_disk(None)?;
        self.fuse.light(i64::MAX);
        self.tools.iter_mut().for_each(|tool| tool.mood = Mood::Answers(200));
        self.set_time(self.truth + 60_000, 0);
        while let Some(message) = self.store.pending.pop() {
            self.arrives(message)?;
        }
        self.read_again()?;
        self.pull_everything(dice)?;
        // What the tools said before is recorded before the merchant resumes them.
        self.answer(usize::MAX, dice)?;
        self.turn(0)?;
        for tool in 0..TOOLS {
            self.resume(tool, Resume::All)?;
        }
        self.decide(Action::Release, &Filter::default())?;
        self.deliver_all(dice)?;
        if let Some(suspect) = scoring::clock_suspect(&*self.reader()?, self.now())? {
            self.note(format!("{suspect}"));
            self.act(What::ScoreNow, dice)?;
        }
        // A night passes, and with it what failed before.
        if let Some(night) = self.program().night.next().filter(|_| self.oracle.knows_orders()) {
            self.set_time(night.at.millis() + 60_000, 0);
            while self.runtime.block_on(self.program().night.beat())?.is_some() {}
            self.check_runs()?;
            self.check_night(night.date)?;
            self.deliver_all(dice)?;
        }
        // Who waits for a customer's word is looked at once an hour.
        self.set_time(self.truth + 3_600_000, 0);
        self.deliver_all(dice)?;
        self.check_waits_for_consent()?;
        self.check_oracle()?;
        self.check_laws()?;
        self.check_rest()
    }

    /// The merchant has the messages read again that were impossible under a wrong clock.
    fn read_again(&mut self) -> anyhow::Result<()> {
        let (now, rules) = (self.now(), self.rules.clone());
        self.write(move |tx| {
            let (mut after, mut replayed) = (Some(0), inbox::Replayed::default());
            while let Some(id) = after {
                after = inbox::replay(tx, &rules, &inbox::Filter::default(), id, 5, now, &mut replayed)?;
            }
            Ok(())
        })?;
        self.oracle.are_read_again(now);
        self.check_oracle()
    }

    fn deliver_all(&mut self, dice: &mut fastrand::Rng) -> anyhow::Result<()> {
        for _ in 0..TURNS {
            self.turn(8)?;
            let courier = &self.program().courier;
            if courier.is_idle() {
                let Some(due) = courier.next_due else { return Ok(()) };
                self.set_time(self.truth.max(due.millis()), 0);
            }
            self.answer(usize::MAX, dice)?;
        }
        anyhow::bail!("after {TURNS} turns there is still something to send")
    }
}
