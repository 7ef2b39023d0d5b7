//! Certificates in files, which are read again and again: whoever renews them puts new ones there.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{fs::File, io::AsyncReadExt, time::sleep};

use super::Certificates;
use crate::{
    measure,
    pki::{ParsedCertificate, PrivateKey, pem},
};

/// As often as cert-manager.
const INTERVAL: Duration = Duration::from_secs(10);

/// One file of those that are read together.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: PathBuf,
    /// The longest that it may be, in bytes.
    pub longest: usize,
}

/// Reads the files now and then until the process ends, and hands them on; `take` says what is wrong with them. What becomes
/// of them is logged once, not each time, and counted as long as it lasts. `what` is what they are for.
pub async fn follow<const N: usize>(
    what: &'static str,
    sources: [Source; N],
    take: impl Fn(&[Vec<u8>; N]) -> Result<(), String>,
) {
    let (mut taken, mut told) = (None, None);
    loop {
        let found = read(&sources).await;
        let found = found.and_then(|found| take(&found).map(|()| found));
        measure::serving_problem(what, found.is_err());
        match found {
            Ok(found) => {
                if told.is_some() || taken.as_ref() != Some(&found) {
                    let files: Vec<_> = sources.iter().map(|source| source.path.display().to_string()).collect();
                    tracing::info!(files = files.join(", "), "read {what}");
                }
                (taken, told) = (Some(found), None);
            }
            Err(problem) => {
                if told.as_ref() != Some(&problem) {
                    tracing::warn!(problem, "{what}: cannot take what is in the files; they are read again every 10 s");
                }
                told = Some(problem);
            }
        }
        sleep(INTERVAL).await;
    }
}

/// Serves with this chain and key from now on. What cannot be used leaves the former ones in use.
///
/// # Errors
/// In words, beginning with the file: what is wrong and what to do. A certificate that is out of date is served nevertheless.
pub fn pair(
    certificates: &Certificates,
    sources: &[Source; 2],
    found: &[Vec<u8>; 2],
    now: Timestamp,
) -> Result<(), String> {
    let ([chain_in, key_in], [chain, key]) = (sources, found);
    let chain = ParsedCertificate::from_pem_chain(chain).map_err(|error| in_file(&chain_in.path, &error))?;
    let key = PrivateKey::from_pem(key).map_err(|error| in_file(&key_in.path, &error))?;
    let own = chain.first().ok_or_else(|| in_file(&chain_in.path, &"it holds no certificate"))?;
    if !own.matches_key(&key) {
        let of = chain_in.path.display();
        return Err(in_file(&key_in.path, &format!("the key is not that of the first certificate in {of}")));
    }
    certificates.put(&chain, &key).map_err(|error| in_file(&chain_in.path, &error))?;
    if own.not_after <= now {
        let problem = format!("the certificate expired at {}; put a new one there", own.not_after);
        return Err(in_file(&chain_in.path, &problem));
    }
    if own.not_before > now {
        let problem = format!("the certificate is not in force before {}; is the clock right?", own.not_before);
        return Err(in_file(&chain_in.path, &problem));
    }
    Ok(())
}

async fn read<const N: usize>(sources: &[Source; N]) -> Result<[Vec<u8>; N], String> {
    let mut found = std::array::from_fn(|_| Vec::new());
    for (source, text) in sources.iter().zip(&mut found) {
        *text = read_one(source).await.map_err(|problem| in_file(&source.path, &problem))?;
    }
    Ok(found)
}

async fn read_one(source: &Source) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let file = File::open(&source.path).await.map_err(|error| error.to_string())?;
    // One byte more shows that it is too long.
    let most = u64::try_from(source.longest).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut text).await.map_err(|error| error.to_string())?;
    if text.len() > source.longest {
        return Err(format!("it is longer than {} bytes", source.longest));
    }
    Ok(text)
}

fn in_file(path: &Path, problem: &dyn std::fmt::Display) -> String {
    format!("{}: {problem}", path.display())
}

impl Source {
    /// A file with a chain of certificates.
    pub fn chain(path: &Path) -> Self {
        Self { path: path.to_owned(), longest: pem::limits().chain }
    }

    /// A file with a private key.
    pub fn key(path: &Path) -> Self {
        Self { path: path.to_owned(), longest: pem::limits().private_key }
    }

    /// A file with certificates that are trusted.
    pub fn bundle(path: &Path) -> Self {
        Self { path: path.to_owned(), longest: pem::limits().bundle }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::decide::testing::{at, chain, key, pem as key_pem};

    fn sources(folder: &Path) -> [Source; 2] {
        [Source::chain(&folder.join("tls.crt")), Source::key(&folder.join("tls.key"))]
    }

    fn bytes(chain: &str, key: &str) -> [Vec<u8>; 2] {
        [chain.as_bytes().to_vec(), key.as_bytes().to_vec()]
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file() {
        let sources = sources(Path::new("/etc/x"));
        let (good, own) = (chain(key(0), &["a.test"], 0, 1000), key_pem(key(0)));
        let taken = |found: &[Vec<u8>; 2], now| pair(&Certificates::default(), &sources, found, at(now));
        assert_eq!(taken(&bytes(&good, &own), 500), Ok(()));
        for (found, now, expected) in [
            (bytes("", &own), 500, "/etc/x/tls.crt: "),
            (bytes(&good, "nonsense"), 500, "/etc/x/tls.key: "),
            (
                bytes(&good, &key_pem(key(1))),
                500,
                "/etc/x/tls.key: the key is not that of the first certificate in /etc/x/tls.crt",
            ),
            (bytes(&good, &own), 1000, "/etc/x/tls.crt: the certificate expired at "),
            (bytes(&good, &own), -1, "/etc/x/tls.crt: the certificate is not in force before "),
        ] {
            let problem = taken(&found, now).unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn what_cannot_be_used_changes_nothing() {
        let sources = sources(Path::new("/etc/x"));
        let certificates = Certificates::default();
        let (good, own) = (chain(key(0), &["a.test"], 0, 1000), key_pem(key(0)));
        assert!(pair(&certificates, &sources, &bytes(&good, &key_pem(key(1))), at(500)).is_err());
        assert!(!certificates.is_ready());
        assert!(pair(&certificates, &sources, &bytes(&good, &own), at(2000)).is_err());
        assert!(certificates.is_ready(), "better an old one than none");
        assert!(pair(&certificates, &sources, &bytes("", ""), at(500)).is_err());
        assert!(certificates.is_ready());
    }

    /// The clock jumps ahead whenever nothing else is left to do.
    #[tokio::test(start_paused = true)]
    async fn files_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let seen = Mutex::new(Vec::new());
        let take = |[text]: &[Vec<u8>; 1]| {
            seen.lock().unwrap().push(String::from_utf8(text.clone()).unwrap());
            Ok(())
        };
        let source = Source { path: path.clone(), longest: 3 };
        let change = async {
            for text in ["1", "longer", "2"] {
                sleep(INTERVAL * 3 / 2).await;
                std::fs::write(&path, text).unwrap();
            }
            sleep(INTERVAL * 3 / 2).await;
        };
        tokio::select! {
            () = follow("a test", [source], take) => {}
            () = change => {}
        }
        let mut seen = seen.into_inner().unwrap();
        seen.dedup();
        assert_eq!(seen, ["1", "2"]);
    }
}
