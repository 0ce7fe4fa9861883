//! From flags, variables and the file to one coordinator and one certificate.

use std::path::{Path, PathBuf};

use dr_proto::tls::{Address, Files};

use super::{Context, Contexts, Error};

/// What flags and variables say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// The file with contexts.
    pub(crate) config: Option<PathBuf>,
    /// A context by name.
    pub(crate) context: Option<String>,
    /// Endpoints, instead of the context's.
    pub(crate) endpoints: Vec<String>,
    /// Instead of the context's.
    pub(crate) certificate: Option<PathBuf>,
    /// Instead of the context's.
    pub(crate) private_key: Option<PathBuf>,
    /// Instead of the context's.
    pub(crate) trust_bundle: Option<PathBuf>,
}

/// Where to dial, and who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The context's name, if one was used.
    pub(crate) context: Option<String>,
    /// Tried in order.
    pub(crate) endpoints: Vec<Address>,
    /// Certificate, key and roots.
    pub(crate) files: Files,
}

/// Where the file with contexts lies.
pub(crate) fn locate(wanted: &Wanted, variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Error> {
    if let Some(path) = &wanted.config {
        return Ok(path.clone());
    }
    let folder = variable("XDG_CONFIG_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| home.join(".config")))
        .ok_or(Error::NoHome)?;
    Ok(folder.join("drctl/config.toml"))
}

/// Each value from the flag, else from the chosen context, else from the current one.
pub(crate) fn resolve(wanted: &Wanted, contexts: &Contexts, path: &Path) -> Result<Resolved, Error> {
    let name = wanted.context.as_ref().or(contexts.current.as_ref());
    let complete = !wanted.endpoints.is_empty()
        && wanted.certificate.is_some()
        && wanted.private_key.is_some()
        && wanted.trust_bundle.is_some();
    let context = match name {
        // Flags that say everything need no context, and a dangling `current` must not stand in their way.
        None => None,
        Some(_) if complete && wanted.context.is_none() => None,
        Some(name) => Some((name, contexts.get(name, path)?)),
    };
    let file = |given: &Option<PathBuf>, of: fn(&Context) -> &PathBuf, what, flag| {
        given
            .clone()
            .or_else(|| context.map(|(_, context)| absolute(of(context), path)))
            .ok_or(Error::Missing { what, flag })
    };
    let endpoints = endpoints(wanted, context.map(|(name, context)| (name.as_str(), context)))?;
    Ok(Resolved {
        context: context.map(|(name, _)| name.clone()),
        endpoints,
        files: Files {
            certificate: file(
                &wanted.certificate,
                |context| &context.certificate,
                "your certificate",
                "--certificate",
            )?,
            private_key: file(
                &wanted.private_key,
                |context| &context.private_key,
                "the certificate's key",
                "--private-key",
            )?,
            trust_bundle: file(
                &wanted.trust_bundle,
                |context| &context.trust_bundle,
                "the trust bundle",
                "--trust-bundle",
            )?,
        },
    })
}

/// A path in the file is relative to the file.
fn absolute(file: &Path, config: &Path) -> PathBuf {
    config
        .parent()
        .map_or_else(|| file.to_owned(), |folder| folder.join(file))
}

fn endpoints(wanted: &Wanted, context: Option<(&str, &Context)>) -> Result<Vec<Address>, Error> {
    let (from, texts) = match context {
        _ if !wanted.endpoints.is_empty() => ("--endpoint or DRCTL_ENDPOINT".to_owned(), &wanted.endpoints),
        Some((name, context)) => (format!("context `{name}`"), &context.endpoints),
        None => {
            return Err(Error::Missing {
                what: "the coordinator's endpoint",
                flag: "--endpoint",
            });
        }
    };
    texts
        .iter()
        .map(|text| {
            text.trim().parse().map_err(|source| Error::Endpoint {
                from: from.clone(),
                source,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn contexts() -> Contexts {
        let context = |endpoint: &str| Context {
            endpoints: vec![endpoint.to_owned()],
            certificate: "ana.pem".into(),
            private_key: "/keys/ana.key".into(),
            trust_bundle: "ca.pem".into(),
        };
        Contexts {
            current: Some("prod".to_owned()),
            context: BTreeMap::from([
                ("prod".to_owned(), context("https://prod:1")),
                ("test".to_owned(), context("https://test:2")),
            ]),
        }
    }

    #[test]
    fn flags_go_before_the_context_one_by_one() {
        let path = Path::new("/home/ana/.config/drctl/config.toml");
        let wanted = Wanted {
            context: Some("test".to_owned()),
            trust_bundle: Some("other.pem".into()),
            ..Wanted::default()
        };
        let resolved = resolve(&wanted, &contexts(), path).unwrap();
        assert_eq!(resolved.context.as_deref(), Some("test"));
        assert_eq!(resolved.endpoints[0].to_string(), "https://test:2");
        assert_eq!(
            resolved.files.certificate,
            Path::new("/home/ana/.config/drctl/ana.pem")
        );
        assert_eq!(resolved.files.private_key, Path::new("/keys/ana.key"));
        assert_eq!(resolved.files.trust_bundle, Path::new("other.pem"));
    }

    #[test]
    fn what_is_missing_is_named_with_its_flag() {
        let error = resolve(&Wanted::default(), &Contexts::default(), Path::new("c")).unwrap_err();
        assert!(error.to_string().contains("--endpoint"), "{error}");
        let wanted = Wanted {
            endpoints: vec!["https://a".to_owned()],
            ..Wanted::default()
        };
        let error = resolve(&wanted, &Contexts::default(), Path::new("c")).unwrap_err();
        assert!(error.to_string().contains("--certificate"), "{error}");
    }

    #[test]
    fn an_unknown_context_names_those_there_are() {
        let wanted = Wanted {
            context: Some("prdo".to_owned()),
            ..Wanted::default()
        };
        let error = resolve(&wanted, &contexts(), Path::new("c")).unwrap_err();
        assert_eq!(error.hints(), ["known contexts: prod, test"]);
    }

    #[test]
    fn the_file_lies_where_the_user_keeps_configuration() {
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/ana"));
        let path = locate(&Wanted::default(), home).unwrap();
        assert_eq!(path, Path::new("/home/ana/.config/drctl/config.toml"));
        assert!(matches!(locate(&Wanted::default(), |_| None), Err(Error::NoHome)));
    }
}
