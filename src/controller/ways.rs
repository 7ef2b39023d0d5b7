//! Where the Ingress or Gateway that leads to a solver can be asked within the cluster.
//!
//! Their status says at which addresses they can be reached. Such an address may lead out and not back in again (hairpin NAT),
//! or to a load balancer that puts something in front of each connection (PROXY protocol), so the Service behind it is asked
//! too. Nothing of this is watched: it is read when the public name did not answer, and what cannot be read is left out.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::{core::v1::Service, networking::v1::Ingress};
use kube::{
    ResourceExt,
    api::{ApiResource, ListParams},
};

use super::{gateways, shared_route};
use crate::{
    api::Challenge,
    cluster::{ApiError, Cluster, ObjectName},
    http01::{
        check::{self, Way},
        client::Clients,
        in_place,
        way::{self, HTTP},
    },
};

/// The load balancers of the cluster are listed again after this time.
const SERVICES_KEPT: Duration = Duration::from_secs(30);
/// So many of them are looked at, which is as many as a page has.
const MOST_SERVICES: u32 = 250;

/// Reads them.
pub(super) struct Ways {
    cluster: Cluster,
    clients: Clients,
    balancers: Mutex<Option<(Instant, Arc<Vec<Service>>)>>,
}

impl Ways {
    pub(super) fn new(cluster: Cluster, clients: Clients) -> Self {
        Self { cluster, clients, balancers: Mutex::default() }
    }

    /// The places that lead to the Challenge's solver.
    pub(super) async fn of(&self, challenge: &Challenge) -> check::Ways {
        self.read(challenge).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the way within the cluster is not asked");
            Ok(Vec::new())
        })
    }

    async fn read(&self, challenge: &Challenge) -> Result<check::Ways, ApiError> {
        if let Some(found) = gateways::of(&self.cluster, challenge).await? {
            let (name, port, gateway) = match found {
                Ok(found) => (found.name, found.port, way::gateway_addresses(&found.gateway)),
                Err(no_way) => return Ok(Err(no_way)),
            };
            let selected = ListParams::default().labels(&way::gateway_selector(&name.name)).limit(MOST_SERVICES);
            let services = self.cluster.list_unwatched::<Service>(Some(&name.namespace), &selected).await;
            let services = unless_refused(services)?;
            return Ok(Ok(self.all(&services, port, &gateway, &format!("the Gateway {name}")).await));
        }
        let Some((addresses, name)) = self.ingress(challenge).await? else { return Ok(Ok(Vec::new())) };
        if addresses.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let services = self.balancers().await?;
        let behind: Vec<Service> =
            services.iter().filter(|service| way::is_behind(service, &addresses)).cloned().collect();
        Ok(Ok(self.all(&behind, HTTP, &addresses, &format!("the Ingress {name}")).await))
    }

    /// The Services by their addresses within the cluster, then what the status says: where CAs ask, and at the listener's port.
    async fn all(&self, services: &[Service], port: u16, addresses: &[String], name: &str) -> Vec<Way> {
        let mut ways: Vec<Way> = services.iter().filter_map(|service| way::of_service(service, port)).collect();
        let ports = if port == HTTP { vec![HTTP] } else { vec![HTTP, port] };
        for told in addresses {
            let found = match told.parse::<IpAddr>() {
                Ok(address) => Some(address),
                Err(_) => self.clients.addresses(told).await.first().copied(),
            };
            // A host name is told as it stands there: it may lead elsewhere with each look.
            let way = |address: IpAddr, port: &u16| Way { address, port: *port, name: format!("{name} at {told}") };
            ways.extend(found.into_iter().flat_map(|found| ports.iter().map(move |port| way(found, port))));
        }
        ways
    }

    /// The addresses of the Ingress that was made for the Challenge, or of the one that got a path more.
    async fn ingress(&self, challenge: &Challenge) -> Result<Option<(Vec<String>, ObjectName)>, ApiError> {
        if let Some(ingress) = in_place::ingress_name(challenge) {
            let name = ObjectName::new(challenge.namespace().unwrap_or_default(), ingress);
            let found = self.cluster.read_unwatched(&name, &ApiResource::erase::<Ingress>(&())).await?;
            return Ok(found.map(|ingress| (way::ingress_addresses(&ingress.data), name)));
        }
        let found = self.cluster.hub.solver_ingresses.get(&shared_route::name_of(challenge));
        Ok(found.map(|ingress| {
            let status = serde_json::json!({ "status": ingress.status });
            (way::ingress_addresses(&status), ObjectName::of(&*ingress))
        }))
    }

    async fn balancers(&self) -> Result<Arc<Vec<Service>>, ApiError> {
        let known = self.balancers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, services)) = known.filter(|(at, _)| at.elapsed() < SERVICES_KEPT) {
            return Ok(services);
        }
        let all = ListParams::default().fields("spec.type=LoadBalancer").limit(MOST_SERVICES);
        let services = Arc::new(unless_refused(self.cluster.list_unwatched::<Service>(None, &all).await)?);
        *self.balancers.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), services.clone()));
        Ok(services)
    }
}

/// Whoever serves some namespaces only may not look into others: the addresses in the status can be asked all the same.
fn unless_refused(listed: Result<Vec<Service>, ApiError>) -> Result<Vec<Service>, ApiError> {
    match listed {
        Err(ApiError::Refused { .. }) => Ok(Vec::new()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_may_not_be_listed_are_none() {
        let (what, message) = (|| "list services".to_owned(), || "no".to_owned());
        assert!(unless_refused(Err(ApiError::Refused { what: what(), message: message(), code: 403 })).is_ok());
        assert!(unless_refused(Err(ApiError::Unavailable { what: what(), message: message() })).is_err());
    }
}
