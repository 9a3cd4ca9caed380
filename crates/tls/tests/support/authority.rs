//! Certificates of every kind, made as they are needed.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// Somebody who vouches for certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What an authority is to sign.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wish<'a> {
    pub(crate) names: &'a [&'a str],
    pub(crate) rsa: bool,
    pub(crate) expired: bool,
    pub(crate) future: bool,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) der: Vec<u8>,
    serial: SerialNumber,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // By its name a verifier finds the issuer.
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// An ECDSA certificate for the names.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_as(Wish { names, ..Wish::default() })
    }

    pub(crate) fn issue_as(&self, wish: Wish<'_>) -> Issued {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let names: Vec<String> = wish.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let serial = SerialNumber::from(SERIAL.fetch_add(1, Ordering::Relaxed));
        params.serial_number = Some(serial.clone());
        if wish.expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        if wish.future {
            params.not_before = date_time_ymd(2900, 1, 1);
        }
        let algorithm = match wish.rsa {
            true => &rcgen::PKCS_RSA_SHA256,
            false => &rcgen::PKCS_ECDSA_P256_SHA256,
        };
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let der = cert.der().to_vec();
        Issued { cert: cert.pem(), key: key.serialize_pem(), der, serial }
    }

    /// The list of what it has revoked.
    pub(crate) fn revoke(&self, issued: &[&Issued]) -> String {
        let revoked = |issued: &&Issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2900, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: issued.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}
