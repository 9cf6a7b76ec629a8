//! Every list in every order it can have, through its filters, and its file beside it.

mod customers;
mod small;
