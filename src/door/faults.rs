//! What makes no sense at a door: requirements that nobody can meet, names of no method, and what is set and never asked for.

use super::{
    Gateways,
    requirement::{Proof, Requirement},
};
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
        faults.extend(unmeetable(&place, &policy.requirement, &can, &config.userinfo_from));
        if !methods.iter().any(|method| policy.methods.matches(method)) {
            faults.push(names_nothing(&place, methods));
        }
    }
    faults.extend(unmeetable("--require", others, &can, &config.userinfo_from));
    let scopes = &config.tokens.scopes;
    for scope in scopes.iter().filter(|scope| !methods.iter().any(|method| scope.methods.matches(method))) {
        faults.push(names_nothing(&format!("--token-scope {scope}"), methods));
    }
    let mut requirements = config.policies.iter().map(|policy| &policy.requirement).chain([others]);
    if !config.userinfo_from.is_empty() && !requirements.any(|one| one.knows(Proof::Userinfo)) {
        faults.push(Fault::new(
            "--userinfo-from",
            "is there, and no method requires user info",
            "write it into --require or --policy, such as token+userinfo",
        ));
    }
    faults
}

/// Why nobody can meet a requirement.
fn unmeetable(
    place: &str,
    requirement: &Requirement,
    can: impl Fn(Proof) -> bool,
    gateways: &[Gateways],
) -> Option<Fault> {
    match Proof::ALL.into_iter().find(|proof| requirement.knows(*proof) && !can(*proof)) {
        Some(proof) => Some(unprovable(place, proof)),
        None => requirement.alternatives().iter().find(|proofs| is_hearsay(proofs, gateways)).map(|_| {
            Fault::new(
                place,
                "requires user info, and beside it nothing that one of --userinfo-from can prove",
                "write what the gateway proves too, such as token+userinfo; or --userinfo-from '*', if it alone can reach \
                 the port",
            )
        }),
    }
}

/// Whether there is user info among these proofs that can never be believed.
fn is_hearsay(proofs: &[Proof], gateways: &[Gateways]) -> bool {
    let is_believable =
        |gateways: &Gateways| gateways.has(None) || proofs.iter().any(|proof| gateways.may_prove(*proof));
    proofs.contains(&Proof::Userinfo) && !gateways.iter().any(is_believable)
}

fn unprovable(place: &str, proof: Proof) -> Fault {
    match proof {
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
        Proof::Userinfo => Fault::new(
            place,
            "requires user info, and nobody is believed to tell it",
            "name the gateway as --userinfo-from",
        ),
    }
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
