//! What a form did, told once by the page that it leads to.
//!
//! The address of that page carries only a number that nobody can guess: a link that somebody made up,
//! or one that was followed before, says nothing.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use axum::response::Redirect;

use super::view;

/// Notices that wait for their page; the oldest gives way.
const KEPT: usize = 64;
const NAME: &str = "said";

/// What a page says above everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub tone: &'static str,
    pub text: String,
}

/// Notices that no page has told yet. A restart forgets them.
#[derive(Default)]
pub struct Said(Mutex<VecDeque<(String, Notice)>>);

impl Said {
    /// Leads to `address`, which tells the notice.
    pub fn lead(&self, address: &str, notice: Notice) -> Redirect {
        let mut number = [0; 16];
        if getrandom::fill(&mut number).is_err() {
            return Redirect::to(address); // the deed is done; only the words are missing
        }
        let (number, mut waiting) = (hex::encode(number), self.waiting());
        let link = if address.contains('?') { '&' } else { '?' };
        let led = Redirect::to(&format!("{address}{link}{NAME}={number}"));
        waiting.push_back((number, notice));
        if waiting.len() > KEPT {
            waiting.pop_front();
        }
        led
    }

    /// The notice that an address leads to, once.
    pub fn take(&self, pairs: &[(String, String)]) -> Option<Notice> {
        let number = view::parameter(pairs, NAME)?;
        let mut waiting = self.waiting();
        let place = waiting.iter().position(|(known, _)| known == number)?;
        waiting.remove(place).map(|(_, notice)| notice)
    }

    /// What a panic left behind is still good: every change here is one step.
    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<(String, Notice)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::header, response::IntoResponse};

    use super::*;

    fn notice(text: &str) -> Notice {
        Notice { tone: "ok", text: text.to_owned() }
    }

    fn pairs(led: Redirect) -> Vec<(String, String)> {
        let response = led.into_response();
        let address = response.headers()[header::LOCATION].to_str().unwrap();
        let (_, query) = address.split_once('?').unwrap();
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    #[test]
    fn a_notice_is_told_once_and_by_its_own_page() {
        let said = Said::default();
        let (first, second) = (pairs(said.lead("/a?x=1", notice("first"))), pairs(said.lead("/b", notice("second"))));
        assert_eq!(first[0], ("x".to_owned(), "1".to_owned()));
        assert_eq!(said.take(&second), Some(notice("second")));
        assert_eq!(said.take(&second), None);
        assert_eq!(said.take(&first), Some(notice("first")));
        for made_up in ["", "0", "00000000000000000000000000000000"] {
            assert_eq!(said.take(&[(NAME.to_owned(), made_up.to_owned())]), None);
        }
    }

    #[test]
    fn those_that_nobody_reads_give_way() {
        let said = Said::default();
        let first = pairs(said.lead("/", notice("first")));
        for _ in 0..KEPT {
            let _ = said.lead("/", notice("more"));
        }
        assert_eq!((said.take(&first), said.waiting().len()), (None, KEPT));
    }
}
