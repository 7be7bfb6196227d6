//! The types of `google.api` that the contract reads, generated from `proto/google/api`.

#![allow(missing_docs, unreachable_pub, unused_qualifications, dead_code)]

pub(crate) mod api {
    tonic::include_proto!("google.api");
}
