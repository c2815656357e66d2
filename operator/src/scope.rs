//! Which namespaces an operator serves: all, one, or a list.

use kube::{Api, Client, Resource, core::NamespaceResourceScope};

/// The namespaces that are served; without any, all of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    /// The named ones, each once; empty names do not count. No name means all namespaces.
    pub fn of<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        let names = names.into_iter().map(|name| name.into().trim().to_owned());
        let mut names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
        names.sort();
        names.dedup();
        Self(names)
    }

    /// Each namespace to list; one `None` where all are served.
    pub(crate) fn namespaces(&self) -> Vec<Option<&str>> {
        if self.0.is_empty() { vec![None] } else { self.0.iter().map(|name| Some(name.as_str())).collect() }
    }

    /// Objects of a kind, for each namespace to list.
    pub(crate) fn apis<K>(&self, client: &Client) -> Vec<Api<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let namespaces = self.namespaces().into_iter();
        let api = |namespace: Option<&str>| match namespace {
            None => Api::all(client.clone()),
            Some(namespace) => Api::namespaced(client.clone(), namespace),
        };
        namespaces.map(api).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_all_and_a_name_counts_once() {
        assert_eq!(Scope::of([""; 2]), Scope::default());
        assert_eq!(Scope::default().namespaces(), [None]);
        assert_eq!(Scope::of(["b", "a ", "b", ""]).namespaces(), [Some("a"), Some("b")]);
    }
}
