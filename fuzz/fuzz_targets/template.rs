//! Any text as a path template: what is one must be the same after it was printed.
#![no_main]

use grpc_rest_bridge::contract::template::Template;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Template::parse(text) {
        Ok(template) => {
            let printed = template.to_string();
            assert_eq!(
                Template::parse(&printed).as_ref(),
                Ok(&template),
                "{text:?} is printed as {printed:?}"
            );
        }
        Err(error) => {
            drop(error.to_string());
            // Faults point at it, so it must be a place in the text, or its end.
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{text:?}: {error}");
        }
    }
});
