//! What makes no sense at a door: requirements that nobody can meet, and names of no method.

use super::requirement::{Proof, Requirement};
use crate::{config::DoorConfig, fault::Fault};

/// Everything that makes no sense of these settings, where `others` is the requirement of what no policy is for.
pub(super) fn faults(
    config: &DoorConfig,
    others: &Requirement,
    can: impl Fn(Proof) -> bool,
    methods: &[&str],
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for policy in &config.policies {
        let place = format!("--policy {policy}");
        faults.extend(unprovable(&place, &policy.requirement, &can));
        if !methods.iter().any(|method| policy.methods.matches(method)) {
            faults.push(names_nothing(&place, methods));
        }
    }
    faults.extend(unprovable("--require", others, &can));
    let scopes = &config.tokens.scopes;
    for scope in scopes.iter().filter(|scope| !methods.iter().any(|method| scope.methods.matches(method))) {
        faults.push(names_nothing(&format!("--token-scope {scope}"), methods));
    }
    faults
}

fn unprovable(place: &str, requirement: &Requirement, can: impl Fn(Proof) -> bool) -> Option<Fault> {
    let proof = Proof::ALL.into_iter().find(|proof| requirement.knows(*proof) && !can(*proof))?;
    Some(match proof {
        Proof::Key => {
            Fault::new(place, "requires a key, and there are none", "name the file of them as --api-keys")
        }
        Proof::Token => Fault::new(
            place,
            "requires a token, and there is no issuer of them",
            "name the issuer as --token-issuer",
        ),
        Proof::Mtls => Fault::new(
            place,
            "requires a certificate, and callers are asked for none",
            "name the CA that issues theirs as --tls-client-ca",
        ),
    })
}

fn names_nothing(place: &str, methods: &[&str]) -> Fault {
    let known = methods.iter().take(8).copied().collect::<Vec<_>>().join(", ");
    let more = if methods.len() > 8 { ", …" } else { "" };
    Fault::new(
        place,
        "names no method that is served",
        format!("write SERVICE/METHOD, with * for anything; there are {known}{more}"),
    )
}
