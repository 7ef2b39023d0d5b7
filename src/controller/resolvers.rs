//! Which nameservers are asked: a solver's own, or those of the controller.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::step_error::StepError;
use crate::{api::Challenge, dns::resolver::Resolver};

/// More lists of nameservers than this are not in use at once; forgetting one costs what it learned.
const MOST_LISTS: usize = 128;

/// The resolver of the controller, and those of solvers with nameservers of their own.
pub struct Resolvers {
    common: Arc<Resolver>,
    own: Mutex<HashMap<Vec<String>, Arc<Resolver>>>,
}

impl Resolvers {
    pub(super) fn new(common: Arc<Resolver>) -> Self {
        Self { common, own: Mutex::default() }
    }

    /// For whatever belongs to no solver.
    pub(super) fn common(&self) -> &Arc<Resolver> {
        &self.common
    }

    /// For everything that the Challenge's solver looks up: the zone, its servers and their addresses, and CNAMEs.
    ///
    /// # Errors
    /// A nameserver that cannot be read: as the solver of a Challenge never changes, this is final.
    pub(super) fn of(&self, challenge: &Challenge) -> Result<Arc<Resolver>, StepError> {
        let servers = nameservers(challenge);
        if servers.is_empty() {
            return Ok(self.common.clone());
        }
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = own.get(servers) {
            return Ok(known.clone());
        }
        let made = Resolver::from_nameservers(servers)
            .map_err(|error| StepError::is_final(format!("The solver's dns01.nameservers cannot be used: {error}")))?;
        let made = Arc::new(made);
        if own.len() >= MOST_LISTS {
            own.retain(|_, resolver| Arc::strong_count(resolver) > 1);
        }
        own.insert(servers.to_vec(), made.clone());
        Ok(made)
    }
}

/// The nameservers that the solver of a Challenge wants asked in place of the controller's; none if it names none.
pub(super) fn nameservers(challenge: &Challenge) -> &[String] {
    challenge.spec.solver.dns01.as_ref().map(|solver| solver.nameservers.as_slice()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::{ChallengeSpec, dns01::Dns01Solver};

    fn challenge(nameservers: &[&str]) -> Challenge {
        let nameservers = nameservers.iter().map(ToString::to_string).collect();
        let mut challenge = Challenge::new("web", ChallengeSpec::default());
        challenge.spec.solver.dns01 = Some(Dns01Solver { nameservers, ..Dns01Solver::default() });
        challenge
    }

    #[test]
    fn a_solver_has_its_own_nameservers_or_the_common_ones() {
        let common = Resolver::from_nameservers(&["192.0.2.1".to_owned()]).unwrap();
        let resolvers = Resolvers::new(Arc::new(common));
        assert_eq!(resolvers.of(&challenge(&[])).unwrap().identity(), "192.0.2.1:53");
        let own = resolvers.of(&challenge(&["192.0.2.2:5353"])).unwrap();
        assert_eq!(own.identity(), "192.0.2.2:5353");
        assert!(Arc::ptr_eq(&own, &resolvers.of(&challenge(&["192.0.2.2:5353"])).unwrap()), "it keeps what it learned");
        let Err(StepError::Trouble { message, .. }) = resolvers.of(&challenge(&["192.0.2.2:dns"])) else { panic!() };
        assert!(message.starts_with("The solver's dns01.nameservers cannot be used: nameserver \"192.0.2.2:dns\""));
    }

    #[test]
    fn the_pool_does_not_grow_without_end() {
        let common = Resolver::from_nameservers(&["192.0.2.1".to_owned()]).unwrap();
        let resolvers = Resolvers::new(Arc::new(common));
        for number in 0..1000 {
            resolvers.of(&challenge(&[&format!("192.0.2.2:{}", number + 1)])).unwrap();
        }
        assert!(resolvers.own.lock().unwrap().len() <= MOST_LISTS);
    }
}
