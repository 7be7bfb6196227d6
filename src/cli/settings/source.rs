//! The flags that say which contract, which every command has that reads one.

use std::path::{Path, PathBuf};

use crate::{
    cli::{
        input::Input,
        reader::{Faults, Reader, any_path},
    },
    contract::{Contract, RestStyle, Source},
};

/// The settings of the contract.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Contract")]
pub(in crate::cli) struct SourceSettings {
    /// .proto files whose methods carry google.api.http, or folders of them [default: the embedded shop.v1]
    #[arg(long, env = "BRIDGE_PROTO", value_parser = any_path(), value_name = "PATH", value_delimiter = ',')]
    proto: Vec<PathBuf>,
    /// Folders that imports are counted from [default: as the packages of the files say]
    #[arg(long, env = "BRIDGE_INCLUDE", value_parser = any_path(), value_name = "DIR", value_delimiter = ',')]
    include: Vec<PathBuf>,
    /// A FileDescriptorSet with all its imports, in place of --proto
    #[arg(long, env = "BRIDGE_DESCRIPTOR_SET", value_parser = any_path(), value_name = "FILE")]
    descriptor_set: Option<PathBuf>,
    /// The YAML of a google.api.Service, whose http.rules override the annotations
    #[arg(long, env = "BRIDGE_SERVICE_CONFIG", value_parser = any_path(), value_name = "FILE")]
    service_config: Option<PathBuf>,
    /// Full names of the services to serve [default: all that have an HTTP rule]
    #[arg(long, env = "BRIDGE_SERVICE", value_name = "NAME", value_delimiter = ',')]
    service: Vec<String>,
    /// How the API reads names and lists (rails: names as in the .proto, google: lowerCamelCase; see docs/contracts.md)
    #[arg(long, env = "BRIDGE_REST_STYLE", value_name = "STYLE", default_value = "rails")]
    rest_style: String,
}

// === impl SourceSettings ===

impl SourceSettings {
    /// The contract that the settings name.
    pub(in crate::cli) fn contract(&self, input: &Input<'_>) -> Result<Contract, Faults> {
        self.resolve(input)?.read().map_err(Faults::of_files)
    }

    /// The typed settings.
    pub(in crate::cli) fn resolve(&self, input: &Input<'_>) -> Result<Source, Faults> {
        let mut read = Reader::new(input);
        let protos = read.list("proto", &self.proto, "name a .proto file, or a folder that has some");
        let includes = read.list("include", &self.include, "name a folder");
        let services = read.list("service", &self.service, "write the full name of a service");
        let set = self.descriptor_set.as_deref();
        let set = read.path("descriptor_set", set, "name the file of a FileDescriptorSet");
        let config = self.service_config.as_deref();
        let config = read.path("service_config", config, "name the YAML of a google.api.Service");
        if set.is_some() && !protos.is_empty() {
            read.fault("descriptor_set", "stands beside --proto".to_owned(), "give one of the two");
        }
        if !includes.is_empty() && protos.is_empty() {
            read.fault("include", "stands without --proto".to_owned(), "give the .proto files as --proto");
        }
        let style = read.value("rest_style", &self.rest_style, "write rails or google", |text| match text {
            "rails" => Some(RestStyle::Rails),
            "google" => Some(RestStyle::Google),
            _ => None,
        });
        match style {
            Some(style) if read.faults.is_empty() => Ok(Source {
                protos: protos.to_vec(),
                includes: includes.to_vec(),
                descriptor_set: set.map(Path::to_owned),
                service_config: config.map(Path::to_owned),
                services: services.to_vec(),
                style,
            }),
            _ => Err(read.faults),
        }
    }
}
