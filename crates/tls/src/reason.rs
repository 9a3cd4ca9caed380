//! Every way in which TLS fails, with its name.

use mainspring_loop::LayerFault;
use rustls::{
    AlertDescription as Alert, CertRevocationListError, CertificateError as Certificate, Error,
    InvalidMessage as Invalid, PeerIncompatible as Incompatible, PeerMisbehaved as Misbehaved,
};

/// A fault of this layer with a text of its own.
macro_rules! fault {
    ($reason:literal) => {{
        static FAULT: LayerFault = LayerFault::new("tls", $reason);
        &FAULT
    }};
}

/// The end of the stream came without being announced: somebody may have cut it short.
pub(crate) fn truncated() -> &'static LayerFault {
    fault!("the stream ended without close_notify")
}

/// Something was asked of a connection that has failed, or is not up.
pub(crate) fn not_open() -> &'static LayerFault {
    fault!("the handshake is not over")
}

/// The name of what went wrong. What the name leaves out is logged at debug level.
pub(crate) fn of(error: &Error) -> &'static LayerFault {
    let fault = match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(error) => of_message(error),
        Error::PeerIncompatible(error) => of_incompatible(error),
        Error::PeerMisbehaved(error) => of_misbehaved(error),
        Error::InvalidCertRevocationList(CertRevocationListError::BadSignature) => {
            fault!("a revocation list has a bad signature")
        }
        Error::InvalidCertRevocationList(_) => fault!("a revocation list cannot be used"),
        Error::NoCertificatesPresented => fault!("the peer showed no certificate"),
        Error::NoApplicationProtocol => fault!("no application protocol (ALPN) in common"),
        Error::DecryptError => fault!("a record cannot be decrypted"),
        Error::EncryptError => fault!("the keys have encrypted all that they may"),
        Error::PeerSentOversizedRecord => fault!("a record is longer than allowed"),
        Error::InappropriateMessage { .. } => fault!("a message came out of turn"),
        Error::InappropriateHandshakeMessage { .. } => {
            fault!("a handshake message came out of turn")
        }
        Error::InvalidEncryptedClientHello(_) => fault!("a bad encrypted client hello"),
        Error::UnsupportedNameType => fault!("the server name is of no supported kind"),
        Error::HandshakeNotComplete => not_open(),
        Error::FailedToGetCurrentTime => fault!("the system does not tell the time"),
        Error::FailedToGetRandomBytes => fault!("the system gives no random bytes"),
        Error::BadMaxFragmentSize => fault!("the configured fragment size is not allowed"),
        Error::InconsistentKeys(_) => fault!("the private key does not belong to the certificate"),
        Error::General(_) | Error::Other(_) => fault!("refused by the verifier or the provider"),
        _ => fault!("failed in a way that has no name here"),
    };
    tracing::debug!(%error, reason = fault.reason(), "TLS failed");
    fault
}

fn of_certificate(error: &Certificate) -> &'static LayerFault {
    match error {
        Certificate::BadEncoding => fault!("the peer's certificate is not correctly encoded"),
        Certificate::Expired | Certificate::ExpiredContext { .. } => {
            fault!("the peer's certificate has expired")
        }
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            fault!("the peer's certificate is not valid yet")
        }
        Certificate::Revoked => fault!("the peer's certificate has been revoked"),
        Certificate::UnhandledCriticalExtension => {
            fault!("the peer's certificate has an unknown critical extension")
        }
        Certificate::UnknownIssuer => {
            fault!("the peer's certificate is not from an issuer that is trusted")
        }
        Certificate::UnknownRevocationStatus => {
            fault!("nothing says whether the peer's certificate has been revoked")
        }
        Certificate::ExpiredRevocationList | Certificate::ExpiredRevocationListContext { .. } => {
            fault!("the revocation list for the peer's certificate has expired")
        }
        Certificate::BadSignature => fault!("a signature in the peer's certificates is wrong"),
        Certificate::UnsupportedSignatureAlgorithmContext { .. }
        | Certificate::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            fault!("the peer's certificate is signed by an unsupported algorithm")
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            fault!("the peer's certificate is for another name")
        }
        Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
            fault!("the peer's certificate is for another purpose")
        }
        Certificate::InvalidOcspResponse => fault!("the stapled OCSP response is invalid"),
        Certificate::ApplicationVerificationFailure => {
            fault!("the peer's certificate was refused by the verifier")
        }
        // `CaUsedAsEndEntity` and what else has no variant of its own.
        _ => fault!("the peer's certificate cannot be verified"),
    }
}

/// RFC 8446, section 6.
fn of_alert(alert: Alert) -> &'static LayerFault {
    match alert {
        Alert::CloseNotify => fault!("the peer closed during the handshake"),
        Alert::UnexpectedMessage => fault!("the peer's alert: unexpected_message"),
        Alert::BadRecordMac => fault!("the peer's alert: bad_record_mac"),
        Alert::DecryptionFailed => fault!("the peer's alert: decryption_failed"),
        Alert::RecordOverflow => fault!("the peer's alert: record_overflow"),
        Alert::DecompressionFailure => fault!("the peer's alert: decompression_failure"),
        Alert::HandshakeFailure => fault!("the peer's alert: handshake_failure"),
        Alert::NoCertificate => fault!("the peer's alert: no_certificate"),
        Alert::BadCertificate => fault!("the peer's alert: bad_certificate"),
        Alert::UnsupportedCertificate => fault!("the peer's alert: unsupported_certificate"),
        Alert::CertificateRevoked => fault!("the peer's alert: certificate_revoked"),
        Alert::CertificateExpired => fault!("the peer's alert: certificate_expired"),
        Alert::CertificateUnknown => fault!("the peer's alert: certificate_unknown"),
        Alert::IllegalParameter => fault!("the peer's alert: illegal_parameter"),
        Alert::UnknownCA => fault!("the peer's alert: unknown_ca"),
        Alert::AccessDenied => fault!("the peer's alert: access_denied"),
        Alert::DecodeError => fault!("the peer's alert: decode_error"),
        Alert::DecryptError => fault!("the peer's alert: decrypt_error"),
        Alert::ExportRestriction => fault!("the peer's alert: export_restriction"),
        Alert::ProtocolVersion => fault!("the peer's alert: protocol_version"),
        Alert::InsufficientSecurity => fault!("the peer's alert: insufficient_security"),
        Alert::InternalError => fault!("the peer's alert: internal_error"),
        Alert::InappropriateFallback => fault!("the peer's alert: inappropriate_fallback"),
        Alert::UserCanceled => fault!("the peer's alert: user_canceled"),
        Alert::NoRenegotiation => fault!("the peer's alert: no_renegotiation"),
        Alert::MissingExtension => fault!("the peer's alert: missing_extension"),
        Alert::UnsupportedExtension => fault!("the peer's alert: unsupported_extension"),
        Alert::UnrecognisedName => fault!("the peer's alert: unrecognized_name"),
        Alert::BadCertificateStatusResponse => {
            fault!("the peer's alert: bad_certificate_status_response")
        }
        Alert::UnknownPSKIdentity => fault!("the peer's alert: unknown_psk_identity"),
        Alert::CertificateRequired => fault!("the peer's alert: certificate_required"),
        Alert::NoApplicationProtocol => fault!("the peer's alert: no_application_protocol"),
        _ => fault!("the peer's alert has an unknown number"),
    }
}

fn of_message(error: &Invalid) -> &'static LayerFault {
    match error {
        Invalid::InvalidContentType => fault!("not TLS: no record begins like this"),
        Invalid::UnknownProtocolVersion => fault!("not TLS: a record of an unknown version"),
        Invalid::HandshakePayloadTooLarge | Invalid::CertificatePayloadTooLarge => {
            fault!("a handshake message is too long")
        }
        Invalid::MessageTooLarge => fault!("a record is longer than allowed"),
        Invalid::InvalidEmptyPayload | Invalid::MessageTooShort | Invalid::MissingData(_) => {
            fault!("a message is cut short")
        }
        Invalid::TrailingData(_) => fault!("a message is longer than its content"),
        Invalid::InvalidServerName => fault!("the client asks for a name that is none"),
        _ => fault!("a message is malformed"),
    }
}

fn of_incompatible(error: &Incompatible) -> &'static LayerFault {
    match error {
        Incompatible::NoCipherSuitesInCommon => fault!("no cipher suite in common"),
        Incompatible::NoKxGroupsInCommon => fault!("no key exchange group in common"),
        Incompatible::NoSignatureSchemesInCommon
        | Incompatible::NoCertificateRequestSignatureSchemesInCommon => {
            fault!("no signature scheme in common")
        }
        Incompatible::Tls12NotOffered
        | Incompatible::Tls12NotOfferedOrEnabled
        | Incompatible::ServerDoesNotSupportTls12Or13
        | Incompatible::ServerTlsVersionIsDisabledByOurConfig
        | Incompatible::SupportedVersionsExtensionRequired => {
            fault!("no version of TLS in common")
        }
        _ => fault!("the peer lacks what is needed"),
    }
}

fn of_misbehaved(error: &Misbehaved) -> &'static LayerFault {
    match error {
        Misbehaved::TooManyEmptyFragments => fault!("the peer sends empty records only"),
        Misbehaved::TooManyKeyUpdateRequests => fault!("the peer asks for too many key updates"),
        Misbehaved::TooManyRenegotiationRequests => {
            fault!("the peer asks for too many renegotiations")
        }
        Misbehaved::TooManyWarningAlertsReceived => fault!("the peer sends too many warnings"),
        Misbehaved::TooMuchEarlyDataReceived => fault!("the peer sends too much early data"),
        Misbehaved::IncorrectBinder => fault!("the peer cannot resume the session that it names"),
        Misbehaved::SelectedUnofferedApplicationProtocol => {
            fault!("the server chose an application protocol that was not offered")
        }
        Misbehaved::MessageInterleavedWithHandshakeMessage => {
            fault!("a record came inside of a handshake message")
        }
        _ => fault!("the peer breaks the rules of TLS"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_that_operators_ask_for_are_told_apart() {
        let certificate = |error| Error::InvalidCertificate(error);
        let errors = [
            (certificate(Certificate::Expired), "expired"),
            (certificate(Certificate::NotValidYet), "not valid yet"),
            (certificate(Certificate::NotValidForName), "another name"),
            (certificate(Certificate::UnknownIssuer), "issuer"),
            (certificate(Certificate::Revoked), "revoked"),
            (certificate(Certificate::InvalidPurpose), "purpose"),
            (Error::AlertReceived(Alert::UnknownCA), "unknown_ca"),
            (Error::AlertReceived(Alert::CertificateRequired), "certificate_required"),
            (Error::InvalidMessage(Invalid::InvalidContentType), "not TLS"),
            (Error::PeerIncompatible(Incompatible::Tls12NotOffered), "version"),
            (Error::NoApplicationProtocol, "ALPN"),
            (Error::NoCertificatesPresented, "no certificate"),
        ];
        for (error, word) in errors {
            let fault = of(&error);
            assert_eq!(fault.layer(), "tls");
            assert!(fault.reason().contains(word), "{error}: {}", fault.reason());
        }
    }
}
