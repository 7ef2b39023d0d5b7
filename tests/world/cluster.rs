//! How a process writes, and what that does to its stores; as `cluster::Cluster` does it.

use std::any::Any;

use certwright::{
    api::CertificateRequest,
    cluster::{Hub, ObjectName, Watched},
};
use k8s_openapi::api::core::v1::Secret;
use serde::Serialize;

use super::{
    process::Failure,
    server::{Refusal, difference, kind_of},
    world::{EffectLost, World, transient},
};

impl World {
    /// A call to the API server that writes.
    fn write<K: Watched, T>(
        &mut self,
        verb: &str,
        call: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<Result<T, Refusal>, Failure> {
        *self.writes.entry(format!("{verb} {}", kind_of::<K>())).or_default() += 1;
        let before = self.server.newest();
        let done = self.effect(call);
        if std::env::var_os("TRACE").is_some() {
            let fate = if done.is_ok() { "" } else { ", lost" };
            println!("{} {verb} {}{fate}: {before} -> {}", self.now(), kind_of::<K>(), self.server.newest());
        }
        done.map_err(|lost| match lost {
            EffectLost::Failed => Failure::Unavailable,
            EffectLost::Crashed => Failure::Crash,
        })
    }

    pub fn api_create<K: Watched + Serialize>(&mut self, hub: &Hub, object: &K) -> Result<(), Failure> {
        let create = |world: &mut Self| {
            let created = world.server.create(object)?;
            if let Some(request) = (&created as &dyn Any).downcast_ref::<CertificateRequest>() {
                world.note_request(request);
            }
            Ok(created)
        };
        match self.write::<K, _>("create", create)? {
            Ok(created) => {
                hub.put(created);
                Ok(())
            }
            Err(_) => Err(self.refresh(hub, object)),
        }
    }

    pub fn api_status<K: Watched, S: Serialize>(
        &mut self,
        hub: &Hub,
        seen: &K,
        former: &S,
        status: &S,
    ) -> Result<(), Failure> {
        let Some(difference) = difference(former, status) else { return Ok(()) };
        match self.write::<K, _>("status", |world| world.server.patch_status(seen, &difference))? {
            Ok(written) => {
                hub.put(written);
                Ok(())
            }
            Err(refusal) => Err(self.overtaken(hub, seen, refusal)),
        }
    }

    pub fn api_finalizers<K: Watched>(&mut self, hub: &Hub, seen: &K, finalizers: &[String]) -> Result<(), Failure> {
        match self.write::<K, _>("finalizers", |world| world.server.set_finalizers(seen, finalizers))? {
            Ok(Some(written)) => hub.put(written),
            Ok(None) => hub.bury::<K>(&ObjectName::of(seen), seen.meta().uid.as_deref().unwrap_or_default()),
            Err(refusal) => return Err(self.overtaken(hub, seen, refusal)),
        }
        Ok(())
    }

    pub fn api_apply(&mut self, hub: &Hub, object: &Secret) -> Result<(), Failure> {
        if self.refuses_secrets_until.is_some_and(|until| self.now() < until) {
            *self.writes.entry("refused".to_owned()).or_default() += 1;
            return Err(Failure::Unavailable);
        }
        let held: Option<Secret> = self.server.get(&ObjectName::of(object));
        if held.is_some_and(|held| held.immutable == Some(true)) {
            *self.writes.entry("refused".to_owned()).or_default() += 1;
            return Err(transient("Failed to apply the Secret: it is immutable".to_owned()));
        }
        let apply = |world: &mut Self| {
            let before: Option<Secret> = world.server.get(&ObjectName::of(object));
            let applied = world.server.apply(object);
            world.note_secret(before.as_ref(), Some(&applied));
            Ok(applied)
        };
        if let Ok(applied) = self.write::<Secret, _>("apply", apply)? {
            hub.put(applied);
        }
        Ok(())
    }

    pub fn api_delete<K: Watched>(&mut self, hub: &Hub, seen: &K) -> Result<(), Failure> {
        let delete = |world: &mut Self| {
            if let Some(request) = (seen as &dyn Any).downcast_ref::<CertificateRequest>() {
                world.note_deleted_request(request);
            }
            if let Some(secret) = (seen as &dyn Any).downcast_ref::<Secret>() {
                world.note_secret(Some(secret), None);
            }
            world.server.delete(seen)
        };
        match self.write::<K, _>("delete", delete)? {
            Ok(Some(left)) => hub.put(left),
            _ => hub.bury::<K>(&ObjectName::of(seen), seen.meta().uid.as_deref().unwrap_or_default()),
        }
        Ok(())
    }

    fn overtaken<K: Watched>(&mut self, hub: &Hub, seen: &K, refusal: Refusal) -> Failure {
        if refusal == Refusal::Gone {
            hub.bury::<K>(&ObjectName::of(seen), seen.meta().uid.as_deref().unwrap_or_default());
            return Failure::Overtaken;
        }
        self.refresh(hub, seen)
    }

    fn refresh<K: Watched>(&mut self, hub: &Hub, seen: &K) -> Failure {
        if let Some(object) = self.server.get::<K>(&ObjectName::of(seen)) {
            hub.put(object);
        }
        Failure::Overtaken
    }
}
