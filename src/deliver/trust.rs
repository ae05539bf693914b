//! Whose certificates a receiver may show: those of the authorities that all the world trusts, or of one's own in their place.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lettre::transport::smtp::client::{Certificate as MailCertificate, CertificateStore, TlsParameters};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::error::{Error, Kind, Result};

/// Largest file of certificates.
const LARGEST: u64 = 1 << 20;

/// The authorities that are trusted: the well-known ones, or those of a file alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust(Option<Vec<Certificate<'static>>>);

impl Trust {
    /// The certificates in a PEM file; without a path, the well-known authorities.
    pub(super) fn read(path: &str) -> Result<Self> {
        if path.is_empty() {
            return Ok(Self(None));
        }
        let path = Path::new(path);
        let failed = |e| Error::io(Kind::Config, "read the certificates in", path, e);
        let mut pem = Vec::new();
        File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut pem)).map_err(failed)?;
        // One that cannot be read may be the one that is needed.
        let items: Option<Vec<PemItem<'static>>> = parse_pem(&pem).map(std::result::Result::ok).collect();
        let certificates: Vec<_> = items
            .into_iter()
            .flatten()
            .filter_map(|item| if let PemItem::Certificate(found) = item { Some(found) } else { None })
            .collect();
        // One that the mail library cannot use must not be found out when the first letter leaves.
        let usable = |c: &Certificate<'_>| mail_parameters("localhost", std::slice::from_ref(c)).is_ok();
        if pem.len() as u64 > LARGEST || certificates.is_empty() || !certificates.iter().all(usable) {
            let message = format!(
                "{}: expected certificates of authorities as PEM, at most 1 MB, found something else",
                path.display()
            );
            return Err(Error::new(Kind::Config, message));
        }
        Ok(Self(Some(certificates)))
    }

    /// For HTTPS.
    pub(super) fn https(&self) -> TlsConfig {
        let builder = TlsConfig::builder();
        match &self.0 {
            Some(certificates) => builder.root_certs(RootCerts::new_with_certs(certificates)).build(),
            None => builder.build(),
        }
    }

    /// For mail to `host`; none if no certificate can be for such a name.
    pub(super) fn mail(&self, host: &str) -> std::result::Result<TlsParameters, lettre::transport::smtp::Error> {
        match &self.0 {
            Some(certificates) => mail_parameters(host, certificates),
            None => TlsParameters::new(host.to_owned()),
        }
    }
}

fn mail_parameters(
    host: &str,
    certificates: &[Certificate<'_>],
) -> std::result::Result<TlsParameters, lettre::transport::smtp::Error> {
    let builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
    let add = |builder: lettre::transport::smtp::client::TlsParametersBuilder, c: &Certificate<'_>| {
        Ok(builder.add_root_certificate(MailCertificate::from_der(c.der().to_vec())?))
    };
    certificates.iter().try_fold(builder, add)?.build()
}
