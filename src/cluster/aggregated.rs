//! Calls of aggregated API servers that keep nothing: something is posted, and the answer is read as it is.

use std::{future::poll_fn, pin::pin, time::Duration};

use hyper::{
    Method, Request, StatusCode,
    body::Body as _,
    header::{ACCEPT, CONTENT_TYPE},
};
use kube::client::Body;

use super::{error::ApiError, write::Cluster};

/// For one call. The API server itself gives up after a minute.
const LIMIT: Duration = Duration::from_secs(50);

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

const JSON: &str = "application/json";

impl Cluster {
    /// Posts JSON to a path of the API server, with the controller's own rights. Any status is an answer.
    ///
    /// # Errors
    ///
    /// [`ApiError::Unavailable`]: no answer in time, or one that has no end.
    pub async fn post(&self, path: &str, body: Vec<u8>) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let failed = |message: String| ApiError::Unavailable { what: format!("post to {path}"), message };
        match tokio::time::timeout(LIMIT, self.exchange(path, body)).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(failed(format!("no answer from the API server within {} s", LIMIT.as_secs()))),
        }
    }

    async fn exchange(&self, path: &str, body: Vec<u8>) -> Result<(StatusCode, Vec<u8>), String> {
        let request = Request::builder().method(Method::POST).uri(path).header(CONTENT_TYPE, JSON).header(ACCEPT, JSON);
        let request = request.body(Body::from(body)).map_err(|error| error.to_string())?;
        let response = self.client.send(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        Ok((status, read(response.into_body()).await?))
    }
}

async fn read(body: Body) -> Result<Vec<u8>, String> {
    let (mut body, mut read) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let data = frame.map_err(|error| error.to_string())?.into_data().unwrap_or_default();
        if read.len() + data.len() > LONGEST_ANSWER {
            return Err(format!("an answer of more than {LONGEST_ANSWER} bytes"));
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_endless_answer_is_not_read_to_its_end() {
        assert_eq!(read(Body::from(vec![b' '; LONGEST_ANSWER])).await.map(|read| read.len()), Ok(LONGEST_ANSWER));
        assert!(read(Body::from(vec![b' '; LONGEST_ANSWER + 1])).await.is_err());
    }
}
