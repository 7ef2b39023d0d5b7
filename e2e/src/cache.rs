//! The cache folder: everything that is slow to get and the same for every testbed.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{Context, SHA256};

/// The cache folder: `$CERTWRIGHT_CACHE`, else `~/.cache/certwright`.
pub fn root() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CERTWRIGHT_CACHE").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
    let home = std::env::home_dir().context("no home folder: set HOME, or name a cache folder in CERTWRIGHT_CACHE")?;
    Ok(home.join(".cache/certwright"))
}

/// SHA-256 of `parts` one after the other, in hexadecimal digits.
pub fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let digest = context.finish();
    let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Holds the lock file `<folder>.lock` until dropped, so that two testbeds never build the same program at once.
pub struct Lock(File);

impl Lock {
    /// Waits for the lock of `folder`; the parent folder is made when missing.
    pub fn acquire(folder: &Path) -> Result<Self> {
        let path = folder.with_extension("lock");
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("making the folder {}", parent.display()))?;
        }
        let file = File::create(&path).with_context(|| format!("creating the lock file {}", path.display()))?;
        if file.try_lock().is_err() {
            eprintln!("waiting for another testbed that is filling {}", folder.display());
            file.lock().with_context(|| format!("locking {}", path.display()))?;
        }
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file unlocks it in any case.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_parts_together() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(&[b"ab", b"c"]), expected);
    }
}
