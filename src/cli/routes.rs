//! `routes`: which RPC is which REST request.

use super::{
    Exit,
    input::Input,
    reader::{self, Faults},
    settings::{FileSettings, SourceSettings},
};
use crate::contract::{Binding, Body, Contract, Method};

/// Show which REST request each RPC is
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: FileSettings,
    #[command(flatten)]
    source: SourceSettings,
}

pub(super) fn run(args: &Args, input: &Input<'_>) -> Result<Exit, Faults> {
    let ((), contract) = reader::both(args.file.check(input), args.source.contract(input))?;
    Ok(super::print(&table(&contract)))
}

fn table(contract: &Contract) -> String {
    let mut rows = vec![["RPC", "VERB", "PATH", "BODY", "ANSWER"].map(str::to_owned)];
    for method in contract.methods() {
        if !method.is_streaming() {
            rows.extend(method.bindings().iter().map(|binding| row(method, binding)));
        }
        let why = match method {
            method if method.is_streaming() => "(streams: UNIMPLEMENTED)",
            method if method.bindings().is_empty() => "(no HTTP rule: UNIMPLEMENTED)",
            _ => continue,
        };
        rows.push([method.name(), "-", why, "-", "-"].map(str::to_owned));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut table = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        table.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        table.push('\n');
    }
    table
}

fn row(method: &Method, binding: &Binding) -> [String; 5] {
    let body = match &binding.body {
        Body::None => "-".to_owned(),
        Body::Whole => "*".to_owned(),
        Body::Field(field) => field.name().to_owned(),
    };
    let answer = binding.response_body.as_ref().map_or("*".to_owned(), |field| field.name().to_owned());
    let (name, verb) = (method.name().to_owned(), binding.verb.to_string());
    [name, verb, binding.template.to_string(), body, answer]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_every_rpc_with_its_request() {
        assert_eq!(
            table(&Contract::embedded()),
            "RPC                                  VERB  PATH            BODY  ANSWER\n\
             shop.v1.ProductService/ListProducts  GET   /products       -     *\n\
             shop.v1.ProductService/GetProduct    GET   /products/{id}  -     *\n"
        );
    }
}
