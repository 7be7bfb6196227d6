//! Where a contract is read from.

use std::{fs, path::PathBuf};

use bytes::Bytes;

use super::{Contract, RestStyle, load::Input, place::Texts, protos, service_config::ServiceConfig};
use crate::fault::Fault;

/// The files that make up a contract; with no `.proto` and no descriptor set it is the embedded one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// `.proto` files, and folders with them.
    pub protos: Vec<PathBuf>,
    /// The folders that imports are counted from; where there is none, the packages of the files tell.
    pub includes: Vec<PathBuf>,
    /// A `google.protobuf.FileDescriptorSet` with all its imports, in place of `.proto` files.
    pub descriptor_set: Option<PathBuf>,
    /// The YAML of a `google.api.Service`, whose `http.rules` override the annotations.
    pub service_config: Option<PathBuf>,
    /// The full names of the services to serve; none is all that have an HTTP rule.
    pub services: Vec<String>,
    /// The style of each method that does not name its own.
    pub style: RestStyle,
}

// === impl Source ===

impl Source {
    /// Reads the files and checks every rule in them.
    ///
    /// # Errors
    /// Every fault of every file at once.
    pub fn read(&self) -> Result<Contract, Vec<Fault>> {
        let (descriptor_set, texts, mut faults) = self.descriptors();
        let config = self.config().unwrap_or_else(|more| {
            faults.extend(more);
            ServiceConfig::default()
        });
        let partial = !faults.is_empty();
        let input = Input { descriptor_set, texts, config, services: &self.services, partial };
        match Contract::check(&input) {
            Ok(contract) if !partial => Ok(contract.with_style(self.style)),
            checked => Err(faults.into_iter().chain(checked.err().into_iter().flatten()).collect()),
        }
    }

    /// The descriptors and the texts they come from, as far as they can be had, and what is wrong with the rest.
    fn descriptors(&self) -> (Bytes, Texts, Vec<Fault>) {
        match &self.descriptor_set {
            None if self.protos.is_empty() => (Contract::embedded_set(), Texts::default(), Vec::new()),
            None => protos::compile(&self.protos, &self.includes),
            Some(file) => match fs::read(file) {
                Ok(set) => (set.into(), Texts::default(), Vec::new()),
                Err(error) => {
                    let fault = Fault::new(
                        file.display().to_string(),
                        format!("cannot be read: {error}"),
                        "write it with buf build --as-file-descriptor-set -o FILE, or protoc --include_imports -o FILE",
                    );
                    (Bytes::new(), Texts::default(), vec![fault])
                }
            },
        }
    }

    fn config(&self) -> Result<ServiceConfig, Vec<Fault>> {
        let Some(file) = &self.service_config else { return Ok(ServiceConfig::default()) };
        let name = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|error| {
            vec![Fault::new(
                name.clone(),
                format!("cannot be read: {error}"),
                "name the YAML of a google.api.Service",
            )]
        })?;
        ServiceConfig::read(&name, &text)
    }
}
