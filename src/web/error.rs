//! What a page request can end in besides a page, and the one place that gives each its status.

use axum::http::StatusCode;

/// A failed request. Its text is for the merchant and ends in what to do.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error("{0}")]
    NotFound(String),
    /// The address in the Host header is not one of this dashboard's (DNS rebinding), or a proxy
    /// stands in front of it.
    #[error("{0}")]
    Misdirected(String),
    /// A form that another site submitted.
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    MethodNotAllowed(String),
    /// An address that cannot be read.
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    TooLarge(String),
    /// Something else is under way.
    #[error("{0}")]
    Conflict(String),
    /// A form without what it is about.
    #[error("{0}")]
    Incomplete(String),
    #[error("{0}")]
    Unavailable(String),
    /// And after how many seconds to come again.
    #[error("{0}")]
    TooMany(String, i64),
    /// Something of ours: the database could not be read.
    #[error("{0:#}")]
    Internal(#[from] anyhow::Error),
}

impl PageError {
    /// The status code of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Incomplete(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooMany(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The heading of the error page.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "Not here",
            Self::Misdirected(_) => "Wrong address",
            Self::Forbidden(_) => "Not from here",
            Self::MethodNotAllowed(_) => "Not like this",
            Self::BadRequest(_) => "Not an address",
            Self::TooLarge(_) => "Too much",
            Self::Conflict(_) => "One thing at a time",
            Self::Incomplete(_) => "Something is missing",
            Self::Unavailable(_) => "Not now",
            Self::TooMany(..) => "Not so fast",
            Self::Internal(_) => "The page could not be made",
        }
    }
}

impl From<rusqlite::Error> for PageError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Internal(error.into())
    }
}
