//! Where the services are: by region, as AWS publishes it.

/// One part of AWS with accounts of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Partition {
    /// What its regions begin with.
    prefix: &'static str,
    suffix: &'static str,
    route53: &'static str,
    /// The region in signatures of requests to Route 53, which is one service for the whole partition.
    route53_region: &'static str,
}

const fn partition(
    prefix: &'static str,
    suffix: &'static str,
    route53: &'static str,
    route53_region: &'static str,
) -> Partition {
    Partition { prefix, suffix, route53, route53_region }
}

const PARTITIONS: [Partition; 7] = [
    partition("cn-", "amazonaws.com.cn", "https://route53.amazonaws.com.cn", "cn-northwest-1"),
    partition("us-gov-", "amazonaws.com", "https://route53.us-gov.amazonaws.com", "us-gov-west-1"),
    partition("eusc-", "amazonaws.eu", "https://route53.amazonaws.eu", "eusc-de-east-1"),
    partition("us-iso-", "c2s.ic.gov", "https://route53.c2s.ic.gov", "us-iso-east-1"),
    partition("us-isob-", "sc2s.sgov.gov", "https://route53.sc2s.sgov.gov", "us-isob-east-1"),
    partition("eu-isoe-", "cloud.adc-e.uk", "https://route53.cloud.adc-e.uk", "eu-isoe-west-1"),
    partition("us-isof-", "csp.hci.ic.gov", "https://route53.csp.hci.ic.gov", "us-isof-south-1"),
];

const COMMON: Partition = partition("", "amazonaws.com", "https://route53.amazonaws.com", "us-east-1");

/// What the SDKs call the region of services that are one for the whole world.
const GLOBAL: &str = "aws-global";

/// A region, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region(Option<String>);

/// Where a service is, and the region in signatures for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub url: String,
    pub region: String,
}

/// What is no region. It would become a part of a host's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of an AWS region, such as eu-central-1")]
pub struct RegionError(String);

impl Region {
    /// Empty means none.
    ///
    /// # Errors
    ///
    /// What cannot be a region.
    pub fn new(name: &str) -> Result<Self, RegionError> {
        let name = name.trim();
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.len() > 63 || !name.chars().all(is_part) {
            return Err(RegionError(name.chars().take(63).collect()));
        }
        Ok(Self(Some(name.to_owned()).filter(|name| !name.is_empty() && name != GLOBAL)))
    }

    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Route 53.
    pub fn route53(&self) -> Endpoint {
        let partition = self.partition();
        Endpoint { url: partition.route53.to_owned(), region: partition.route53_region.to_owned() }
    }

    /// The Security Token Service of the region, without one the global one.
    pub fn sts(&self) -> Endpoint {
        match &self.0 {
            Some(region) => {
                let suffix = self.partition().suffix;
                Endpoint { url: format!("https://sts.{region}.{suffix}"), region: region.clone() }
            }
            None => Endpoint { url: "https://sts.amazonaws.com".to_owned(), region: "us-east-1".to_owned() },
        }
    }

    fn partition(&self) -> Partition {
        let name = self.0.as_deref().unwrap_or_default();
        PARTITIONS.into_iter().find(|partition| name.starts_with(partition.prefix)).unwrap_or(COMMON)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_regions() {
        for (region, route53, route53_region, sts, sts_region) in [
            ("", "route53.amazonaws.com", "us-east-1", "sts.amazonaws.com", "us-east-1"),
            ("aws-global", "route53.amazonaws.com", "us-east-1", "sts.amazonaws.com", "us-east-1"),
            ("eu-central-1", "route53.amazonaws.com", "us-east-1", "sts.eu-central-1.amazonaws.com", "eu-central-1"),
            (
                "cn-north-1",
                "route53.amazonaws.com.cn",
                "cn-northwest-1",
                "sts.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
            ),
            (
                "us-gov-east-1",
                "route53.us-gov.amazonaws.com",
                "us-gov-west-1",
                "sts.us-gov-east-1.amazonaws.com",
                "us-gov-east-1",
            ),
            ("us-iso-west-1", "route53.c2s.ic.gov", "us-iso-east-1", "sts.us-iso-west-1.c2s.ic.gov", "us-iso-west-1"),
            (
                "us-isob-east-1",
                "route53.sc2s.sgov.gov",
                "us-isob-east-1",
                "sts.us-isob-east-1.sc2s.sgov.gov",
                "us-isob-east-1",
            ),
            (
                "eusc-de-east-1",
                "route53.amazonaws.eu",
                "eusc-de-east-1",
                "sts.eusc-de-east-1.amazonaws.eu",
                "eusc-de-east-1",
            ),
        ] {
            let found = Region::new(region).unwrap();
            let endpoint =
                |host: &str, region: &str| Endpoint { url: format!("https://{host}"), region: region.to_owned() };
            assert_eq!(found.route53(), endpoint(route53, route53_region), "{region}");
            assert_eq!(found.sts(), endpoint(sts, sts_region), "{region}");
        }
    }

    #[test]
    fn what_is_no_region_becomes_no_host() {
        for wrong in ["evil.test/#", "EU-CENTRAL-1", "a b", &"x".repeat(64)] {
            assert!(Region::new(wrong).is_err(), "{wrong}");
        }
    }
}
