//! What a caller is told when its call fails: all of it, so that nothing more is told either.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetail, ErrorInfo, RequestInfo, StatusExt};

/// An expected status. Every one has ErrorInfo and RequestInfo.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: Code,
    message: String,
    reason: &'static str,
    metadata: HashMap<String, String>,
    retry: Option<[Duration; 2]>,
    resource: Option<(&'static str, &'static str)>,
}

// === impl Refusal ===

impl Refusal {
    /// A call of GetProduct that ends with this code, and this reason for programs.
    pub(crate) fn of(code: Code, reason: &'static str) -> Self {
        let metadata = [("method", "shop.v1.ProductService/GetProduct")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Self { code, message: String::new(), reason, metadata, retry: None, resource: None }
    }

    pub(crate) fn message(mut self, message: &str) -> Self {
        message.clone_into(&mut self.message);
        self
    }

    /// What stands in the metadata of ErrorInfo besides the method.
    pub(crate) fn metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// It says when to try again, within these bounds.
    pub(crate) fn retry_within(mut self, least: Duration, most: Duration) -> Self {
        self.retry = Some([least, most]);
        self
    }

    /// It says what does not exist.
    pub(crate) fn resource(mut self, kind: &'static str, name: &'static str) -> Self {
        self.resource = Some((kind, name));
        self
    }

    /// Compares all of it.
    pub(crate) fn is(&self, status: &Status) {
        assert_eq!((status.code(), status.message()), (self.code, &*self.message), "{status:?}");
        let id = status.metadata().get("x-request-id").expect("a request id").to_str().unwrap();
        let details = status.check_error_details_vec().unwrap();
        assert_eq!(details.len(), self.number_of_details(), "{details:?}");
        for detail in &details {
            match detail {
                ErrorDetail::ErrorInfo(ErrorInfo { reason, domain, metadata }) => {
                    let expected = (self.reason, "grpc-rest-bridge", &self.metadata);
                    assert_eq!((reason.as_str(), domain.as_str(), metadata), expected);
                }
                ErrorDetail::RequestInfo(RequestInfo { request_id, serving_data }) => {
                    assert_eq!((request_id.as_str(), serving_data.as_str()), (id, ""));
                }
                ErrorDetail::RetryInfo(info) => {
                    let ([least, most], delay) = (self.retry.unwrap(), info.retry_delay.unwrap());
                    assert!((least..=most).contains(&delay), "{delay:?}, not {least:?} to {most:?}");
                }
                ErrorDetail::ResourceInfo(info) => {
                    let told = (info.resource_type.as_str(), info.resource_name.as_str());
                    assert_eq!(Some(told), self.resource, "{info:?}");
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }

    fn number_of_details(&self) -> usize {
        2 + usize::from(self.retry.is_some()) + usize::from(self.resource.is_some())
    }
}
