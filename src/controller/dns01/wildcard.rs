//! Whether a CNAME record comes from a wildcard.

use crate::dns::{cname::follow_cnames, resolver::Resolver};

/// Wildcards further up are not looked for.
const MOST_LABELS: usize = 10;

/// Whether a wildcard record above `name` leads to `target`. All names have the closing dot.
///
/// A wildcard may be asked for by its own name, `*.example.com` (RFC 4592 section 2.3). If the name has a record of its own that
/// leads to the same target, the answer is yes, too; writing beside that record is then refused by the provider.
pub(super) async fn leads_to(resolver: &Resolver, name: &str, target: &str) -> bool {
    for wildcard in wildcards(name) {
        let chain = follow_cnames(resolver, &wildcard).await.unwrap_or_default();
        if let Some(end) = chain.last().filter(|_| chain.len() > 1) {
            return end == target;
        }
    }
    false
}

/// The wildcards that may cover `name`, the closest first.
fn wildcards(name: &str) -> impl Iterator<Item = String> {
    let above = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]).filter(|rest| !rest.is_empty());
    above.take(MOST_LABELS).map(|rest| format!("*.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_above_may_have_one() {
        let found: Vec<_> = wildcards("_acme-challenge.www.example.com.").collect();
        assert_eq!(found, ["*.www.example.com.", "*.example.com.", "*.com."]);
        assert_eq!(wildcards(&"a.".repeat(40)).count(), MOST_LABELS);
    }
}
