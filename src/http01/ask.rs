//! One question of the self-check, with the redirects that it leads to.

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Client, Response, Url};

use super::client::problem;
use super::report::Problem;
use super::target::CheckTarget;

/// Where CAs give up.
const MAX_REDIRECTS: usize = 10;
/// Bytes read beyond the key's length: enough for stray white space, too little to hurt.
pub(super) const BODY_MARGIN: usize = 1024;

/// Asks without following redirects: nothing between here and there makes any.
pub(super) async fn ask_directly(
    client: &Client,
    target: &CheckTarget,
    url: &Url,
    headers: HeaderMap,
) -> Result<(), Problem> {
    match ask(client, target, url, headers).await? {
        Reply::Key => Ok(()),
        Reply::Redirect { status, .. } => Err(Problem::Status(status)),
    }
}

/// Asks and follows redirects as CAs do; the trail, which begins with one URL, holds every URL that was asked. The first is
/// asked by `first`, the others by `others`.
pub(super) async fn follow(
    first: &Client,
    others: &Client,
    target: &CheckTarget,
    trail: &mut Vec<Url>,
) -> Result<(), Problem> {
    while let Some(url) = trail.last().cloned() {
        let client = if trail.len() == 1 { first } else { others };
        let location = match ask(client, target, &url, HeaderMap::new()).await? {
            Reply::Key => break,
            Reply::Redirect { location, .. } => location.ok_or(Problem::RedirectNowhere)?,
        };
        let next = redirect_target(&url, &location, target)?;
        if trail.contains(&next) {
            return Err(Problem::RedirectLoop);
        }
        if trail.len() > MAX_REDIRECTS {
            return Err(Problem::TooManyRedirects(MAX_REDIRECTS));
        }
        trail.push(next);
    }
    Ok(())
}

/// Only the origin of a redirect is said: the rest of it is text of whoever answered.
pub(super) fn place(trail: &[Url]) -> String {
    match trail {
        [] => String::new(),
        [only] => only.to_string(),
        [first, .., last] => format!("{first}, redirected to {},", last.origin().ascii_serialization()),
    }
}

/// Where a redirect leads, if CAs go there. Let's Encrypt documents: http and https, ports 80 and 443, no bare addresses. What
/// was asked for by its address may be redirected to the same address.
fn redirect_target(from: &Url, location: &str, target: &CheckTarget) -> Result<Url, Problem> {
    let mut next = from.join(location).map_err(|_| Problem::RedirectNowhere)?;
    next.set_fragment(None);
    let port_is_allowed = next.port_or_known_default().is_some_and(|port| [80, 443, target.port].contains(&port));
    if !matches!(next.scheme(), "http" | "https") || !port_is_allowed {
        return Err(Problem::RedirectElsewhere);
    }
    let host = next.host_str().unwrap_or_default();
    let is_name = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_err();
    if is_name || target.host().is_some_and(|own| own == host) { Ok(next) } else { Err(Problem::RedirectToAddress) }
}

enum Reply {
    Key,
    Redirect { status: u16, location: Option<String> },
}

async fn ask(client: &Client, target: &CheckTarget, url: &Url, headers: HeaderMap) -> Result<Reply, Problem> {
    let response = client.get(url.clone()).headers(headers).send().await.map_err(|error| problem(&error, url))?;
    match response.status().as_u16() {
        200 => read_key(response, url, target.key.expose()).await.map(|()| Reply::Key),
        // 303 is not among those that CAs may follow (Baseline Requirements, section 3.2.2.4.19).
        status @ (301 | 302 | 307 | 308) => {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
            Ok(Reply::Redirect { status, location })
        }
        status => Err(Problem::Status(status)),
    }
}

async fn read_key(mut response: Response, url: &Url, key: &str) -> Result<(), Problem> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| problem(&error, url))? {
        if body.len() + chunk.len() > key.len() + BODY_MARGIN {
            return Err(Problem::OtherBody);
        }
        body.extend_from_slice(&chunk);
    }
    if is_key(&body, key) { Ok(()) } else { Err(Problem::OtherBody) }
}

/// CAs let white space at the end pass (RFC 8555 section 8.3).
pub(super) fn is_key(body: &[u8], key: &str) -> bool {
    body.trim_ascii_end() == key.as_bytes()
}
