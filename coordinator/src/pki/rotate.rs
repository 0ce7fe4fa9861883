//! Replacing the root while everybody keeps working.
//!
//! # Overview
//! 1. [`start`] makes a new root and puts it into the trust bundle beside the old one, which goes on signing. Agents
//!    get the new bundle whenever they renew; the coordinator takes it at once.
//! 2. [`switch`] lets the new root sign. It refuses while an agent may still have a certificate from before the start,
//!    and with it a bundle without the new root.
//! 3. [`retire`] takes the old root out of the bundle and destroys its key. It refuses while something that the old
//!    root signed is valid.
//!
//! Each step answers with the roots as they are then. It is done when `authority.json` is written; a step that was cut
//! short is given again.

use jiff::Timestamp;

use super::authority::{Authority, make_root, write_bundle};
use super::error::Error;
use super::folder::{Folder, Phase, Root, State};

/// The role whose certificates are renewed by themselves.
const AGENT: &str = "agent";

/// Makes a new root beside the old one.
///
/// # Errors
/// When a rotation is under way, or the folder cannot be used.
pub fn start(authority: &Authority, now: Timestamp) -> Result<Vec<Root>, Error> {
    let folder = authority.folder();
    let _held = folder.hold()?;
    let mut state = folder.read()?;
    if state.roots.len() > 1 {
        return Err(Error::Turn(
            "a rotation is under way: `pki rotate switch` or `pki rotate retire` comes next",
        ));
    }
    let number = state.roots.iter().map(|root| root.number).max().unwrap_or(0) + 1;
    let mut root = make_root(folder, authority.domain(), number, Phase::Next, now)?;
    // What agents have now ends before this; what they get from now on comes with the new bundle.
    root.known_from = state
        .in_phase(Phase::Signing)
        .and_then(|signing| signing.issued_until.get(AGENT).copied());
    state.roots.push(root);
    write_bundle(folder, &state)?;
    folder.write(&state)?;
    Ok(state.roots)
}

/// Lets the new root sign.
///
/// # Errors
/// When no rotation was started, or an agent may not know the new root yet and `at_once` is not set.
pub fn switch(authority: &Authority, at_once: bool, now: Timestamp) -> Result<Vec<Root>, Error> {
    let folder = authority.folder();
    let _held = folder.hold()?;
    let mut state = folder.read()?;
    let Some(next) = state.in_phase(Phase::Next) else {
        return Err(Error::Turn("no new root waits: `pki rotate start` comes first"));
    };
    if let Some(from) = next.known_from.filter(|from| *from > now && !at_once) {
        let reason = "agents that have not renewed since the start do not know the new root";
        return Err(Error::Early { reason, from });
    }
    for root in &mut state.roots {
        root.phase = match root.phase {
            Phase::Next => Phase::Signing,
            Phase::Signing | Phase::Retiring => Phase::Retiring,
        };
        root.since = now;
    }
    write_bundle(folder, &state)?;
    folder.write(&state)?;
    Ok(state.roots)
}

/// Takes the old root out of the bundle and destroys its key.
///
/// # Errors
/// When no root is retiring, or something that it signed is valid and `at_once` is not set.
pub fn retire(authority: &Authority, at_once: bool, now: Timestamp) -> Result<Vec<Root>, Error> {
    let folder = authority.folder();
    let _held = folder.hold()?;
    let mut state = folder.read()?;
    if state.in_phase(Phase::Retiring).is_none() {
        // Unless an earlier retirement was cut short.
        return match destroy_forgotten_keys(folder, &state)? {
            0 => Err(Error::Turn("no old root is left: there is nothing to retire")),
            _ => Ok(state.roots),
        };
    }
    if let Some(from) = retiring_until(&state).filter(|from| *from > now && !at_once) {
        let reason = "certificates that the old root signed are valid, and would be refused";
        return Err(Error::Early { reason, from });
    }
    let (gone, kept): (Vec<Root>, Vec<Root>) = state
        .roots
        .drain(..)
        .partition(|root| root.phase == Phase::Retiring);
    state.roots = kept;
    state.retired.extend(gone.iter().map(|root| root.fingerprint));
    write_bundle(folder, &state)?;
    folder.write(&state)?;
    destroy_forgotten_keys(folder, &state)?;
    Ok(state.roots)
}

/// When the last of what retiring roots signed ends.
fn retiring_until(state: &State) -> Option<Timestamp> {
    let retiring = state.roots.iter().filter(|root| root.phase == Phase::Retiring);
    retiring.filter_map(Root::last_issued_until).max()
}

/// Removes keys of roots that are no more; says of how many.
fn destroy_forgotten_keys(folder: &Folder, state: &State) -> Result<usize, Error> {
    let last = state.roots.iter().map(|root| root.number).max().unwrap_or(0);
    let mut destroyed = 0;
    for number in (1..last).filter(|number| state.roots.iter().all(|root| root.number != *number)) {
        destroyed += usize::from(Folder::remove(&folder.root_key(number))?);
    }
    Ok(destroyed)
}
