//! Answers of services that give credentials out: bounded in size and time.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;

use super::CredentialsError;

/// The longest answer that is read, in bytes: session tokens have a few thousand.
const LONGEST: usize = 64 << 10;

/// Where credentials are asked for, for messages, and how long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) limit: Duration,
}

/// What came back, whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Service {
    /// Any answer is for the caller to judge.
    pub(super) async fn ask(self, request: RequestBuilder) -> Result<Answer, CredentialsError> {
        let mut response = request.timeout(self.limit).send().await.map_err(|error| self.no_answer(&error))?;
        let (status, mut body) = (response.status(), Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|error| self.no_answer(&error))? {
            if body.len() + chunk.len() > LONGEST {
                return Err(self.unreadable());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }

    /// The body as JSON, if the answer is a success.
    pub(super) async fn ask_json<T: DeserializeOwned>(self, request: RequestBuilder) -> Result<T, CredentialsError> {
        let answer = self.ask(request).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|_| self.unreadable())
    }

    pub(super) fn refusal(self, status: StatusCode) -> CredentialsError {
        let message = format!("{} answered {status} when asked for credentials", self.name);
        match status.as_u16() {
            429 => CredentialsError::Throttled(message),
            500.. => CredentialsError::Transient(message),
            _ => CredentialsError::Refused(message),
        }
    }

    pub(super) fn unreadable(self) -> CredentialsError {
        CredentialsError::Transient(format!("{} answered something unreadable when asked for credentials", self.name))
    }

    fn no_answer(self, error: &reqwest::Error) -> CredentialsError {
        let what = if error.is_timeout() {
            "did not answer in time"
        } else if error.is_connect() {
            "could not be reached"
        } else {
            "broke off"
        };
        CredentialsError::Transient(format!("{} {what} when asked for credentials", self.name))
    }
}
