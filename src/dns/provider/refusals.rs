//! What an API refuses of several changes, while the others go on.

use super::ProviderError;

/// The first refusal.
#[derive(Debug, Default)]
pub struct Refusals(Option<ProviderError>);

impl Refusals {
    /// Keeps a refusal for later, for it says nothing about the changes to come.
    ///
    /// # Errors
    ///
    /// Any other failure, which the changes to come would meet as well.
    pub fn note(&mut self, result: Result<(), ProviderError>) -> Result<(), ProviderError> {
        match result {
            Err(error) if !error.is_transient() => {
                self.0.get_or_insert(error);
                Ok(())
            }
            other => other,
        }
    }

    /// # Errors
    ///
    /// The first refusal that was noted.
    pub fn told(self) -> Result<(), ProviderError> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusal_is_told_at_the_end_and_an_outage_at_once() {
        let refused = |message: &str| Err(ProviderError::Refused { message: message.to_owned(), source: None });
        let mut refusals = Refusals::default();
        for result in [Ok(()), refused("one"), Ok(()), refused("two")] {
            refusals.note(result).unwrap();
        }
        let outage = ProviderError::Transient { message: "down".to_owned(), source: None };
        assert_eq!(refusals.note(Err(outage)).unwrap_err().to_string(), "down");
        assert_eq!(refusals.told().unwrap_err().to_string(), "one");
        Refusals::default().told().unwrap();
    }
}
