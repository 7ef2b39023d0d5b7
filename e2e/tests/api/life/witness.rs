//! Programs that read what was written, each time in a folder of its own.

use std::path::PathBuf;
use std::process::Command;

use certwright_e2e::packages::find;
use tempfile::TempDir;

/// A folder with files for the programs.
pub struct Witness {
    folder: TempDir,
}

impl Witness {
    /// A folder with these files.
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let witness = Self { folder: tempfile::tempdir().unwrap() };
        for (name, content) in files {
            std::fs::write(witness.folder.path().join(name), content).unwrap();
        }
        witness
    }

    /// What `openssl` prints; it has to succeed.
    pub fn openssl(&self, arguments: &[&str]) -> String {
        self.run("openssl", arguments).unwrap_or_else(|printed| panic!("openssl {arguments:?}: {printed}"))
    }

    /// What `keytool` prints; `Err` when it refuses, `None` (with a line about it) on a machine without Java.
    pub fn keytool(&self, arguments: &[&str]) -> Option<Result<String, String>> {
        if find("keytool").is_none() {
            println!("skipped: what keytool reads, because it is not installed");
            return None;
        }
        // What runs for a second need not be compiled well.
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-J-XX:TieredStopAtLevel=1"]).collect();
        Some(self.run("keytool", &arguments))
    }

    /// Standard output; `Err` with all that was printed when the program fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(find(program).unwrap_or_else(|| PathBuf::from(program)));
        let output = command.args(arguments).current_dir(self.folder.path()).env("LC_ALL", "C.UTF-8").output();
        let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(printed);
        }
        Err(printed + &String::from_utf8_lossy(&output.stderr))
    }
}

/// The PEM blocks of this kind in a text, without what stands between them.
pub fn blocks(text: &str, kind: &str) -> Vec<String> {
    let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
    let parts = text.split(&begin).skip(1);
    parts.map(|part| format!("{begin}{}{end}\n", part.split(&end).next().unwrap())).collect()
}
