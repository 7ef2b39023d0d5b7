//! Solvers of an ACME issuer.

use super::{Problem, issuer::selector};
use crate::api::{
    SecretKeySelector,
    dns01::{AzureDns, Cloudflare, Dns01Solver, Rfc2136, Route53},
    label::is_subdomain,
    solver::{AcmeSolver, Http01Solver},
};

pub fn problems(path: &str, solver: &AcmeSolver) -> Vec<Problem> {
    let mut problems = match (&solver.http01, &solver.dns01) {
        (None, None) => vec![Problem::required(path, "no solver type configured")],
        (Some(http01), None) => of_http01(&format!("{path}.http01"), http01),
        (None, Some(dns01)) => of_dns01(&format!("{path}.dns01"), dns01),
        (Some(_), Some(_)) => {
            vec![Problem::forbidden(
                format!("{path}.dns01"),
                "may not specify more than one solver type in a single solver",
            )]
        }
    };
    if let Some(wait) = &solver.wait_instead_of_self_check
        && wait.to_duration().is_ok_and(|wait| wait.is_negative())
    {
        problems.push(Problem::invalid(format!("{path}.waitInsteadOfSelfCheck"), wait, "must not be negative"));
    }
    problems
}

fn of_http01(path: &str, solver: &Http01Solver) -> Vec<Problem> {
    let (ingress, gateway) = match (&solver.ingress, &solver.gateway_http_route) {
        (None, None) => return vec![Problem::required(path, "no HTTP01 solver type configured")],
        (Some(_), Some(_)) => {
            return vec![Problem::forbidden(path, "only 1 HTTP01 solver type may be configured")];
        }
        either => either,
    };
    let mut problems = Vec::new();
    if let Some(ingress) = ingress {
        let path = format!("{path}.ingress");
        let set = [&ingress.class, &ingress.ingress_class_name, &ingress.name].map(|text| !is_empty(text.as_ref()));
        if set.into_iter().filter(|is_set| *is_set).count() > 1 {
            let detail = "only one of 'ingressClassName', 'name' or 'class' should be specified";
            problems.push(Problem::forbidden(&path, detail));
        }
        if let Some(class) = ingress.ingress_class_name.as_deref().filter(|class| !class.is_empty())
            && !is_subdomain(class)
        {
            problems.push(Problem::invalid(format!("{path}.ingressClassName"), class, "must be a DNS-1123 subdomain"));
        }
        problems.extend(service_type(&path, ingress.service_type.as_deref()));
    }
    if let Some(gateway) = gateway {
        problems.extend(service_type(&format!("{path}.gatewayHTTPRoute"), gateway.service_type.as_deref()));
    }
    problems
}

fn service_type(path: &str, given: Option<&str>) -> Option<Problem> {
    let given = given.unwrap_or_default();
    let detail = "must be empty, ClusterIP or NodePort";
    (!["", "ClusterIP", "NodePort"].contains(&given))
        .then(|| Problem::invalid(format!("{path}.serviceType"), given, detail))
}

fn of_dns01(path: &str, solver: &Dns01Solver) -> Vec<Problem> {
    let mut problems = Vec::new();
    let strategy = solver.cname_strategy.as_deref().unwrap_or_default();
    if !["", "None", "Follow"].contains(&strategy) {
        problems.push(Problem::invalid(format!("{path}.cnameStrategy"), strategy, "must be one of None or Follow"));
    }
    let set = [
        solver.akamai.is_some(),
        solver.azure_dns.is_some(),
        solver.cloud_dns.is_some(),
        solver.cloudflare.is_some(),
        solver.route53.is_some(),
        solver.acme_dns.is_some(),
        solver.digitalocean.is_some(),
        solver.rfc2136.is_some(),
        solver.webhook.is_some(),
    ];
    match set.into_iter().filter(|is_set| *is_set).count() {
        0 => problems.push(Problem::required(path, "no DNS01 provider configured")),
        1 => problems.extend(provider(path, solver)),
        _ => problems.push(Problem::forbidden(path, "may not specify more than one provider type")),
    }
    problems
}

fn provider(path: &str, solver: &Dns01Solver) -> Vec<Problem> {
    let at = |field: &str| format!("{path}.{field}");
    let mut problems = Vec::new();
    if let Some(akamai) = &solver.akamai {
        problems.extend(text(at("akamai.serviceConsumerDomain"), &akamai.service_consumer_domain));
        problems.extend(selector(&at("akamai.accessTokenSecretRef"), &akamai.access_token_secret_ref));
        problems.extend(selector(&at("akamai.clientSecretSecretRef"), &akamai.client_secret_secret_ref));
        problems.extend(selector(&at("akamai.clientTokenSecretRef"), &akamai.client_token_secret_ref));
    }
    if let Some(acme_dns) = &solver.acme_dns {
        problems.extend(text(at("acmeDNS.host"), &acme_dns.host));
        problems.extend(selector(&at("acmeDNS.accountSecretRef"), &acme_dns.account_secret_ref));
    }
    if let Some(digitalocean) = &solver.digitalocean {
        problems.extend(selector(&at("digitalocean.tokenSecretRef"), &digitalocean.token_secret_ref));
    }
    if let Some(cloud_dns) = &solver.cloud_dns {
        problems.extend(text(at("cloudDNS.project"), &cloud_dns.project));
        problems
            .extend(optional(&at("cloudDNS.serviceAccountSecretRef"), cloud_dns.service_account_secret_ref.as_ref()));
    }
    if let Some(webhook) = &solver.webhook {
        problems.extend(text(at("webhook.solverName"), &webhook.solver_name));
    }
    problems.extend(solver.azure_dns.as_ref().map(|azure| of_azure(&at("azureDNS"), azure)).unwrap_or_default());
    problems.extend(solver.cloudflare.as_ref().map(|own| of_cloudflare(&at("cloudflare"), own)).unwrap_or_default());
    problems.extend(solver.rfc2136.as_ref().map(|own| of_rfc2136(&at("rfc2136"), own)).unwrap_or_default());
    problems.extend(solver.route53.as_ref().map(|own| of_route53(&at("route53"), own)).unwrap_or_default());
    problems
}

fn of_azure(path: &str, azure: &AzureDns) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(text(format!("{path}.subscriptionID"), &azure.subscription_id));
    problems.extend(text(format!("{path}.resourceGroupName"), &azure.resource_group_name));
    if !is_empty(azure.client_id.as_ref())
        || !is_empty(azure.tenant_id.as_ref())
        || azure.client_secret_secret_ref.is_some()
    {
        let detail = "must be set where clientID, clientSecretSecretRef or tenantID is";
        for (field, text) in [("clientID", &azure.client_id), ("tenantID", &azure.tenant_id)] {
            if is_empty(text.as_ref()) {
                problems.push(Problem::required(format!("{path}.{field}"), detail));
            }
        }
        match &azure.client_secret_secret_ref {
            Some(reference) => problems.extend(selector(&format!("{path}.clientSecretSecretRef"), reference)),
            None => problems.push(Problem::required(format!("{path}.clientSecretSecretRef"), detail)),
        }
        if azure.managed_identity.is_some() {
            let detail =
                "managed identity can not be used at the same time as clientID, clientSecretSecretRef or tenantID";
            problems.push(Problem::forbidden(format!("{path}.managedIdentity"), detail));
        }
    }
    if let Some(identity) = &azure.managed_identity {
        let path = format!("{path}.managedIdentity");
        if !is_empty(identity.client_id.as_ref()) && !is_empty(identity.resource_id.as_ref()) {
            problems.push(Problem::forbidden(
                &path,
                "managedIdentityClientID and managedIdentityResourceID cannot both be specified",
            ));
        }
        if !is_empty(identity.tenant_id.as_ref())
            && (is_empty(identity.client_id.as_ref()) || !is_empty(identity.resource_id.as_ref()))
        {
            problems.push(Problem::forbidden(&path, "tenantID needs clientID, and cannot be used with resourceID"));
        }
    }
    problems
}

fn of_cloudflare(path: &str, cloudflare: &Cloudflare) -> Vec<Problem> {
    let mut problems = match (&cloudflare.api_key_secret_ref, &cloudflare.api_token_secret_ref) {
        (None, None) => vec![Problem::required(path, "apiKeySecretRef or apiTokenSecretRef is required")],
        (Some(_), Some(_)) => {
            vec![Problem::forbidden(path, "apiKeySecretRef and apiTokenSecretRef cannot both be specified")]
        }
        (Some(key), None) => selector(&format!("{path}.apiKeySecretRef"), key),
        (None, Some(token)) => selector(&format!("{path}.apiTokenSecretRef"), token),
    };
    if cloudflare.api_key_secret_ref.is_some() && is_empty(cloudflare.email.as_ref()) {
        problems.push(Problem::required(format!("{path}.email"), "email is required when using an API key"));
    }
    problems
}

fn of_rfc2136(path: &str, own: &Rfc2136) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(text(format!("{path}.nameserver"), &own.nameserver));
    // Writers in Go store a reference without a name where there is no key.
    let secret = own.tsig_secret_secret_ref.as_ref().filter(|reference| !reference.is_unset());
    if is_empty(own.tsig_key_name.as_ref()) && secret.is_some() {
        problems.push(Problem::required(format!("{path}.tsigKeyName"), "must be set where tsigSecretSecretRef is"));
    }
    if !is_empty(own.tsig_key_name.as_ref()) && secret.is_none() {
        problems.push(Problem::required(format!("{path}.tsigSecretSecretRef"), "must be set where tsigKeyName is"));
    }
    problems.extend(optional(&format!("{path}.tsigSecretSecretRef"), secret));
    problems
}

fn of_route53(path: &str, own: &Route53) -> Vec<Problem> {
    let mut problems = optional(&format!("{path}.accessKeyIDSecretRef"), own.access_key_id_secret_ref.as_ref());
    if !is_empty(own.access_key_id.as_ref()) && own.access_key_id_secret_ref.is_some() {
        let detail = "accessKeyID and accessKeyIDSecretRef cannot both be specified";
        problems.push(Problem::required(format!("{path}.accessKeyID"), detail));
    }
    problems
}

fn text(path: String, text: &str) -> Option<Problem> {
    text.is_empty().then(|| Problem::required(path, "must be specified"))
}

fn optional(path: &str, reference: Option<&SecretKeySelector>) -> Vec<Problem> {
    reference.map(|reference| selector(path, reference)).unwrap_or_default()
}

fn is_empty(text: Option<&String>) -> bool {
    text.is_none_or(String::is_empty)
}
