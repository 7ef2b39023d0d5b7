//! What goes over the wire: XML of the API 2013-04-01.

use quick_xml::DeError;
use serde::{Deserialize, Serialize};

const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// An answer to `ListHostedZonesByName`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ZonePage {
    #[serde(default)]
    hosted_zones: HostedZones,
    #[serde(rename = "NextDNSName")]
    pub(super) next_dns_name: Option<String>,
    pub(super) next_hosted_zone_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct HostedZones {
    #[serde(default, rename = "HostedZone")]
    zones: Vec<HostedZone>,
}

/// An answer to `GetHostedZone`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OneZone {
    pub(super) hosted_zone: HostedZone,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostedZone {
    /// Such as `/hostedzone/Z0123456789`.
    pub(super) id: String,
    /// With the closing dot.
    pub(super) name: String,
    config: Option<HostedZoneConfig>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostedZoneConfig {
    #[serde(default)]
    private_zone: bool,
}

/// An answer to `ListResourceRecordSets`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RecordPage {
    #[serde(default)]
    resource_record_sets: RecordSets,
    pub(super) next_record_name: Option<String>,
    pub(super) next_record_type: Option<String>,
    pub(super) next_record_identifier: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct RecordSets {
    #[serde(default, rename = "ResourceRecordSet")]
    sets: Vec<RecordSet>,
}

/// The records of one name and type, or with an identifier a part of them. The order of the fields is that of the schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RecordSet {
    pub(super) name: String,
    #[serde(rename = "Type")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) set_identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) multi_value_answer: Option<bool>,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<u32>,
    #[serde(default)]
    pub(super) resource_records: ResourceRecords,
    /// Such a set is not ours, and could not be written back without it.
    #[serde(skip_serializing)]
    pub(super) health_check_id: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ResourceRecords {
    #[serde(default, rename = "ResourceRecord")]
    pub(super) records: Vec<ResourceRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ResourceRecord {
    pub(super) value: String,
}

/// One change of a batch, of which all are made or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetChange {
    pub(super) action: SetAction,
    pub(super) resource_record_set: RecordSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum SetAction {
    /// Fails if there is such a set.
    Create,
    /// Fails unless the set is exactly this one.
    Delete,
    Upsert,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeResourceRecordSetsRequest<'a> {
    #[serde(rename = "@xmlns")]
    namespace: &'static str,
    change_batch: ChangeBatch<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeBatch<'a> {
    changes: Changes<'a>,
}

#[derive(Serialize)]
struct Changes<'a> {
    #[serde(rename = "Change")]
    changes: &'a [SetChange],
}

impl HostedZone {
    /// Without what the API puts before it.
    pub(super) fn bare_id(&self) -> &str {
        bare_id(&self.id)
    }

    pub(super) fn is_private(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.private_zone)
    }
}

impl ZonePage {
    pub(super) fn zones(self) -> Vec<HostedZone> {
        self.hosted_zones.zones
    }
}

impl RecordPage {
    pub(super) fn sets(self) -> Vec<RecordSet> {
        self.resource_record_sets.sets
    }
}

/// The id of a hosted zone, however it is written.
pub(super) fn bare_id(id: &str) -> &str {
    id.trim().trim_start_matches('/').trim_start_matches("hostedzone/")
}

/// The body of `ChangeResourceRecordSets`.
pub(super) fn change_request(changes: &[SetChange]) -> Result<String, DeError> {
    let request = ChangeResourceRecordSetsRequest {
        namespace: NAMESPACE,
        change_batch: ChangeBatch { changes: Changes { changes } },
    };
    let body = quick_xml::se::to_string(&request).map_err(|error| DeError::Custom(error.to_string()))?;
    Ok(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example of the API reference, shortened.
    #[test]
    fn zones_are_read() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListHostedZonesByNameResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/">
              <HostedZones>
                <HostedZone>
                  <Id>/hostedzone/Z111111QQQQQQQ</Id><Name>example.com.</Name><CallerReference>2013</CallerReference>
                  <Config><Comment>This is a comment.</Comment><PrivateZone>true</PrivateZone></Config>
                  <ResourceRecordSetCount>42</ResourceRecordSetCount>
                </HostedZone>
                <HostedZone><Id>/hostedzone/Z2</Id><Name>example.net.</Name><CallerReference>x</CallerReference></HostedZone>
              </HostedZones>
              <IsTruncated>true</IsTruncated><NextDNSName>example2.com</NextDNSName>
              <NextHostedZoneId>Z222222VVVVVVV</NextHostedZoneId><MaxItems>10</MaxItems>
            </ListHostedZonesByNameResponse>"#;
        let page: ZonePage = quick_xml::de::from_str(text).unwrap();
        assert_eq!(page.next_dns_name.as_deref(), Some("example2.com"));
        assert_eq!(page.next_hosted_zone_id.as_deref(), Some("Z222222VVVVVVV"));
        let zones = page.zones();
        assert_eq!((zones[0].bare_id(), zones[0].is_private()), ("Z111111QQQQQQQ", true));
        assert_eq!((zones[1].name.as_str(), zones[1].is_private()), ("example.net.", false));
        let none = "<ListHostedZonesByNameResponse><HostedZones/></ListHostedZonesByNameResponse>";
        assert!(quick_xml::de::from_str::<ZonePage>(none).unwrap().zones().is_empty());
    }

    #[test]
    fn record_sets_of_every_kind_are_read() {
        let text = r#"<ListResourceRecordSetsResponse><ResourceRecordSets>
              <ResourceRecordSet><Name>a.example.com.</Name><Type>TXT</Type><TTL>300</TTL><ResourceRecords>
                <ResourceRecord><Value>"one" "more"</Value></ResourceRecord><ResourceRecord><Value>"two"</Value></ResourceRecord>
              </ResourceRecords></ResourceRecordSet>
              <ResourceRecordSet><Name>a.example.com.</Name><Type>TXT</Type><SetIdentifier>"one"</SetIdentifier>
                <MultiValueAnswer>true</MultiValueAnswer><TTL>10</TTL><ResourceRecords>
                <ResourceRecord><Value>"one"</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>
              <ResourceRecordSet><Name>b.example.com.</Name><Type>A</Type><AliasTarget><HostedZoneId>Z3</HostedZoneId>
                <DNSName>x.elb.amazonaws.com.</DNSName><EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget>
              </ResourceRecordSet>
              </ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>100</MaxItems></ListResourceRecordSetsResponse>"#;
        let sets = quick_xml::de::from_str::<RecordPage>(text).unwrap().sets();
        assert_eq!(sets.len(), 3);
        assert_eq!(sets[0].resource_records.records[0].value, "\"one\" \"more\"");
        assert_eq!(sets[1].set_identifier.as_deref(), Some("\"one\""));
        assert_eq!((sets[1].multi_value_answer, sets[1].ttl), (Some(true), Some(10)));
        assert!(sets[2].resource_records.records.is_empty());
    }

    #[test]
    fn a_batch_is_written() {
        let set = RecordSet {
            name: "_acme-challenge.example.com".to_owned(),
            kind: "TXT".to_owned(),
            set_identifier: Some("\"<a&b>\"".to_owned()),
            multi_value_answer: Some(true),
            ttl: Some(10),
            resource_records: ResourceRecords { records: vec![ResourceRecord { value: "\"<a&b>\"".to_owned() }] },
            health_check_id: None,
        };
        let change = SetChange { action: SetAction::Upsert, resource_record_set: set };
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ChangeResourceRecordSetsRequest \
             xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes><Change><Action>UPSERT</Action>\
             <ResourceRecordSet><Name>_acme-challenge.example.com</Name><Type>TXT</Type><SetIdentifier>\"&lt;a&amp;b&gt;\"\
             </SetIdentifier><MultiValueAnswer>true</MultiValueAnswer><TTL>10</TTL><ResourceRecords><ResourceRecord><Value>\
             \"&lt;a&amp;b&gt;\"</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change></Changes>\
             </ChangeBatch></ChangeResourceRecordSetsRequest>";
        assert_eq!(change_request(&[change]).unwrap(), expected);
    }

    #[test]
    fn ids_are_read_however_they_are_written() {
        for id in ["Z1", "/hostedzone/Z1", "hostedzone/Z1", " Z1\n"] {
            assert_eq!(bare_id(id), "Z1");
        }
    }
}
