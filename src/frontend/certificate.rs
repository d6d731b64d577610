//! The names in a client's certificate, as accounts' REQUIRE SUBJECT and ISSUER write them.
//!
//! Owns: from DER (X.501 Name, RFC 5280 section 4.1.2.4) to text. Does not know: whether the certificate is to be
//! believed; rustls has verified it. Invariant: the text is OpenSSL's `X509_NAME_oneline`, which servers compare.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::config::Require;
use crate::wire::stream::Stream;

/// Whom a verified certificate names, and who says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// Such as `/C=SE/O=Example/CN=client`.
    pub subject: String,
    /// The authority that signed it.
    pub issuer: String,
}

impl Certificate {
    /// The certificate that the client has shown, if it has shown one.
    pub(super) fn of(stream: &Stream) -> Option<Self> {
        let tls = stream.tls()?;
        Self::read(tls.get_ref().1.peer_certificates()?.first()?)
    }

    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = EndEntityCert::try_from(der).ok()?;
        Some(Self { subject: one_line(certificate.subject())?, issuer: one_line(certificate.issuer())? })
    }

    /// Whether it is what an account asks for.
    pub(super) fn satisfies(&self, subject: Option<&str>, issuer: Option<&str>) -> bool {
        subject.is_none_or(|subject| subject == self.subject)
            && issuer.is_none_or(|issuer| issuer == self.issuer)
    }
}

/// Whether a client that uses TLS or not, and has shown this certificate or none, may use the account.
pub(super) fn is_met(require: &Require, tls: bool, certificate: Option<&Certificate>) -> bool {
    match require {
        Require::Nothing => true,
        Require::Tls => tls,
        Require::Certificate { subject, issuer } => {
            certificate.is_some_and(|shown| shown.satisfies(subject.as_deref(), issuer.as_deref()))
        }
    }
}

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
/// Strings of two and of four bytes for each character: their zero bytes are left out.
const WIDE_STRINGS: [u8; 2] = [0x1e, 0x1c];

/// Attribute types with OpenSSL's short names; others show as numbers.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// `/C=SE/CN=client` from the relative names that a Name's sequence holds.
fn one_line(mut names: &[u8]) -> Option<String> {
    let mut line = String::new();
    while !names.is_empty() {
        let (mut set, rest) = element(names, SET)?;
        names = rest;
        while !set.is_empty() {
            let (attribute, rest) = element(set, SEQUENCE)?;
            set = rest;
            let (object, value) = element(attribute, OBJECT)?;
            let (tag, value, _) = any_element(value)?;
            let number = dotted(object)?;
            let known = SHORT_NAMES.iter().find(|(dotted, _)| *dotted == number);
            let _ = write!(line, "/{}=", known.map_or(&*number, |(_, name)| name));
            let wide = WIDE_STRINGS.contains(&tag);
            for byte in value.iter().filter(|byte| !wide || **byte != 0) {
                match byte {
                    b' '..=b'~' => line.push(char::from(*byte)),
                    _ => drop(write!(line, "\\x{byte:02X}")),
                }
            }
        }
    }
    Some(line)
}

/// The content of the first element, which must have this tag, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    any_element(der).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// Tag and content of the first element, and what is behind it.
fn any_element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// An object identifier in numbers.
fn dotted(object: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    let mut number = 0_u64;
    for byte in object {
        number = number.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let (first, rest) = numbers.split_first()?;
    let arc = (first / 40).min(2);
    let mut text = format!("{arc}.{}", first - arc * 40);
    for number in rest {
        let _ = write!(text, ".{number}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(names: Vec<(DnType, DnValue)>) -> Certificate {
        let mut parameters = CertificateParams::new(vec!["client".into()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        names.into_iter().for_each(|(kind, value)| parameters.distinguished_name.push(kind, value));
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::read(certificate.der()).unwrap()
    }

    #[test]
    fn names_are_written_as_openssl_writes_them() {
        let found = certificate(vec![
            (DnType::CountryName, DnValue::PrintableString("SE".try_into().unwrap())),
            (DnType::OrganizationName, DnValue::Utf8String("Exämple, Inc/x".into())),
            (DnType::CommonName, DnValue::BmpString("wide".try_into().unwrap())),
            (DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), DnValue::Utf8String("a@b".into())),
            (DnType::CustomDnType(vec![2, 999, 3]), DnValue::Utf8String("own".into())),
        ]);
        // By `openssl x509 -nameopt compat -subject` of such a certificate.
        assert_eq!(found.subject, "/C=SE/O=Ex\\xC3\\xA4mple, Inc/x/CN=wide/emailAddress=a@b/2.999.3=own");
        assert_eq!(found.issuer, found.subject);
    }

    #[test]
    fn what_is_required_is_compared_whole() {
        let shown = Certificate { subject: "/CN=client".into(), issuer: "/CN=CA".into() };
        let require = |subject: Option<&str>, issuer: Option<&str>| Require::Certificate {
            subject: subject.map(Into::into),
            issuer: issuer.map(Into::into),
        };
        for (asked, met) in [
            (Require::Tls, true),
            (require(None, None), true),
            (require(Some("/CN=client"), None), true),
            (require(Some("/CN=client"), Some("/CN=CA")), true),
            (require(Some("/CN=client"), Some("/CN=other")), false),
            (require(Some("/CN=clien"), None), false),
            (require(None, Some("/CN=ca")), false),
        ] {
            assert_eq!(is_met(&asked, true, Some(&shown)), met, "{asked:?}");
            assert_eq!(is_met(&asked, true, None), asked == Require::Tls, "{asked:?} without one");
            assert!(!is_met(&asked, false, None), "{asked:?} without TLS");
        }
        assert!(is_met(&Require::Nothing, false, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = one_line(&bytes);
            let _ = dotted(&bytes);
        }
    }
}
