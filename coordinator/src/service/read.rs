//! Requests of operators, as handles take them. Whatever a field can not be is told by its name.

use std::collections::BTreeSet;
use std::time::Duration;

use dr_proto::model::expected::{self, ExpectedHost};
use dr_proto::model::{HostName, Labels, Selector, Work};
use dr_proto::{v1, wire};

use crate::handle::{AdHoc, Error, Hosts};

/// A host's name.
pub(super) fn host(field: &'static str, text: &str) -> Result<HostName, Error> {
    text.parse()
        .map_err(|error: dr_proto::model::ParseHostError| invalid(field, error.to_string()))
}

/// A host's name, or none if the text is empty.
pub(super) fn maybe_host(field: &'static str, text: &str) -> Result<Option<HostName>, Error> {
    if text.is_empty() {
        Ok(None)
    } else {
        host(field, text).map(Some)
    }
}

/// A selector; an empty text picks all.
pub(super) fn selector(field: &'static str, text: &str) -> Result<Selector, Error> {
    if text.trim().is_empty() {
        return Ok(Selector::all());
    }
    text.parse()
        .map_err(|error: dr_proto::model::SelectorError| invalid(field, error.to_string()))
}

/// Labels.
pub(super) fn labels(
    field: &'static str,
    labels: std::collections::HashMap<String, String>,
) -> Result<Labels, Error> {
    let sorted: std::collections::BTreeMap<String, String> = labels.into_iter().collect();
    Labels::try_from(sorted).map_err(|error| invalid(field, error.to_string()))
}

/// The list of hosts that should be there.
pub(super) fn expected(
    field: &'static str,
    hosts: Vec<v1::ExpectedHost>,
) -> Result<Vec<ExpectedHost>, Error> {
    if hosts.is_empty() || hosts.len() > expected::MOST {
        let reason = format!(
            "it names {} hosts; 1 to {} are taken",
            hosts.len(),
            expected::MOST
        );
        return Err(invalid(field, reason));
    }
    let mut seen = BTreeSet::new();
    let mut read = Vec::with_capacity(hosts.len());
    for v1::ExpectedHost {
        host: name,
        labels: of,
    } in hosts
    {
        let host = host(field, &name)?;
        if !seen.insert(host.clone()) {
            return Err(invalid(field, format!("{host} is named twice")));
        }
        let labels = labels(field, of)?;
        read.push(ExpectedHost { host, labels });
    }
    Ok(read)
}

/// A length of time that must not be negative, if it is there.
pub(super) fn length(
    field: &'static str,
    value: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Error> {
    value
        .map(|value| Duration::try_from(value).map_err(|error| invalid(field, error.to_string())))
        .transpose()
}

/// Text within the bounds of one field.
pub(super) fn text(field: &'static str, text: String) -> Result<String, Error> {
    if text.len() > wire::limits::TEXT {
        return Err(invalid(
            field,
            format!(
                "it has {} bytes, at most {} are taken",
                text.len(),
                wire::limits::TEXT
            ),
        ));
    }
    Ok(text)
}

/// One request of an operator.
pub(super) fn adhoc(request: v1::AdHoc) -> Result<AdHoc, Error> {
    let v1::AdHoc {
        hosts,
        work,
        deadline,
        reason,
    } = request;
    let hosts = match hosts {
        Some(v1::ad_hoc::Hosts::Host(name)) => Hosts::One(host("ad_hoc.host", &name)?),
        Some(v1::ad_hoc::Hosts::Select(text)) if text.trim().is_empty() => {
            return Err(invalid(
                "ad_hoc.select",
                "nothing is named; `*` picks all hosts".to_owned(),
            ));
        }
        Some(v1::ad_hoc::Hosts::Select(text)) => Hosts::Select(selector("ad_hoc.select", &text)?),
        None => return Err(wire::Error::Missing("ad_hoc.hosts".to_owned()).into()),
    };
    let work = work.ok_or_else(|| wire::Error::Missing("ad_hoc.work".to_owned()))?;
    Ok(AdHoc {
        hosts,
        work: Work::try_from(work).map_err(|error| error.within("ad_hoc.work"))?,
        deadline: length("ad_hoc.deadline", deadline)?,
        reason: text("ad_hoc.reason", reason)?,
    })
}

fn invalid(field: &'static str, reason: String) -> Error {
    Error::Invalid { field, reason }
}
