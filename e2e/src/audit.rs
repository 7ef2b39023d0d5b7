//! Counting writes: every write that any user sent to the Kubernetes API, from its audit log.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The verbs of requests that change something.
pub const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// A place in the audit log; what comes after it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// One request as the API server saw it: a write, or, of certwright's user, a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub user: String,
    /// One of [`WRITES`], or `get`, `list` or `watch`.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name, such as `secrets`.
    pub resource: String,
    /// Such as `status`; empty when there is none.
    pub subresource: String,
    pub namespace: String,
    /// Empty when the name was not in the request's path.
    pub name: String,
    /// The HTTP status of the answer; 409 for a lost race, 403 for a missing right.
    pub code: u16,
    /// When the request came, RFC 3339.
    pub received: String,
}

/// The current end of the audit log. A line that is being written belongs to what was before, so its end is waited for.
pub fn mark(log: &Path) -> Result<Mark> {
    const LONGEST: Duration = Duration::from_secs(20);
    let began = Instant::now();
    loop {
        let mut file = File::open(log).with_context(|| format!("reading the audit log {}", log.display()))?;
        let length = file.seek(SeekFrom::End(0))?;
        let mut last = [b'\n'];
        if length > 0 {
            file.seek(SeekFrom::Start(length - 1))?;
            file.read_exact(&mut last)?;
        }
        if last == [b'\n'] {
            return Ok(Mark(length));
        }
        ensure!(began.elapsed() < LONGEST, "the last line of the audit log {} does not end", log.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All writes after `mark`. A line still being written is left out.
pub fn writes_since(log: &Path, mut mark: Mark) -> Result<Vec<Write>> {
    read_on(log, &mut mark)
}

/// The same, and moves `mark` behind what was read.
pub fn read_on(log: &Path, mark: &mut Mark) -> Result<Vec<Write>> {
    let mut requests = requests_on(log, mark)?;
    requests.retain(|request| WRITES.contains(&request.verb.as_str()));
    Ok(requests)
}

/// All requests after `mark` that the log has, reads too.
pub fn requests_since(log: &Path, mut mark: Mark) -> Result<Vec<Write>> {
    requests_on(log, &mut mark)
}

fn requests_on(log: &Path, mark: &mut Mark) -> Result<Vec<Write>> {
    let mut file = File::open(log).with_context(|| format!("reading the audit log {}", log.display()))?;
    file.seek(SeekFrom::Start(mark.0))?;
    let mut reader = BufReader::new(file);
    let mut writes = Vec::new();
    // Bytes, for a line that is being written may end within a character.
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if !line.ends_with(b"\n") {
            break;
        }
        let event: Event = serde_json::from_slice(&line).context("reading an event of the audit log")?;
        writes.push(event.into_write());
        mark.0 += line.len() as u64;
        line.clear();
    }
    Ok(writes)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    #[serde(default)]
    request_received_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl Event {
    fn into_write(self) -> Write {
        let object = self.object_ref;
        Write {
            user: self.user.username,
            verb: self.verb,
            group: object.api_group,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: self.response_status.code,
            received: self.request_received_timestamp,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"kind":"Event","verb":"patch","user":{"username":"certwright"},"objectRef":{"resource":"certificates","namespace":"a","name":"web","apiGroup":"cert-manager.io","apiVersion":"v1","subresource":"status"},"responseStatus":{"metadata":{},"code":409},"requestReceivedTimestamp":"2026-01-02T03:04:05.000000Z"}"#;

    #[test]
    fn a_mark_is_never_inside_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        std::fs::write(&log, &EVENT[..40]).unwrap();
        let rest = log.clone();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let mut file = File::options().append(true).open(rest).unwrap();
            std::io::Write::write_all(&mut file, format!("{}\n", &EVENT[40..]).as_bytes()).unwrap();
        });
        let mark = mark(&log).unwrap();
        writer.join().unwrap();
        assert_eq!(mark, Mark(EVENT.len() as u64 + 1));
    }

    #[test]
    fn reads_what_follows_the_mark_and_no_half_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        std::fs::write(&log, format!("{EVENT}\n")).unwrap();
        let mark = mark(&log).unwrap();
        assert_eq!(writes_since(&log, mark).unwrap(), []);
        std::fs::write(&log, format!("{EVENT}\n{EVENT}\n{}", &EVENT[..40])).unwrap();
        let writes = writes_since(&log, mark).unwrap();
        assert_eq!(writes.len(), 1);
        let write = writes.first().unwrap();
        assert_eq!((write.user.as_str(), write.verb.as_str(), write.code), ("certwright", "patch", 409));
        assert_eq!((write.resource.as_str(), write.subresource.as_str()), ("certificates", "status"));
    }
}
