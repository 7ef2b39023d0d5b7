//! Distinguished names: typed as in `spec.subject`, or written as in `spec.literalSubject` (RFC 4514).

use x509_cert::{
    attr::AttributeTypeAndValue,
    der::{
        Decode, Encode,
        asn1::{Any, Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef},
    },
    ext::pkix::name::DirectoryString,
    name::{Name, RdnSequence, RelativeDistinguishedName},
};

use super::Error;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const LOCALITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.7");
const PROVINCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");
const STREET_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.9");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
const POSTAL_CODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.17");
const DOMAIN_COMPONENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25");
const USER_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1");

/// The attribute names of RFC 4514 section 3, and `SERIALNUMBER`. Names are compared without case.
const ATTRIBUTE_NAMES: [(&str, ObjectIdentifier); 10] = [
    ("CN", COMMON_NAME),
    ("L", LOCALITY),
    ("ST", PROVINCE),
    ("O", ORGANIZATION),
    ("OU", ORGANIZATIONAL_UNIT),
    ("C", COUNTRY),
    ("STREET", STREET_ADDRESS),
    ("DC", DOMAIN_COMPONENT),
    ("UID", USER_ID),
    ("SERIALNUMBER", SERIAL_NUMBER),
];

/// The attributes of a distinguished name that Certificate resources have fields for, apart from the common name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    pub countries: Vec<String>,
    pub localities: Vec<String>,
    pub organizational_units: Vec<String>,
    pub organizations: Vec<String>,
    pub postal_codes: Vec<String>,
    pub provinces: Vec<String>,
    pub serial_number: Option<String>,
    pub street_addresses: Vec<String>,
}

impl Subject {
    /// Reads the attributes from a distinguished name; attributes without a field are left out.
    pub(super) fn from_name(name: &Name) -> Self {
        Self {
            countries: values(name, COUNTRY),
            localities: values(name, LOCALITY),
            organizational_units: values(name, ORGANIZATIONAL_UNIT),
            organizations: values(name, ORGANIZATION),
            postal_codes: values(name, POSTAL_CODE),
            provinces: values(name, PROVINCE),
            serial_number: values(name, SERIAL_NUMBER).pop(),
            street_addresses: values(name, STREET_ADDRESS),
        }
    }

    /// The same with the values of each attribute in order and without repetitions: an RDN is a set.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        for values in [
            &mut self.countries,
            &mut self.localities,
            &mut self.organizational_units,
            &mut self.organizations,
            &mut self.postal_codes,
            &mut self.provinces,
            &mut self.street_addresses,
        ] {
            values.sort_unstable();
            values.dedup();
        }
        self.serial_number = self.serial_number.filter(|number| !number.is_empty());
        self
    }

    /// The distinguished name with these attributes and a common name. Several values of one attribute form one
    /// multi-valued RDN, in the order that X.509 libraries commonly use.
    pub(super) fn to_name(&self, common_name: Option<&str>) -> Result<Name, Error> {
        let one =
            |value: Option<&str>| value.filter(|v| !v.is_empty()).map(str::to_owned).into_iter().collect::<Vec<_>>();
        let attributes = [
            (COUNTRY, self.countries.clone()),
            (ORGANIZATION, self.organizations.clone()),
            (ORGANIZATIONAL_UNIT, self.organizational_units.clone()),
            (LOCALITY, self.localities.clone()),
            (PROVINCE, self.provinces.clone()),
            (STREET_ADDRESS, self.street_addresses.clone()),
            (POSTAL_CODE, self.postal_codes.clone()),
            (COMMON_NAME, one(common_name)),
            (SERIAL_NUMBER, one(self.serial_number.as_deref())),
        ];
        let mut rdns = Vec::new();
        for (oid, mut values) in attributes {
            values.sort_unstable();
            values.dedup();
            if values.is_empty() {
                continue;
            }
            let values = values.iter().map(|value| attribute(oid, value)).collect::<Result<Vec<_>, _>>()?;
            rdns.push(RelativeDistinguishedName::try_from(values).map_err(encode)?);
        }
        name_of(rdns)
    }
}

/// The common name of a distinguished name: the last one, if there are several.
pub fn common_name(name: &Name) -> Option<String> {
    common_names(name).pop()
}

/// All of them, in their order.
pub(super) fn common_names(name: &Name) -> Vec<String> {
    values(name, COMMON_NAME)
}

/// How many common names there are, also such that cannot be read.
pub(super) fn common_name_count(name: &Name) -> usize {
    name.iter().filter(|attribute| attribute.oid == COMMON_NAME).count()
}

/// Whether a distinguished name in DER is what `spec.literalSubject` says. Values of one RDN may stand in any order.
pub fn is_literal(text: &str, subject_der: &[u8]) -> bool {
    let der = |name: Name| name.to_der().ok();
    let wanted = parse_literal(text).ok().and_then(der);
    wanted.is_some() && wanted == Name::from_der(subject_der).ok().and_then(der)
}

/// Reads a distinguished name as in `spec.literalSubject` (RFC 4514): `CN=example.com,OU=a+OU=b,O=Example\, Inc.`. Spaces
/// around separators are ignored. The last RDN of the text becomes the first of the name.
///
/// # Errors
/// [`Error::Subject`] with what is wrong.
pub fn parse_literal(text: &str) -> Result<Name, Error> {
    let fail = |problem: String| Error::Subject { subject: text.to_owned(), problem };
    let mut rdns = Vec::new();
    for rdn in split_unescaped(text, b',') {
        let mut attributes = RelativeDistinguishedName::default();
        for attribute in split_unescaped(rdn, b'+') {
            let attribute = literal_attribute(attribute).map_err(fail)?;
            if attributes.iter().any(|known| *known == attribute) {
                return Err(fail("an attribute appears twice with the same value".to_owned()));
            }
            attributes.insert(attribute).map_err(encode)?;
        }
        rdns.push(attributes);
    }
    rdns.reverse();
    name_of(rdns)
}

fn name_of(rdns: Vec<RelativeDistinguishedName>) -> Result<Name, Error> {
    // A `Name` is only made by decoding.
    let der = RdnSequence::from(rdns).to_der().map_err(encode)?;
    Name::from_der(&der).map_err(encode)
}

fn encode(source: x509_cert::der::Error) -> Error {
    Error::Encode { what: "subject", source }
}

/// RFC 5280 4.1.2.4 wants PrintableString or UTF8String; RFC 4519 2.4 wants IA5String for domain components.
fn attribute(oid: ObjectIdentifier, value: &str) -> Result<AttributeTypeAndValue, Error> {
    let any = if oid == DOMAIN_COMPONENT {
        Ia5StringRef::new(value).and_then(|text| Any::encode_from(&text))
    } else if let Ok(text) = PrintableStringRef::new(value) {
        Any::encode_from(&text)
    } else {
        Utf8StringRef::new(value).and_then(|text| Any::encode_from(&text))
    };
    Ok(AttributeTypeAndValue { oid, value: any.map_err(encode)? })
}

fn values(name: &Name, oid: ObjectIdentifier) -> Vec<String> {
    name.iter().filter(|attribute| attribute.oid == oid).filter_map(|attribute| text(&attribute.value)).collect()
}

fn text(value: &Any) -> Option<String> {
    if let Ok(text) = value.decode_as::<Ia5StringRef<'_>>() {
        return Some(text.as_str().to_owned());
    }
    DirectoryString::try_from(value).ok().map(|text| text.value().into_owned())
}

/// Splits at every separator that no backslash escapes.
fn split_unescaped(text: &str, separator: u8) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, byte) in text.bytes().enumerate() {
        if escaped {
            escaped = false;
        } else if byte == b'\\' {
            escaped = true;
        } else if byte == separator {
            parts.push(&text[start..index]);
            start = index + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

fn literal_attribute(text: &str) -> Result<AttributeTypeAndValue, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("\"{}\" has no equals sign", text.trim()))?;
    let oid = attribute_type(name.trim())?;
    let value = trim_unescaped(value);
    if let Some(hex) = value.strip_prefix('#') {
        let der = decode_hex(hex).ok_or_else(|| format!("\"{value}\" is not hexadecimal"))?;
        let value = Any::from_der(&der).map_err(|error| format!("\"{value}\" is not DER: {error}"))?;
        return Ok(AttributeTypeAndValue { oid, value });
    }
    let value = unescape(value)?;
    if value.is_empty() {
        return Err(format!("the attribute {} is empty", name.trim()));
    }
    attribute(oid, &value).map_err(|error| error.to_string())
}

fn attribute_type(name: &str) -> Result<ObjectIdentifier, String> {
    if let Some((_, oid)) = ATTRIBUTE_NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Ok(*oid);
    }
    ObjectIdentifier::new(name).map_err(|_| {
        let known: Vec<_> = ATTRIBUTE_NAMES.iter().map(|(known, _)| *known).collect();
        format!("\"{name}\" is not a known attribute; use {} or a dotted object identifier", known.join(", "))
    })
}

/// Removes spaces at both ends, but not a last one that is escaped.
fn trim_unescaped(value: &str) -> &str {
    let value = value.trim_start_matches(' ');
    let trimmed = value.trim_end_matches(' ');
    let backslashes = trimmed.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if backslashes % 2 == 1 && trimmed.len() < value.len() { &value[..=trimmed.len()] } else { trimmed }
}

/// Undoes `\,` and `\C3\BC` (RFC 4514 2.4).
fn unescape(value: &str) -> Result<String, String> {
    let mut result = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            result.push(byte);
            continue;
        }
        let first = bytes.next().ok_or_else(|| format!("\"{value}\" ends with a backslash"))?;
        if first.is_ascii_hexdigit() {
            let pair = [first, bytes.next().unwrap_or_default()];
            let pair = std::str::from_utf8(&pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
            result.push(pair.ok_or_else(|| format!("\"{value}\" has an incomplete hexadecimal escape"))?);
        } else if b" \"#+,;<=>\\".contains(&first) {
            result.push(first);
        } else {
            return Err(format!("\"{value}\" escapes the character {:?}, which needs none", char::from(first)));
        }
    }
    String::from_utf8(result).map_err(|_| format!("\"{value}\" is not UTF-8 after undoing its escapes"))
}

fn decode_hex(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed() -> Subject {
        Subject {
            countries: vec!["DE".into()],
            localities: vec!["Köln".into()],
            organizational_units: vec!["A".into(), "B".into()],
            organizations: vec!["Example, Inc.".into()],
            postal_codes: vec!["50667".into()],
            provinces: vec!["NW".into()],
            serial_number: Some("42".into()),
            street_addresses: vec!["Domkloster 4".into()],
        }
    }

    #[test]
    fn typed_subjects_survive_encoding() {
        let name = typed().to_name(Some("example.com")).unwrap();
        assert_eq!(Subject::from_name(&name), typed());
        assert_eq!(common_name(&name).unwrap(), "example.com");
        assert_eq!(name.iter_rdn().count(), 9);
    }

    #[test]
    fn an_empty_subject_has_no_rdn() {
        assert!(Subject::default().to_name(None).unwrap().is_empty());
        assert!(Subject::default().to_name(Some("")).unwrap().is_empty());
    }

    #[test]
    fn literals_are_reversed_into_the_rdn_sequence() {
        let name = parse_literal("CN=example.com, OU=b + OU=a,O=Example\\, Inc.,C=DE").unwrap();
        let oids: Vec<_> = name.iter().map(|attribute| attribute.oid).collect();
        assert_eq!(oids, [COUNTRY, ORGANIZATION, ORGANIZATIONAL_UNIT, ORGANIZATIONAL_UNIT, COMMON_NAME]);
        assert_eq!(name.iter_rdn().count(), 4);
        assert_eq!(Subject::from_name(&name).organizations, ["Example, Inc."]);
    }

    /// The examples of RFC 4514 section 4.
    #[test]
    fn the_rfc_examples_are_read() {
        for (text, oid, value) in [
            ("UID=jsmith,DC=example,DC=net", USER_ID, "jsmith"),
            ("OU=Sales+CN=J.  Smith,DC=example,DC=net", COMMON_NAME, "J.  Smith"),
            (r#"CN=James \"Jim\" Smith\, III,DC=example,DC=net"#, COMMON_NAME, r#"James "Jim" Smith, III"#),
            (r"CN=Before\0dAfter,DC=example,DC=net", COMMON_NAME, "Before\rAfter"),
            (r"CN=Lu\C4\8Di\C4\87", COMMON_NAME, "Lučić"),
        ] {
            assert_eq!(values(&parse_literal(text).unwrap(), oid), [value], "{text}");
        }
        let name = parse_literal("1.3.6.1.4.1.1466.0=#04024869").unwrap();
        assert_eq!(name.iter().next().unwrap().value.value(), b"Hi");
    }

    #[test]
    fn escaped_spaces_at_the_end_stay() {
        assert_eq!(common_name(&parse_literal(r"CN= a\  ,C=DE").unwrap()).unwrap(), "a ");
        assert_eq!(common_name(&parse_literal(r"CN=a\\  ,C=DE").unwrap()).unwrap(), r"a\");
    }

    #[test]
    fn bad_literals_say_why() {
        for (text, part) in [
            ("CN", "has no equals sign"),
            ("", "has no equals sign"),
            ("CN=a,,C=DE", "has no equals sign"),
            ("FOO=a", "is not a known attribute"),
            ("CN=", "is empty"),
            (r"CN=a\", "ends with a backslash"),
            (r"CN=\zz", "needs none"),
            (r"CN=\0", "incomplete"),
            (r"CN=\ff", "UTF-8"),
            ("CN=#0g", "hexadecimal"),
            ("CN=a+CN=a", "twice"),
        ] {
            let message = parse_literal(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    proptest! {
        /// x509-cert writes names by RFC 4514 on its own; what it writes, we read.
        #[test]
        fn written_names_are_read_back(cn in "[ -~äß]{1,20}", ou in "[ -~]{1,20}", o in "\\PC{1,10}") {
            let subject =
                Subject { organizational_units: vec![ou], organizations: vec![o], ..Subject::default() };
            let name = subject.to_name(Some(&cn)).unwrap();
            prop_assert_eq!(parse_literal(&name.to_string()).unwrap(), name);
        }

        #[test]
        fn any_text_is_judged_without_panic(text in "\\PC{0,60}") {
            let _ = parse_literal(&text);
        }
    }
}
