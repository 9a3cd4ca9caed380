//! Which certificate a server shows: by the name that the client asks for.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Certificates by the names that stand in them. The first certificate is for everybody else.
pub(crate) struct Names {
    /// Names in lower case; those of wildcards without the asterisk, with the dot in front.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    all: Vec<Arc<CertifiedKey>>,
}

thread_local! {
    /// The name of the last client hello that was resolved on this thread. The unbuffered
    /// connection of rustls 0.23 does not tell it, and calls the resolver while it processes.
    static ASKED: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The name that a client has asked for on this thread since the last call.
pub(crate) fn take_asked() -> Option<Box<str>> {
    ASKED.take()
}

impl Names {
    /// `Err` with the index of a certificate that cannot be parsed.
    pub(crate) fn new(all: Vec<Arc<CertifiedKey>>) -> Result<Self, usize> {
        let mut by_name: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
        for (index, key) in all.iter().enumerate() {
            let own = key.end_entity_cert().map_err(|_| index)?;
            let own = webpki::EndEntityCert::try_from(own).map_err(|_| index)?;
            for name in own.valid_dns_names() {
                let name = name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase();
                by_name.entry(name).or_default().push(key.clone());
            }
        }
        Ok(Self { by_name, all })
    }

    /// The certificates for a name: those that name it, those with a wildcard for its first label,
    /// or all.
    fn find(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name.map(str::to_ascii_lowercase) else { return &self.all };
        let wildcard = || name.find('.').and_then(|dot| self.by_name.get(&name[dot..]));
        self.by_name.get(&name).or_else(wildcard).unwrap_or(&self.all)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        ASKED.set(name.map(Box::from));
        let found = self.find(name);
        // An RSA and an ECDSA certificate for one name: the first that the client can verify.
        let fits =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        found.iter().find(fits).or(found.first()).cloned()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}
