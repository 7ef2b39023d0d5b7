//! The programs of a testbed, pinned: one Go module per tool under `tools/`, because their dependencies fight.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::state::Tier;
use crate::{cache, go, wheel};

/// One pinned Go module and the programs built from it.
pub struct Module {
    pub name: &'static str,
    pub go_mod: &'static str,
    pub go_sum: &'static str,
    /// Linker flags beyond `-s -w`.
    pub linker_flags: &'static str,
    pub programs: &'static [Program],
}

/// One Go program.
pub struct Program {
    pub name: &'static str,
    pub package: &'static str,
    pub tier: Tier,
    /// Seconds of a cold build on two cores, to tell who waits.
    pub usual_seconds: u64,
}

macro_rules! pinned {
    ($name:literal, $flags:expr, $programs:expr) => {
        Module {
            name: $name,
            go_mod: include_str!(concat!("../tools/", $name, "/go.mod")),
            go_sum: include_str!(concat!("../tools/", $name, "/go.sum")),
            linker_flags: $flags,
            programs: $programs,
        }
    };
}

const fn program(name: &'static str, package: &'static str, tier: Tier, usual_seconds: u64) -> Program {
    Program { name, package, tier, usual_seconds }
}

/// What `kubectl version` and clients are told; must agree with `tools/kubernetes/go.mod`.
const KUBERNETES_VERSION: &str = "-X k8s.io/component-base/version.gitVersion=v1.36.3 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

/// What Helm says it is, and the cluster that it renders for without one; must agree with `tools/helm/go.mod` and Kubernetes.
const HELM_VERSION: &str = "-X helm.sh/helm/v3/internal/version.version=v3.22.0 \
     -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36 \
     -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=36";

/// Every module, in the order of building.
pub const MODULES: &[Module] = &[
    pinned!("etcd", "", &[program("etcd", "go.etcd.io/etcd/server/v3", Tier::Api, 55)]),
    pinned!(
        "pebble",
        "",
        &[
            program("pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble", Tier::Api, 12),
            program("pebble-challtestsrv", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv", Tier::Api, 5),
        ]
    ),
    pinned!(
        "kubernetes",
        KUBERNETES_VERSION,
        &[
            program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", Tier::Api, 420),
            program("kubectl", "k8s.io/kubernetes/cmd/kubectl", Tier::Api, 40),
            program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", Tier::Cluster, 60),
            program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", Tier::Cluster, 20),
            program("kubelet", "k8s.io/kubernetes/cmd/kubelet", Tier::Cluster, 50),
            program("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", Tier::Cluster, 15),
        ]
    ),
    pinned!("helm", HELM_VERSION, &[program("helm", "helm.sh/helm/v3/cmd/helm", Tier::Api, 60)]),
    pinned!("contour", "", &[program("contour", "github.com/projectcontour/contour/cmd/contour", Tier::Cluster, 165)]),
    pinned!("coredns", "", &[program("coredns", "github.com/coredns/coredns", Tier::Cluster, 205)]),
];

impl Module {
    /// The folder of the module's programs: its name and the first 12 hex digits of SHA-256 over go.mod and go.sum, so
    /// that a changed pin is a new folder.
    pub fn folder(&self) -> Result<PathBuf> {
        let hex = cache::sha256_hex(&[self.go_mod.as_bytes(), self.go_sum.as_bytes()]);
        Ok(cache::root()?.join("tools").join(format!("{}-{hex:.12}", self.name)))
    }
}

/// Builds or downloads what `tier` needs and the cache lacks; tells on standard error how it goes.
pub fn ensure(tier: Tier) -> Result<()> {
    let wanted = wanted(tier);
    for (index, (module, program)) in wanted.iter().enumerate() {
        go::ensure_program(module, program, index + 1, wanted.len())
            .with_context(|| format!("building {} for the testbed", program.name))?;
    }
    wheel::MOTO.ensure()?;
    wheel::GRAFANA.ensure()?;
    if tier == Tier::Cluster {
        go::ensure_manifests(module("contour")?)?;
        wheel::ensure_envoy()?;
    }
    Ok(())
}

/// Names and paths of all programs of `tier`, whether there already or not.
pub fn paths(tier: Tier) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut paths = Vec::new();
    for (module, program) in wanted(tier) {
        paths.push((program.name, module.folder()?.join(program.name)));
    }
    if tier == Tier::Cluster {
        paths.push(("envoy", wheel::envoy_path()?));
    }
    Ok(paths)
}

/// The module called `name`.
pub fn module(name: &str) -> Result<&'static Module> {
    MODULES.iter().find(|module| module.name == name).with_context(|| format!("no tool module is called {name}"))
}

fn wanted(tier: Tier) -> Vec<(&'static Module, &'static Program)> {
    let all = MODULES.iter().flat_map(|module| module.programs.iter().map(move |program| (module, program)));
    all.filter(|(_, program)| tier.includes(program.tier)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_a_tool_of_its_pinned_module() {
        for module in MODULES {
            for program in module.programs {
                assert!(
                    module.go_mod.lines().any(|line| line.trim().trim_start_matches("tool ").trim() == program.package),
                    "{} is no tool of tools/{}/go.mod",
                    program.package,
                    module.name
                );
            }
        }
    }

    #[test]
    fn the_version_told_to_clients_is_the_pinned_one() {
        let go_mod = module("kubernetes").unwrap().go_mod;
        let line = go_mod.lines().find(|line| line.contains("k8s.io/kubernetes v")).unwrap();
        let version = line.split_whitespace().find(|word| word.starts_with("v1.")).unwrap();
        assert!(KUBERNETES_VERSION.contains(&format!("gitVersion={version} ")), "{version}");
    }

    #[test]
    fn helm_says_the_pinned_version() {
        let go_mod = module("helm").unwrap().go_mod;
        let line = go_mod.lines().find(|line| line.trim().starts_with("helm.sh/helm/v3 v")).unwrap();
        let version = line.split_whitespace().find(|word| word.starts_with("v3.")).unwrap();
        assert!(HELM_VERSION.contains(&format!("version={version} ")), "{version}");
    }

    #[test]
    fn tier_api_needs_no_node_programs() {
        let names: Vec<_> = wanted(Tier::Api).iter().map(|(_, program)| program.name).collect();
        assert_eq!(names, ["etcd", "pebble", "pebble-challtestsrv", "kube-apiserver", "kubectl", "helm"]);
    }
}
