//! The flags that say how Certificates are made from Ingresses and Gateways.

use clap::Args;

use super::work::{GATEWAY_SHIM, INGRESS_SHIM, LISTENER_SET_SHIM, WorkArgs};
use crate::{
    api::{IssuerReference, SourceKind, source::Marks},
    decide::shim::Settings,
};

/// Which Ingresses and Gateways Certificates are made from.
#[derive(Args, Clone, Debug)]
pub(super) struct ShimArgs {
    /// Annotations of Ingresses that, when true, ask for certificates from the default issuer, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "kubernetes.io/tls-acme")]
    pub(super) auto_certificate_annotations: Vec<String>,
    /// Annotations that are copied from Ingresses and Gateways to their Certificates, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(super) extra_certificate_annotations: Vec<String>,
    /// The issuer for Ingresses that name none.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(super) default_issuer_name: String,
    /// Its kind.
    #[arg(long, value_name = "KIND", default_value = "Issuer")]
    pub(super) default_issuer_kind: String,
    /// Its group; also that of issuers whose group an Ingress or Gateway does not tell.
    #[arg(long, value_name = "GROUP", default_value = "cert-manager.io")]
    pub(super) default_issuer_group: String,
    /// Make Certificates from Gateways too, if they name an issuer. Solvers that go through a Gateway do not need it.
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) enable_gateway_api: bool,
    /// The same from ListenerSets; those that name no issuer take that of their Gateway.
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) enable_gateway_api_listenerset: bool,
    /// Protocols of listeners, besides HTTPS and TLS, for which Certificates are made, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(super) gateway_api_extra_protocols: Vec<String>,
}

impl ShimArgs {
    pub(super) fn settings(&self, work: &WorkArgs) -> Settings {
        Settings {
            kinds: self.kinds(work),
            marks: Marks {
                automatic: names(&self.auto_certificate_annotations),
                copied: names(&self.extra_certificate_annotations),
            },
            default_issuer: IssuerReference {
                name: self.default_issuer_name.clone(),
                kind: Some(self.default_issuer_kind.clone()),
                group: Some(self.default_issuer_group.clone()),
            },
            extra_protocols: names(&self.gateway_api_extra_protocols),
        }
    }

    /// The kinds that are seen: those that Certificates are made from, and Gateways too for what ListenerSets take from theirs.
    pub(super) fn watched(&self, work: &WorkArgs) -> Vec<SourceKind> {
        let mut kinds = self.kinds(work);
        if kinds.contains(&SourceKind::ListenerSet) && !kinds.contains(&SourceKind::Gateway) {
            kinds.push(SourceKind::Gateway);
        }
        kinds
    }

    fn kinds(&self, work: &WorkArgs) -> Vec<SourceKind> {
        let has_sets = self.enable_gateway_api && self.enable_gateway_api_listenerset;
        let chosen = [
            (work.has(INGRESS_SHIM), SourceKind::Ingress),
            (self.enable_gateway_api && work.has(GATEWAY_SHIM), SourceKind::Gateway),
            (has_sets && work.has(LISTENER_SET_SHIM), SourceKind::ListenerSet),
        ];
        chosen.into_iter().filter(|(is_chosen, _)| *is_chosen).map(|(_, kind)| kind).collect()
    }
}

fn names(list: &[String]) -> Vec<String> {
    list.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::testing::read, *};

    fn kinds(flags: &[&str]) -> Vec<SourceKind> {
        let args = read(flags).unwrap();
        args.shim.settings(&args.work).kinds
    }

    fn settings(flags: &[&str]) -> Settings {
        let args = read(flags).unwrap();
        args.shim.settings(&args.work)
    }

    #[test]
    fn the_defaults_are_those_of_cert_manager() {
        assert_eq!(settings(&[]), Settings { kinds: vec![SourceKind::Ingress], ..Settings::default() });
    }

    #[test]
    fn flags_choose_kinds_and_marks() {
        assert_eq!(kinds(&["--enable-gateway-api"]), [SourceKind::Ingress, SourceKind::Gateway]);
        assert_eq!(kinds(&["--enable-gateway-api", "--controllers=*,-ingress-shim"]), [SourceKind::Gateway]);
        assert_eq!(kinds(&["--enable-gateway-api", "--controllers=orders"]), []);
        let sets = ["--enable-gateway-api-listenerset", "--controllers=listenerset", "--enable-gateway-api"];
        assert_eq!(kinds(&sets), [SourceKind::ListenerSet]);
        let args = read(&sets).unwrap();
        assert_eq!(args.shim.watched(&args.work), [SourceKind::ListenerSet, SourceKind::Gateway]);
        assert_eq!(kinds(&sets[..2]), []);
        let flags =
            ["--auto-certificate-annotations=", "--extra-certificate-annotations=a, b", "--default-issuer-name=le"];
        let settings = settings(&flags);
        assert_eq!(settings.marks, Marks { automatic: vec![], copied: vec!["a".to_owned(), "b".to_owned()] });
        assert_eq!(settings.default_issuer.name, "le");
    }
}
