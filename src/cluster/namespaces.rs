//! Which namespaces are served.

use std::fmt::Debug;

use kube::{Api, Client, Resource, core::NamespaceResourceScope};

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// Every one, and what belongs to none.
    #[default]
    All,
    /// These, at least one. What belongs to no namespace is not looked at.
    Only(Vec<String>),
}

impl Namespaces {
    /// The namespaces of these names; all of them if there is no name that is not empty.
    pub fn of(names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        names.sort();
        names.dedup();
        if names.is_empty() { Self::All } else { Self::Only(names) }
    }

    pub fn is_limited(&self) -> bool {
        *self != Self::All
    }

    /// Where the objects of a kind are: together, or by namespace, whose name is told then.
    pub fn apis<K>(&self, client: &Client) -> Vec<(Option<String>, Api<K>)>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::All => vec![(None, Api::all(client.clone()))],
            Self::Only(names) => {
                names.iter().map(|name| (Some(name.clone()), Api::namespaced(client.clone(), name))).collect()
            }
        }
    }

    /// One of [`Namespaces::apis`], for a question that all would answer in the same way.
    pub fn any_api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::Only(names) if !names.is_empty() => Api::namespaced(client.clone(), &names[0]),
            _ => Api::all(client.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Namespaces;

    #[test]
    fn no_name_is_all_of_them() {
        let of = |names: &[&str]| Namespaces::of(names.iter().map(ToString::to_string));
        assert_eq!(of(&[]), Namespaces::All);
        assert_eq!(of(&[""]), Namespaces::All);
        assert_eq!(of(&["b", "", "a", "b"]), Namespaces::Only(vec!["a".to_owned(), "b".to_owned()]));
        assert!(of(&["a"]).is_limited() && !of(&[]).is_limited());
    }
}
