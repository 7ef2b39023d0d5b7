//! Java's keytool as an independent witness in tests, next to [`crate::pki::openssl`].

use std::{fs, process::Command};

use tempfile::tempdir;

/// A keystore as keytool is to read it.
pub(super) struct File<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) password: &'a str,
    /// `JKS` or `PKCS12`. Java would find out, so it could not be told that it is wrong.
    pub(super) format: &'a str,
}

/// The password of what [`File::to_pkcs12`] returns.
pub(super) const CONVERTED_PASSWORD: &str = "changeit";

impl File<'_> {
    /// What `keytool -list` prints; `Err` if it refuses the file, `None` (with a message) on a machine without it.
    pub(super) fn list(&self, options: &[&str]) -> Option<Result<String, String>> {
        let directory = tempdir().unwrap();
        let path = directory.path().join("store");
        fs::write(&path, self.bytes).unwrap();
        let mut command = Command::new("keytool");
        command.args(["-list", "-storetype", self.format, "-storepass:env", "STORE_PASSWORD", "-keystore"]);
        self.run(command.arg(path).args(options))
    }

    /// The keystore as Java writes it in PKCS#12, which takes reading every key. Else as [`File::list`].
    pub(super) fn to_pkcs12(&self) -> Option<Result<Vec<u8>, String>> {
        let directory = tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        fs::write(&from, self.bytes).unwrap();
        let mut command = Command::new("keytool");
        command.args(["-importkeystore", "-noprompt", "-srcstoretype", self.format, "-deststoretype", "PKCS12"]);
        command.args(["-srcstorepass:env", "STORE_PASSWORD", "-deststorepass", CONVERTED_PASSWORD]);
        command.arg("-srckeystore").arg(from).arg("-destkeystore").arg(&to);
        Some(self.run(&mut command)?.map(|_| fs::read(to).unwrap()))
    }

    /// The password goes by the environment: Java would read an argument in the encoding of the locale.
    fn run(&self, command: &mut Command) -> Option<Result<String, String>> {
        command.env("STORE_PASSWORD", self.password).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        // What runs for a second need not be compiled well.
        command.arg("-J-XX:TieredStopAtLevel=1");
        let Ok(output) = command.output() else {
            println!("skipped: keytool is not installed");
            return None;
        };
        let printed = [output.stdout, output.stderr].concat();
        // Its PEM has carriage returns.
        let printed = String::from_utf8_lossy(&printed).replace("\r\n", "\n");
        Some(if output.status.success() { Ok(printed) } else { Err(printed) })
    }
}
