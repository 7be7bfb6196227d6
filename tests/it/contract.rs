use crate::support::Kitchen;

fn faults(body: &str) -> Vec<String> {
    let faults = Kitchen::load(body).unwrap_err();
    faults.iter().map(|fault| format!("{}: {} | {}", fault.place, fault.what, fault.mend)).collect()
}

/// A service of one method with this rule, on messages with a few fields.
fn rule(rule: &str) -> String {
    format!(
        "service S {{ rpc M(In) returns (Out) {{\n  option (google.api.http) = {{{rule}}}; }} }}\n\
         message In {{ string name = 1; repeated string tags = 2; In inner = 3; map<string, string> m = 4; }}\n\
         message Out {{ string name = 1; }}"
    )
}

#[test]
fn a_rule_that_cannot_work_is_refused_with_its_place_and_its_mend() {
    for (text, pointed_at, fault) in [
        (
            "get: \"products\"",
            "p",
            "path \"products\", column 1: expected \"/\", found \"p\" | mend the path template",
        ),
        (
            "body: \"*\"",
            "option (google.api.http) = {body: \"*\"};",
            "the HTTP rule names no verb and path | write get: \"/…\" or another verb",
        ),
        (
            "get: \"/a/*\"",
            "*",
            "path /a/*: a wildcard outside a variable has no value to send | bind it to a request field, such as {name=*}",
        ),
        (
            "get: \"/a/../b\"",
            "..",
            "path /a/../b: \".\" and \"..\" are resolved to another path on the way | write the path that is meant",
        ),
        (
            "get: \"/%2E/b\"",
            "%2E",
            "path /%2E/b: \".\" and \"..\" are resolved to another path on the way | write the path that is meant",
        ),
        ("get: \"/{nme}\"", "nme", "t.v1.In has no field \"nme\" | it has: name, tags, inner, m"),
        ("get: \"/{inner.nme}\"", "inner.nme", "t.v1.In has no field \"nme\" | it has: name, tags, inner, m"),
        ("get: \"/{name.x}\"", "name.x", "{name.x}: t.v1.In.name has no field x | name a field of a message"),
        ("get: \"/{name}/{name}\"", "name", "path /{name}/{name} binds {name} twice | bind each field once"),
        (
            "get: \"/{tags}\"",
            "tags",
            "{tags}: t.v1.In.tags is repeated and cannot stand in a path | bind a single value, or leave the field to the query",
        ),
        (
            "get: \"/{m}\"",
            "m",
            "{m}: t.v1.In.m is repeated and cannot stand in a path | bind a single value, or leave the field to the query",
        ),
        (
            "get: \"/{inner}\"",
            "inner",
            "{inner}: t.v1.In.inner is a message and cannot stand in a path | bind one of its fields",
        ),
        ("post: \"/a\" body: \"nme\"", "nme", "t.v1.In has no field \"nme\" | it has: name, tags, inner, m"),
        ("get: \"/a\" response_body: \"nme\"", "nme", "t.v1.Out has no field \"nme\" | it has: name"),
        (
            "custom {kind: \"*\" path: \"/a\"}",
            "*",
            "the custom verb \"*\" cannot be sent | name one HTTP verb, such as HEAD",
        ),
        (
            "custom {kind: \"CONNECT\" path: \"/a\"}",
            "CONNECT",
            "the custom verb \"CONNECT\" cannot be sent | name one HTTP verb, such as HEAD",
        ),
        (
            "get: \"/a/{name=../*}\"",
            "..",
            "path /a/{name=../*}: \".\" and \"..\" are resolved to another path on the way | write the path that is meant",
        ),
        (
            "get: \"/{name=*/x%20y}\"",
            "x%20y",
            "path /{name=*/x%20y}: an escape in the pattern of a variable would be escaped once more | \
             write what the value has there, move it out of the variable, or use *",
        ),
        (
            "get: \"/a\" additional_bindings {get: \"/b\" additional_bindings {get: \"/c\"}}",
            "option (google.api.http) = {get: \"/a\" additional_bindings {get: \"/b\" additional_bindings {get: \"/c\"}}};",
            "additional_bindings stand inside additional_bindings | move them up: they may not nest",
        ),
    ] {
        let found = Kitchen::load(&rule(text)).unwrap_err();
        let [found] = found.as_slice() else { panic!("{text}: {found:?}") };
        assert_eq!(format!("{} | {}", found.what, found.mend), fault, "{text}");
        let excerpt = found.excerpt.clone().unwrap();
        let meant: String = excerpt.text.chars().skip(excerpt.indent).take(excerpt.width).collect();
        assert_eq!(meant, pointed_at, "{text}");
        assert_eq!(found.place, format!("t.proto:{}:{}: t.v1.S.M", excerpt.line, excerpt.column), "{text}");
    }
}

#[test]
fn all_faults_of_all_rules_are_told_at_once() {
    let found =
        faults(&rule("get: \"a\" body: \"x\" response_body: \"y\" additional_bindings {get: \"/{z}\"}"));
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn a_contract_with_nothing_to_serve_is_refused() {
    let found = faults("service S { rpc M(In) returns (In); } message In {}");
    let fault = "contract: no method has an HTTP rule, so there is nothing to serve | \
                 annotate a method, such as option (google.api.http) = {get: \"/products\"}, or give --service-config";
    assert_eq!(found, [fault]);
}

#[test]
fn a_descriptor_set_that_cannot_be_read_is_refused() {
    let faults =
        grpc_rest_bridge::contract::Contract::load(bytes::Bytes::from_static(b"\x0a\xff")).unwrap_err();
    let [fault] = faults.as_slice() else { panic!("{faults:?}") };
    assert!(fault.to_string().starts_with("descriptor set: cannot be read: "), "{fault}");
}

/// What each fault of a rule points at: the text before it in its line, the text itself, and the fault.
fn pointed_at(text: &str) -> Vec<(String, String, String)> {
    let faults = Kitchen::load(&rule(text)).unwrap_err();
    let pointed = faults.into_iter().map(|fault| {
        let excerpt = fault.excerpt.unwrap();
        let before: String = excerpt.text.chars().take(excerpt.indent).collect();
        let meant: String = excerpt.text.chars().skip(excerpt.indent).take(excerpt.width).collect();
        (before.replacen("  option (google.api.http) = {", "", 1), meant, fault.what)
    });
    pointed.collect()
}

#[test]
fn every_fault_of_a_path_is_told_at_its_own_place() {
    let text = "get: \"/{tags}/{namee}/{name}/{name}/./*\"";
    let told = [
        ("get: \"/{", "tags", "{tags}: t.v1.In.tags is repeated and cannot stand in a path"),
        ("get: \"/{tags}/{", "namee", "t.v1.In has no field \"namee\""),
        (
            "get: \"/{tags}/{namee}/{name}/{",
            "name",
            "path /{tags}/{namee}/{name}/{name}/./* binds {name} twice",
        ),
        (
            "get: \"/{tags}/{namee}/{name}/{name}/",
            ".",
            "path /{tags}/{namee}/{name}/{name}/./*: \".\" and \"..\" are resolved to another path on the way",
        ),
        (
            "get: \"/{tags}/{namee}/{name}/{name}/./",
            "*",
            "path /{tags}/{namee}/{name}/{name}/./*: a wildcard outside a variable has no value to send",
        ),
    ];
    assert_eq!(
        pointed_at(text),
        told.map(|(before, meant, what)| (before.into(), meant.into(), what.into()))
    );
}

#[test]
fn a_fault_points_at_the_value_of_its_key_and_at_no_other_text_like_it() {
    for (text, before) in [
        ("post: \"/body/x\" body: \"x\"", "post: \"/body/x\" body: \""),
        ("post: \"/body: x\" body: \"x\"", "post: \"/body: x\" body: \""),
        ("post: \"/a\" /* body: \"x\" */ body: 'x'", "post: \"/a\" /* body: \"x\" */ body: '"),
        (
            "post: \"/a\" body: \"*\" additional_bindings {post: \"/x\" body: \"x\"}",
            "post: \"/a\" body: \"*\" additional_bindings {post: \"/x\" body: \"",
        ),
    ] {
        let told = pointed_at(text);
        let last = (before.to_owned(), "x".to_owned(), "t.v1.In has no field \"x\"".to_owned());
        assert_eq!(told.last(), Some(&last), "{text}");
    }
}
