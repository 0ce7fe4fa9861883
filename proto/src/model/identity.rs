//! Who somebody is: the SPIFFE URI that certificates carry.

use std::fmt;
use std::str::FromStr;

use super::HostName;

/// The longest trust domain that SPIFFE allows.
const LONGEST_DOMAIN: usize = 255;

/// What somebody may be to the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The agent of one host.
    Agent,
    /// May change things.
    Operator,
    /// May look.
    Viewer,
    /// A coordinator.
    Coordinator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Operator, Self::Viewer, Self::Coordinator];

    /// The word in the URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::Coordinator => "coordinator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| ParseIdentityError::Role(text.to_owned()))
    }
}

/// A trust domain: everybody whose certificates name it belongs to one fleet.
///
/// Lower-case letters, digits, `.`, `-` and `_`, at most 255.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

impl Domain {
    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
        };
        if !text.is_empty() && text.len() <= LONGEST_DOMAIN && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIdentityError::Domain(text.to_owned()))
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Somebody: `spiffe://<domain>/<role>/<name>`.
///
/// A name has the characters of a [`HostName`]: an agent's name *is* its host's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The fleet that it belongs to.
    pub domain: Domain,
    /// What it may be.
    pub role: Role,
    /// Which one.
    pub name: HostName,
}

impl Identity {
    /// The host, if this is an agent.
    pub fn host(&self) -> Option<&HostName> {
        (self.role == Role::Agent).then_some(&self.name)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.domain, self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || ParseIdentityError::Shape(text.to_owned());
        let rest = text.strip_prefix("spiffe://").ok_or_else(shape)?;
        let mut parts = rest.split('/');
        let (Some(domain), Some(role), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        Ok(Self {
            domain: domain.parse()?,
            role: role.parse()?,
            name: name
                .parse()
                .map_err(|_| ParseIdentityError::Name(name.to_owned()))?,
        })
    }
}

/// A text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdentityError {
    /// It has another form.
    #[error("`{0}` is not an identity: `spiffe://<domain>/<role>/<name>` is expected")]
    Shape(String),
    /// The trust domain has characters that it can not have.
    #[error(
        "`{0}` is not a trust domain: lower-case letters, digits, `.`, `-` and `_` are expected, at most 255"
    )]
    Domain(String),
    /// There is no such role.
    #[error("`{0}` is not a role: `agent`, `operator`, `viewer` or `coordinator` is expected")]
    Role(String),
    /// The name has characters that it can not have.
    #[error(
        "`{0}` is not a name: letters, digits, `.`, `-` and `_` are expected, at most 253, with a letter or digit at \
         both ends"
    )]
    Name(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_what_its_uri_says() {
        let uri = "spiffe://acme.example/agent/db-0042.eu";
        let identity: Identity = uri.parse().unwrap();
        assert_eq!(identity.domain.as_str(), "acme.example");
        assert_eq!(identity.role, Role::Agent);
        assert_eq!(identity.host().unwrap().as_str(), "db-0042.eu");
        assert_eq!(identity.to_string(), uri);
        let operator: Identity = "spiffe://acme.example/operator/ana".parse().unwrap();
        assert_eq!(operator.host(), None);
    }

    #[test]
    fn whatever_else_a_uri_says_is_nobody() {
        for bad in [
            "",
            "https://acme.example/agent/a",
            "spiffe://acme.example",
            "spiffe://acme.example/agent",
            "spiffe://acme.example/agent/",
            "spiffe://acme.example/agent/a/b",
            "spiffe://acme.example/agent/..",
            "spiffe://acme.example/agent/a%2fb",
            "spiffe://acme.example/agent/a?b",
            "spiffe://Acme.example/agent/a",
            "spiffe://acme.example:443/agent/a",
            "spiffe://me@acme.example/agent/a",
            "spiffe:///agent/a",
            "spiffe://acme.example/root/a",
            "spiffe://acme.example/Agent/a",
        ] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
