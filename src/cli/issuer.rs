//! `certwright issuer`: prints an issuer for a well-known CA.

mod dns01;

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};

use self::dns01::Dns01;
use crate::decide::well_known::{self, WELL_KNOWN, WellKnown};

/// What stands where only the reader knows what to write.
const FILL_IN: &str = "FILL-IN";

/// The manifest has comments where something is to be filled in.
#[derive(Args, Clone, Debug)]
pub struct IssuerArgs {
    /// The CA, by one of the names that --list shows.
    #[arg(required_unless_present = "list")]
    ca: Option<String>,
    /// Show the names, and what they stand for.
    #[arg(long, exclusive = true)]
    list: bool,
    /// Mail address of the account, to which the CA may write.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Name of the issuer; the CA's name without it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Whether it serves the whole cluster or one namespace.
    #[arg(long, value_enum, default_value = "ClusterIssuer")]
    kind: IssuerKind,
    /// Namespace of an Issuer.
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Answer challenges over HTTP, by way of the ingress controller of this class.
    #[arg(long, value_name = "CLASS", conflicts_with = "dns01", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    http01_class: Option<String>,
    /// Answer challenges by way of DNS; wildcards need it.
    #[arg(long, value_name = "PROVIDER", value_enum)]
    dns01: Option<Dns01>,
    /// The key ID that the CA gave you, if it makes accounts only for those who have one already.
    #[arg(long, value_name = "ID")]
    eab_key_id: Option<String>,
    /// The certificate profile to ask for.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum IssuerKind {
    #[value(name = "ClusterIssuer")]
    ClusterIssuer,
    #[value(name = "Issuer")]
    Issuer,
}

/// Why nothing was printed.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    #[error("{0:?} is none of the well-known CAs: {1}; for another one, write its directory URL into spec.acme.server")]
    Unknown(String, String),
    #[error("Buypass issues no certificates any more since 31 October 2025; choose another CA, see --list")]
    Buypass,
    #[error("--namespace is for --kind Issuer only; a ClusterIssuer has none")]
    Namespace,
    #[error("writing to standard output failed: {0}")]
    Output(#[from] io::Error),
}

/// Prints the manifest, or the list.
pub fn run(args: &IssuerArgs) -> Result<(), IssuerError> {
    let text = if args.list { list() } else { manifest(args)? };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn list() -> String {
    let line = |known: &WellKnown| {
        let note = if known.binds_accounts { "  (needs --eab-key-id)" } else { "" };
        format!("{:<20} {:<32} {}{note}\n", known.name, known.title, known.url)
    };
    WELL_KNOWN.iter().map(line).collect()
}

fn manifest(args: &IssuerArgs) -> Result<String, IssuerError> {
    let known = chosen(args.ca.as_deref().unwrap_or_default())?;
    if args.kind == IssuerKind::ClusterIssuer && args.namespace.is_some() {
        return Err(IssuerError::Namespace);
    }
    let name = args.name.as_deref().unwrap_or(known.name);
    let kind = if args.kind == IssuerKind::Issuer { "Issuer" } else { "ClusterIssuer" };
    let mut lines = vec![format!("# {}", known.title)];
    if known.is_staging {
        lines.push("# For trying things out: nobody trusts its certificates.".to_owned());
    }
    lines.extend(["apiVersion: cert-manager.io/v1".to_owned(), format!("kind: {kind}"), "metadata:".to_owned()]);
    lines.push(format!("  name: {}", quoted(name)));
    lines.extend(args.namespace.as_ref().map(|namespace| format!("  namespace: {}", quoted(namespace))));
    lines.extend(["spec:".to_owned(), "  acme:".to_owned(), format!("    server: {}", quoted(known.url))]);
    lines.push(match &args.email {
        Some(email) => format!("    email: {}", quoted(email)),
        None => "    # email: you@example.com  # to which the CA may write".to_owned(),
    });
    lines.push("    # Made by the controller if it does not exist. Keep it: it is the account.".to_owned());
    lines.push("    privateKeySecretRef:".to_owned());
    lines.push(format!("      name: {}", quoted(&format!("{name}-account"))));
    lines.extend(args.profile.as_ref().map(|profile| format!("    profile: {}", quoted(profile))));
    if known.binds_accounts || args.eab_key_id.is_some() {
        lines.extend(binding(args, name));
    }
    lines.push("    solvers:".to_owned());
    lines.extend(solver(args));
    Ok(lines.join("\n") + "\n")
}

fn chosen(ca: &str) -> Result<&'static WellKnown, IssuerError> {
    if let Some(known) = well_known::by_name(ca) {
        return Ok(known);
    }
    if ca.to_ascii_lowercase().starts_with("buypass") {
        return Err(IssuerError::Buypass);
    }
    let names: Vec<_> = WELL_KNOWN.iter().map(|known| known.name).collect();
    Err(IssuerError::Unknown(ca.to_owned(), names.join(", ")))
}

fn binding(args: &IssuerArgs, name: &str) -> Vec<String> {
    let secret = format!("{name}-eab");
    let place = match (args.kind, &args.namespace) {
        (IssuerKind::ClusterIssuer, _) => "-n NAMESPACE (that of --cluster-resource-namespace)".to_owned(),
        (IssuerKind::Issuer, Some(namespace)) => format!("-n {namespace}"),
        (IssuerKind::Issuer, None) => "-n NAMESPACE (that of the Issuer)".to_owned(),
    };
    let mut lines = vec![
        "    # The CA gives you a key ID and an HMAC key. Create the Secret with the second one, as it is shown:"
            .to_owned(),
        format!("    #   kubectl create secret generic {secret} --from-literal=hmac=... {place}"),
        "    externalAccountBinding:".to_owned(),
    ];
    lines.push(match &args.eab_key_id {
        Some(id) => format!("      keyID: {}", quoted(id)),
        None => format!("      keyID: {FILL_IN}  # the key ID"),
    });
    lines.push("      keySecretRef:".to_owned());
    lines.push(format!("        name: {}", quoted(&secret)));
    lines.push("        key: hmac".to_owned());
    lines
}

fn solver(args: &IssuerArgs) -> Vec<String> {
    if let Some(provider) = args.dns01 {
        let place =
            if args.kind == IssuerKind::Issuer { "beside the Issuer" } else { "in --cluster-resource-namespace" };
        let beginning = [format!("      # The Secrets lie {place}."), "      - dns01:".to_owned()];
        return beginning.into_iter().chain(provider.lines()).collect();
    }
    let class = match &args.http01_class {
        Some(class) => quoted(class),
        None => "nginx  # the class of your ingress controller".to_owned(),
    };
    vec![
        "      - http01:".to_owned(),
        "          ingress:".to_owned(),
        format!("            ingressClassName: {class}"),
    ]
}

/// As a double-quoted scalar, which YAML reads as JSON does; what needs no quotes gets none.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-./@".contains(c);
    // A scheme's colon is no key's: no space follows it.
    let plain = text.strip_prefix("https://").unwrap_or(text);
    let is_word = plain.starts_with(|c: char| c.is_ascii_alphabetic()) && plain.chars().all(is_plain);
    let is_special = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|special| text.eq_ignore_ascii_case(special));
    if is_word && !is_special { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::api::{ClusterIssuer, Issuer, issuer::AcmeIssuer};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: IssuerArgs,
    }

    fn printed(arguments: &[&str]) -> String {
        let line = Line::try_parse_from(std::iter::once(&"issuer").chain(arguments)).unwrap();
        manifest(&line.args).unwrap()
    }

    fn refused(arguments: &[&str]) -> String {
        let line = Line::try_parse_from(std::iter::once(&"issuer").chain(arguments)).unwrap();
        manifest(&line.args).unwrap_err().to_string()
    }

    fn acme(arguments: &[&str]) -> AcmeIssuer {
        let issuer: ClusterIssuer = serde_yaml::from_str(&printed(arguments)).unwrap();
        issuer.spec.acme.unwrap()
    }

    #[test]
    fn every_well_known_ca_gets_an_issuer_that_can_be_read() {
        for known in WELL_KNOWN {
            let acme = acme(&[known.name, "--email", "me@example.com"]);
            assert_eq!((acme.server.as_str(), acme.email.as_deref()), (known.url, Some("me@example.com")));
            assert_eq!(acme.private_key_secret_ref.name, format!("{}-account", known.name));
            assert_eq!(acme.external_account_binding.is_some(), known.binds_accounts);
            assert_eq!(acme.solvers.len(), 1);
            assert!(list().contains(known.url));
        }
    }

    #[test]
    fn wishes_stand_in_the_manifest() {
        let text = printed(&[
            "letsencrypt",
            "--kind",
            "Issuer",
            "--namespace",
            "shop",
            "--name",
            "le",
            "--http01-class",
            "on",
            "--eab-key-id",
            "1e3: #",
            "--profile",
            "shortlived",
        ]);
        let issuer: Issuer = serde_yaml::from_str(&text).unwrap();
        assert_eq!((issuer.metadata.name.as_deref(), issuer.metadata.namespace.as_deref()), (Some("le"), Some("shop")));
        let acme = issuer.spec.acme.unwrap();
        assert_eq!(acme.external_account_binding.unwrap().key_id, "1e3: #");
        assert_eq!(acme.profile.as_deref(), Some("shortlived"));
        let http01 = acme.solvers[0].http01.clone().unwrap();
        assert_eq!(http01.ingress.unwrap().ingress_class_name.as_deref(), Some("on"));
        assert_eq!(acme.email, None);
    }

    /// Nothing of what is printed is lost when it is read: all fields are known.
    #[test]
    fn every_dns_provider_gets_a_solver() {
        for provider in Dns01::value_variants() {
            let name = provider.to_possible_value().unwrap();
            let text = printed(&["letsencrypt-staging", "--dns01", name.get_name()]);
            let written: serde_json::Value = serde_yaml::from_str(&text).unwrap();
            let issuer: ClusterIssuer = serde_yaml::from_str(&text).unwrap();
            let read = serde_json::to_value(issuer.spec.acme.unwrap().solvers).unwrap();
            assert_eq!(read, written["spec"]["acme"]["solvers"], "{text}");
            let provider = written["spec"]["acme"]["solvers"][0]["dns01"].as_object().unwrap();
            assert_eq!(provider.len(), 1, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_printed() {
        assert!(refused(&["nobody"]).contains("none of the well-known CAs: letsencrypt, letsencrypt-staging, google"));
        assert!(refused(&["buypass-staging"]).contains("no certificates any more"));
        assert!(refused(&["letsencrypt", "--namespace", "shop"]).contains("a ClusterIssuer has none"));
        assert!(Line::try_parse_from(["issuer"]).is_err());
        assert!(Line::try_parse_from(["issuer", "google", "--http01-class", "x", "--dns01", "rfc2136"]).is_err());
    }
}
