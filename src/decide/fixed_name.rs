//! Names of the objects that certwright creates. Each follows from what the object is for, so that creating it twice is
//! impossible: the second create meets the first one's object.

use aws_lc_rs::digest::{SHA256, digest};

use kube::ResourceExt;

use crate::api::{Challenge, names::HTTP01_SOLVER_NAME_PREFIX};

/// The longest name of most Kubernetes objects (RFC 1123 subdomain).
const LONGEST_NAME: usize = 253;

/// How much of the parent's name an Order's or Challenge's name keeps, as with cert-manager.
const KEPT_PREFIX: usize = 52;

/// Name of the CertificateRequest for one revision of a Certificate: `<certificate>-<revision>`; a very long name is
/// cut and made unique by its hash.
pub fn certificate_request(certificate: &str, revision: i64) -> String {
    if certificate.len() <= 233 {
        return format!("{certificate}-{revision}");
    }
    format!("{}-{}-{revision}", trimmed(certificate, 168), sha256_hex(certificate))
}

/// Name of the Secret that holds the private key while a revision is being issued.
pub fn next_private_key(certificate: &str, certificate_uid: &str, revision: i64) -> String {
    let hash = fnv1_32(format!("{certificate_uid}/{revision}").as_bytes());
    format!("{}-{hash:08x}", trimmed(certificate, LONGEST_NAME - 9))
}

/// Name of the Order of a CertificateRequest. The request's identity is in it, so that a deleted and recreated request
/// never meets the former one's Order.
pub fn order(request: &str, request_uid: &str) -> String {
    format!("{}-{}", trimmed(request, KEPT_PREFIX), fnv1_32(request_uid.as_bytes()))
}

/// Name of the Challenge for one authorization of an Order.
pub fn challenge(order: &str, order_uid: &str, authorization_url: &str) -> String {
    let hash = fnv1_32(format!("{order_uid}/{authorization_url}").as_bytes());
    format!("{}-{hash}", trimmed(order, KEPT_PREFIX))
}

/// Name of the solver's Pod, Service and Ingress for one Challenge. cert-manager lets the API server invent the part
/// after the prefix; here it follows from the Challenge.
pub fn http01_solver(challenge_uid: &str) -> String {
    format!("{HTTP01_SOLVER_NAME_PREFIX}{}", &sha256_hex(challenge_uid)[..10])
}

/// Name of the objects that lead the CA's question to whoever answers this Challenge. Those that share a route have the same. What
/// the Challenge says is only an ingredient, so that it cannot name somebody else's object.
pub fn http01_solver_of(challenge: &Challenge) -> String {
    match challenge.shared_route() {
        Some((order, route)) => http01_solver(&format!("{}/{route}", order.uid)),
        None => http01_solver(&challenge.uid().unwrap_or_default()),
    }
}

/// What tells the routes of an Order apart: how they lead to the controller, and a number, as no object takes any number of names.
pub fn http01_route(settings: &str, part: usize) -> String {
    format!("{}-{part}", &sha256_hex(settings)[..10])
}

fn sha256_hex(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The first `length` bytes, without a `.` or `-` at the end.
fn trimmed(name: &str, length: usize) -> &str {
    let mut end = length.min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].trim_end_matches(['.', '-'])
}

/// FNV-1, 32 bits (draft-eastlake-fnv): enough to tell the few children of one object apart.
fn fnv1_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_names_are_short_or_hashed() {
        assert_eq!(certificate_request("web", 3), "web-3");
        let long = "a".repeat(250);
        let name = certificate_request(&long, 12);
        assert!(name.len() <= LONGEST_NAME);
        assert_ne!(name, certificate_request(&"a".repeat(251), 12));
        assert!(name.starts_with(&"a".repeat(168)) && name.ends_with("-12"));
    }

    #[test]
    fn fnv1_known_values() {
        assert_eq!(fnv1_32(b""), 0x811c_9dc5);
        assert_eq!(fnv1_32(b"foobar"), 0x31f0_b262);
    }

    #[test]
    fn a_cut_never_leaves_a_separator_at_the_end() {
        let request = format!("{}.-{}", "a".repeat(51), "b".repeat(30));
        assert!(order(&request, "uid").starts_with(&format!("{}-", "a".repeat(51))));
        assert_ne!(order(&request, "uid"), order(&request, "other"));
    }

    #[test]
    fn solver_names_fit_a_service() {
        assert!(http01_solver("uid").len() <= 63);
    }
}
