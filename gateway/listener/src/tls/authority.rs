//! Certificates that are made here: self-signed ones, and those of an authority of the operator's own.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::TlsError;

/// How long a certificate made here lasts: nobody renews it, and whoever relies on it relies on it alone.
const VALIDITY: Duration = Duration::days(3650);

/// How far clocks of clients may be behind.
const CLOCK_SLACK: Duration = Duration::days(1);

/// A certificate and its key, both in PEM form.
pub struct Made {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// An authority with one certificate for an agent and one for a gateway that asks it.
pub struct CertificateSet {
    /// The authority itself.
    pub authority: Made,
    /// The agent's, for its gRPC listener.
    pub agent: Made,
    /// The gateway's, to show to the agent.
    pub gateway: Made,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

/// A certificate that vouches for itself.
pub(super) fn self_signed(names: Vec<String>, role: Role) -> Result<Made, TlsError> {
    let parameters = parameters(names, "Portmeter", role)?;
    let key = KeyPair::generate().map_err(|error| not_made(&error))?;
    let certificate = parameters.self_signed(&key).map_err(|error| not_made(&error))?;
    Ok(Made {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// Makes an authority and what it vouches for: an agent of these names and addresses, and a gateway.
pub fn make_set(agent_names: Vec<String>) -> Result<CertificateSet, TlsError> {
    let key = KeyPair::generate().map_err(|error| not_made(&error))?;
    let mut own = parameters(Vec::new(), "Portmeter authority", Role::Server)?;
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    own.extended_key_usages.clear();
    own.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = key.serialize_pem();
    let issuer = CertifiedIssuer::self_signed(own, key).map_err(|error| not_made(&error))?;
    let issue = |names, common_name, role| -> Result<Made, TlsError> {
        let key = KeyPair::generate().map_err(|error| not_made(&error))?;
        let mut parameters = parameters(names, common_name, role)?;
        parameters.use_authority_key_identifier_extension = true;
        let certificate = parameters.signed_by(&key, &issuer).map_err(|error| not_made(&error))?;
        Ok(Made {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    };
    Ok(CertificateSet {
        agent: issue(agent_names, "Portmeter agent", Role::Server)?,
        gateway: issue(Vec::new(), "Portmeter gateway", Role::Client)?,
        authority: Made {
            certificate: issuer.pem(),
            key: authority_key,
        },
    })
}

fn parameters(names: Vec<String>, common_name: &str, role: Role) -> Result<CertificateParams, TlsError> {
    for name in &names {
        CertificateParams::new(vec![name.clone()]).map_err(|_| TlsError::Name(name.clone()))?;
    }
    let mut parameters = CertificateParams::new(names).map_err(|error| not_made(&error))?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    parameters.distinguished_name = subject;
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - CLOCK_SLACK;
    parameters.not_after = now + VALIDITY;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![match role {
        Role::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Role::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    Ok(parameters)
}

fn not_made(error: &rcgen::Error) -> TlsError {
    TlsError::NotMade {
        path: "of this server".into(),
        why: error.to_string(),
    }
}
