//! What is worked with at present, for those who tell of it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Context;

/// One for each share of the work that this process does.
#[derive(Clone, Default)]
pub struct Contexts(Arc<Mutex<Vec<Weak<Context>>>>);

impl Contexts {
    /// Takes it up for as long as it is worked with.
    pub fn add(&self, context: Context) -> Arc<Context> {
        let context = Arc::new(context);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|context| context.strong_count() > 0);
        held.push(Arc::downgrade(&context));
        context
    }

    /// Those that are worked with now.
    pub fn all(&self) -> Vec<Arc<Context>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }
}
