//! Certificate authorities of the testbed itself: one for Kubernetes, one for the server certificate of Pebble.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// An authority with its files `NAME.crt` and `NAME.key` in a folder.
pub struct Authority {
    folder: PathBuf,
    certificate_pem: String,
    certificate_file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A signed certificate and its key, both PEM, both also in files.
pub struct Signed {
    pub certificate_pem: String,
    pub key_pem: String,
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
}

impl Authority {
    /// Makes an authority with a new key; writes its files to `folder`.
    pub fn create(folder: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, format!("testbed {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        let certificate_file = write(folder, &format!("{name}.crt"), &certificate_pem)?;
        write(folder, &format!("{name}.key"), &key.serialize_pem())?;
        Ok(Self { folder: folder.to_owned(), certificate_pem, certificate_file, issuer: Issuer::new(params, key) })
    }

    /// PEM of the authority's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The file of the authority's certificate.
    pub fn certificate_file(&self) -> &Path {
        &self.certificate_file
    }

    /// A server certificate for `names`, DNS names and IP addresses.
    pub fn server(&self, file: &str, names: &[&str]) -> Result<Signed> {
        self.sign(file, file, None, names)
    }

    /// A client certificate: user name, and a group if any.
    pub fn client(&self, file: &str, user: &str, group: Option<&str>) -> Result<Signed> {
        self.sign(file, user, group, &[])
    }

    /// Makes a key pair and a certificate for it; the files are `FILE.crt` and `FILE.key`.
    fn sign(&self, file: &str, common_name: &str, organization: Option<&str>, names: &[&str]) -> Result<Signed> {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        if let Some(organization) = organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate_pem = params.signed_by(&key, &self.issuer)?.pem();
        let key_pem = key.serialize_pem();
        let certificate_file = write(&self.folder, &format!("{file}.crt"), &certificate_pem)?;
        let key_file = write(&self.folder, &format!("{file}.key"), &key_pem)?;
        Ok(Signed { certificate_pem, key_pem, certificate_file, key_file })
    }
}

/// A key pair without a certificate, for signing ServiceAccount tokens: the files `NAME.key` and `NAME.pub`.
pub fn key_pair(folder: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
    let key = KeyPair::generate()?;
    let private = write(folder, &format!("{name}.key"), &key.serialize_pem())?;
    Ok((private, write(folder, &format!("{name}.pub"), &key.public_key_pem())?))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}
