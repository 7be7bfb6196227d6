//! Inputs that fuzzing has found, each of which once broke what it was given to (`tests/cases/fuzz`, by `fuzz/run`).

use std::fs;

use grpc_rest_bridge::{
    contract::{Contract, template::Template},
    door::Keys,
    reload::Text,
    transcode::HttpAnswer,
};

use crate::support::Kitchen;

#[test]
fn what_fuzzing_has_found_breaks_nothing_any_more() {
    let kitchen = Kitchen::open();
    let mut count = 0;
    for file in fs::read_dir("tests/cases/fuzz").unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let input = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&input);
        let methods = 0..kitchen.contract.methods().len();
        match name.split_once('-').unwrap().0 {
            "template" => drop(Template::parse(&text)),
            "service_config" => {
                let set = kitchen.contract.descriptor_set().clone();
                drop(Contract::load_configured(set, &name, &text).map_err(|faults| format!("{faults:?}")));
            }
            "request" => methods.for_each(|method| drop(kitchen.transcoder.encode(method, &input))),
            "response" => methods.for_each(|method| {
                if !kitchen.contract.methods()[method].bindings().is_empty() {
                    let answer = HttpAnswer { content_type: "application/json", body: &input };
                    drop(kitchen.transcoder.decode(method, 0, &answer));
                    drop(kitchen.transcoder.survey(method, 0, &answer));
                }
            }),
            // Its first byte says what it is.
            "door" => drop(Keys::parse(&[Text { path, bytes: input[1..].to_vec().into() }])),
            other => panic!("{name}: there is no fuzz target {other}"),
        }
        count += 1;
    }
    assert!(count > 0);
}
