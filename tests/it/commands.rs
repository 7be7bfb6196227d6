//! The commands that look at a contract, as a process: what they print and how they end.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Api, Program, json as json_answer};

const KITCHEN: [&str; 2] = ["--proto", "tests/protos/kitchen/v1/kitchen.proto"];

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Runs a command with the path of a file in a folder as its last word.
async fn with_file(words: &[&str], folder: &TempDir, file: &str) -> crate::support::Ended {
    let path = folder.path().join(file);
    Program::run(&[words, &[path.to_str().unwrap()]].concat(), &[]).await
}

#[tokio::test]
async fn explain_prints_the_request_that_a_call_would_send() {
    let words = ["explain", "CreateDish", r#"{"menu": "a b", "dish": {"title": "Pie"}, "requestId": "r"}"#];
    let ended = Program::run(&[&words[..], &KITCHEN].concat(), &[]).await;
    let (head, body) = ended.stdout.split_once("\n\n").unwrap();
    let lines: Vec<_> = head.lines().filter(|line| !line.starts_with("x-request-id: ")).collect();
    let expected = [
        "POST /menus/a%20b/dishes?request_id=r",
        "accept: application/json",
        "content-type: application/json",
    ];
    assert_eq!(lines, expected);
    assert_eq!((body, ended.code), ("{\"title\":\"Pie\"}\n", Some(0)));
}

#[tokio::test]
async fn explain_prints_what_its_caller_would_get_where_nothing_can_be_sent() {
    let ended =
        Program::run(&[&["explain", "GetDish", r#"{"name": "x"}"#], &KITCHEN[..]].concat(), &[]).await;
    assert!(ended.stdout.starts_with("INVALID_ARGUMENT: name must look like \"menus/*/dishes/*\"\n{"));
    let status: Value = serde_json::from_str(ended.stdout.split_once('\n').unwrap().1).unwrap();
    let violations = json!([{"field": "name", "description": "must look like \"menus/*/dishes/*\""}]);
    assert_eq!(status["details"][1]["fieldViolations"], violations);
    assert_eq!((ended.stderr.as_str(), ended.code), ("", Some(1)));
}

#[tokio::test]
async fn explain_with_an_answer_prints_what_its_caller_would_get() {
    let folder = folder(&[
        ("answer.json", r#"{"product": {"title": "Cake", "created_at": "2022-08-05 22:38:22 UTC"}}"#),
        ("error.json", r#"{"status": 404, "error": "Not Found"}"#),
    ]);
    let ended =
        with_file(&["explain", "GetProduct", r#"{"id": 7}"#, "--answer"], &folder, "answer.json").await;
    let message: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(message, json!({"product": {"title": "Cake", "createdAt": "2022-08-05T22:38:22Z"}}));
    assert_eq!(ended.code, Some(0));
    let words = ["explain", "GetProduct", r#"{"id": 7}"#, "--status", "404", "--answer"];
    let ended = with_file(&words, &folder, "error.json").await;
    let first = ended.stdout.lines().next();
    assert_eq!(first, Some("NOT_FOUND: Not Found (the API answered 404 to GET /products/7)"));
    assert_eq!(ended.code, Some(1));
}

#[tokio::test]
async fn explain_tells_what_is_wrong_with_its_arguments() {
    for (words, told) in [
        (
            ["explain", "Get", "{}"],
            "METHOD: there is no one method \"Get\"\n      it could be: shop.v1.ProductService/ListProducts, shop.v1.ProductService/GetProduct",
        ),
        (
            ["explain", "GetProduct", r#"{"idd": 7}"#],
            "JSON: idd: the contract has no such field (line 1, column 9)\n      write a shop.v1.GetProductRequest as ProtoJSON",
        ),
        (
            ["explain", "GetProduct", "{"],
            "JSON: expected a key in quotes, but the text ends (line 1, column 2)\n      write a shop.v1.GetProductRequest as ProtoJSON",
        ),
    ] {
        let ended = Program::run(&words, &[]).await;
        assert_eq!(ended.stderr, format!("error: 1 fault to mend:\n  {told}\n"), "{words:?}");
        assert_eq!((ended.stdout.as_str(), ended.code), ("", Some(2)), "{words:?}");
    }
}

/// An API whose product list differs from the contract in every way, and that knows one product.
async fn drifting_api() -> Api {
    Api::answering(|seen| async move {
        match seen.uri.as_str() {
            "/products" => json_answer(
                200,
                r#"{"products": [{"id": 1, "title": "a", "price": "1", "sku": 7, "created_at": null, "updated_at": null,
 "reviews": [{"id": "x", "name": "n", "message": "m", "rate": "4.5"}]}, {"id": 2, "title": 5, "price": null,
 "reviews": [null], "created_at": null}]}"#,
            ),
            "/products/1" => json_answer(
                200,
                r#"{"product": {"id": 1, "title": "a", "price": "1", "reviews": [], "created_at": null, "updated_at": null}}"#,
            ),
            _ => json_answer(404, "{}"),
        }
    })
    .await
}

#[tokio::test]
async fn check_tells_how_an_api_drifts_from_its_contract() {
    let api = drifting_api().await;
    let words = ["check", "--upstream", &api.url(), "--example", r#"GetProduct={"id": 1}"#];
    let ended = Program::run(&words, &[]).await;
    let expected = "the contract is sound: 1 service, 2 methods\n\
        FAILS   shop.v1.ProductService/ListProducts, GET /products, 200: INTERNAL: the API's answer does not fit the contract: \
        products[0].reviews[0].id: expected an integer of 64 bits, found a string (line 2, column 24)\n\
        \x20       products[].reviews[]: null-elements (line 3, column 14)\n\
        \x20       products[].reviews[].id: misfit: expected an integer of 64 bits, found a string (line 2, column 24)\n\
        \x20       products[].reviews[].rate: quoted-numbers (line 2, column 68)\n\
        \x20       products[].sku: unknown-fields (line 1, column 60)\n\
        \x20       products[].title: misfit: expected a string, found a number (line 2, column 92)\n\
        \x20       products[].updated_at: missing-fields (line 3, column 40)\n\
        fits    shop.v1.ProductService/GetProduct, GET /products/1, 200\n\
        1 fits, 1 fails\n";
    assert_eq!(ended.stdout, expected);
    assert_eq!(ended.stderr, "error: the API does not answer as the contract says\n");
    assert_eq!(ended.code, Some(1));
}

#[tokio::test]
async fn check_calls_only_what_it_was_told_how_to_call() {
    let api = Api::saying(r#"{"products": [], "total": 0}"#).await;
    let ended = Program::run(&["check", "--upstream", &api.url(), "--format", "json"], &[]).await;
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let expected = json!({
        "passed": true, "services": ["shop.v1.ProductService"], "methods": 2, "faults": [], "warnings": [],
        "calls": [
            {"method": "shop.v1.ProductService/ListProducts", "request": "GET /products", "status": 200,
             "outcome": "drifts", "why": null,
             "findings": [{"path": "total", "kind": "unknown-fields", "what": null, "count": 1, "line": 1, "column": 27}],
             "more_findings": 0},
            {"method": "shop.v1.ProductService/GetProduct", "request": null, "status": null, "outcome": "skipped",
             "why": "it takes an example: --example 'GetProduct={…}'", "findings": [], "more_findings": 0},
        ],
        "totals": {"fits": 0, "drifts": 1, "fails": 0, "skipped": 1},
    });
    assert_eq!((report, ended.code), (expected, Some(0)));
    assert_eq!(api.call().uri, "/products");
    let words = ["check", "--upstream", &api.url(), "--fail-on", "drift"];
    assert_eq!(Program::run(&words, &[]).await.code, Some(1));
}

#[tokio::test]
async fn check_warns_of_what_no_call_can_use() {
    let ended = Program::run(&[&["check"], &KITCHEN[..]].concat(), &[]).await;
    assert!(ended.stdout.starts_with("the contract is sound: 1 service, 19 methods\n"), "{}", ended.stdout);
    let warnings: Vec<_> = ended.stdout.lines().filter_map(|line| line.strip_prefix("warning: ")).collect();
    let ends = [
        "WatchDish: streams, which a REST API cannot: calls are answered UNIMPLEMENTED",
        "Whisper: has no HTTP rule: calls are answered UNIMPLEMENTED",
        "the query carries kitchen.v1.Everything.inner, whose type contains itself",
        "Everything.anything, which is of any type: a call that sets it is answered INVALID_ARGUMENT",
        "Everything.things, which is of any type: a call that sets it is answered INVALID_ARGUMENT",
        "the query carries kitchen.v1.Everything.more, whose type contains itself",
    ];
    assert_eq!(warnings.len(), ends.len(), "{warnings:?}");
    for (warning, end) in warnings.iter().zip(ends) {
        assert!(warning.ends_with(end), "{warning}");
    }
    assert_eq!(ended.code, Some(0));
    let words = [&["check", "--rest-style", "google"], &KITCHEN[..]].concat();
    let google = Program::run(&words, &[]).await.stdout;
    for told in [
        "the query carries kitchen.v1.FindDishesRequest.at_least, a map: a call that sets it is answered INVALID_ARGUMENT",
        "the query carries kitchen.v1.FindDishesRequest.any_of, a list of messages: a call that sets it",
        "the query carries kitchen.v1.Everything.free, which is free in form: a call that sets it",
    ] {
        assert!(google.contains(told), "{google}");
        assert!(!ended.stdout.contains(told), "{}", ended.stdout);
    }
}

const SOUND: &str = "syntax = \"proto3\";\npackage a.v1;\nimport \"google/api/annotations.proto\";\n\
    import \"google/type/date.proto\";\n\
    service Days {\n  rpc Get(In) returns (google.type.Date) { option (google.api.http) = {get: \"/days/{name}\"}; }\n}\n\
    message In { string name = 1; }\n";

#[tokio::test]
async fn every_fault_of_every_file_is_told_with_its_line_and_a_caret() {
    let folder = folder(&[
        (
            "a/v1/a.proto",
            &SOUND.replace("{name}", "{nme}").replace("rpc Get", "rpc Two(In) returns (In) {}\n  rpc Get"),
        ),
        (
            "b/v1/b.proto",
            "syntax = \"proto3\";\npackage b.v1;\nmessage In { strin name = 1; int32 n = 1; }\n",
        ),
        ("c/v1/c.proto", "edition = \"2023\";\npackage c.v1;\n"),
    ]);
    let ended = with_file(&["check", "--proto"], &folder, "").await;
    let expected = "error: 4 faults to mend:
  b/v1/b.proto:3:14: name 'strin' is not defined
       3 | message In { strin name = 1; int32 n = 1; }
         |              ^^^^^
  b/v1/b.proto:3:40: field number '1' is already used
       3 | message In { strin name = 1; int32 n = 1; }
         |                                        ^
  c/v1/c.proto:1:1: editions are read from descriptor sets, not from .proto files
       1 | edition = \"2023\";
         | ^^^^^^^
      run buf build --as-file-descriptor-set -o FILE, and give --descriptor-set FILE
  a/v1/a.proto:7:85: a.v1.Days.Get: a.v1.In has no field \"nme\"
       7 |   rpc Get(In) returns (google.type.Date) { option (google.api.http) = {get: \"/days/{nme}\"}; }
         |                                                                                     ^^^
      it has: name
";
    assert_eq!(ended.stderr, expected);
    assert_eq!(ended.code, Some(78));
}

#[tokio::test]
async fn faults_are_told_as_json_where_that_is_asked_for() {
    let folder = folder(&[("a/v1/a.proto", &SOUND.replace("{name}", "{nme}"))]);
    let ended = with_file(&["check", "--format", "json", "--proto"], &folder, "").await;
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["passed"], false);
    assert_eq!(report["faults"][0]["what"], "a.v1.In has no field \"nme\"");
    assert_eq!((ended.stderr.as_str(), ended.code), ("", Some(78)));
}

#[tokio::test]
async fn a_contract_is_the_same_from_its_files_and_from_its_descriptor_set() {
    let folder = folder(&[("a/v1/a.proto", SOUND)]);
    let proto = folder.path().join("a/v1/a.proto");
    let set = folder.path().join("set.binpb");
    let [proto, set] = [&proto, &set].map(|path| path.to_str().unwrap());
    let written = Program::run(&["descriptor", "--proto", proto, "--out", set], &[]).await;
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    let from_files = Program::run(&["routes", "--proto", proto], &[]).await;
    let from_set = Program::run(&["routes", "--descriptor-set", set], &[]).await;
    let table =
        "RPC            VERB  PATH          BODY  ANSWER\na.v1.Days/Get  GET   /days/{name}  -     *\n";
    assert_eq!((from_files.stdout.as_str(), from_set.stdout.as_str()), (table, table));
}

#[tokio::test]
async fn imports_are_found_where_packages_or_includes_say() {
    let folder = folder(&[
        (
            "api/a/v1/a.proto",
            &SOUND.replace("google/type/date.proto", "b/v1/b.proto").replace("google.type.Date", "b.v1.Day"),
        ),
        ("api/b/v1/b.proto", "syntax = \"proto3\"; package b.v1; message Day {}"),
        (
            "flat/a.proto",
            &SOUND.replace("google/type/date.proto", "day.proto").replace("google.type.Date", "Day"),
        ),
        ("flat/day.proto", "syntax = \"proto3\"; package a.v1; message Day {}"),
        (
            "apart/a.proto",
            &SOUND.replace("google/type/date.proto", "b/v1/b.proto").replace("google.type.Date", "b.v1.Day"),
        ),
    ]);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for words in [
        vec![path("api/a/v1/a.proto")],
        vec![path("api")],
        vec![path("flat/a.proto")],
        vec![path("flat")],
        vec![
            path("apart/a.proto"),
            "--include".to_owned(),
            path("api"),
            "--include".to_owned(),
            path("apart"),
        ],
        vec![path("apart/a.proto"), "--include".to_owned(), format!("{},{}", path("api"), path("apart"))],
    ] {
        let words: Vec<_> =
            ["check", "--proto"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let ended = Program::run(&words, &[]).await;
        assert_eq!(
            ended.stdout, "the contract is sound: 1 service, 1 method\n",
            "{words:?} {}",
            ended.stderr
        );
    }
    let ended = with_file(&["check", "--proto"], &folder, "apart/a.proto").await;
    assert!(ended.stderr.contains("import 'b/v1/b.proto' not found"), "{}", ended.stderr);
    assert!(ended.stderr.contains("name the folder that the import is counted from with --include"));
}

#[tokio::test]
async fn a_service_configuration_overrides_annotations() {
    let rules = "type: google.api.Service\nconfig_version: 3\nname: shop.example.com\nhttp:\n  rules:\n\
        \x20 - selector: shop.v1.ProductService.GetProduct\n    get: /lost\n\
        \x20 - selector: shop.v1.ProductService.GetProduct\n    post: /v2/products/{id}\n    body: '*'\n\
        \x20   additionalBindings:\n    - custom: {kind: HEAD, path: '/v2/{id}'}\n";
    let folder = folder(&[("service.yaml", rules)]);
    let ended = with_file(&["routes", "--service-config"], &folder, "service.yaml").await;
    let table = "RPC                                  VERB  PATH               BODY  ANSWER\n\
        shop.v1.ProductService/ListProducts  GET   /products          -     *\n\
        shop.v1.ProductService/GetProduct    POST  /v2/products/{id}  *     *\n\
        shop.v1.ProductService/GetProduct    HEAD  /v2/{id}           -     *\n";
    assert_eq!(ended.stdout, table, "{}", ended.stderr);
}

#[tokio::test]
async fn what_is_wrong_with_a_service_configuration_is_told_with_its_place() {
    let rule = |rule: &str| format!("http:\n  rules:\n  - {rule}\n");
    for (text, told) in [
        (
            rule("{selector: shop.v1.ProductService.GetProduct, get: '/v2/{idd}'}"),
            "service.yaml:3:62: shop.v1.ProductService.GetProduct: shop.v1.GetProductRequest has no field \"idd\"",
        ),
        (
            rule("{selector: shop.v1.ProductService.Nope, get: '/v2'}"),
            "service.yaml:3:16: shop.v1.ProductService.Nope: the contract has no method \"shop.v1.ProductService.Nope\"",
        ),
        (rule("{get: '/v2'}"), "service.yaml:3:5: http.rules: the rule has no selector"),
        (
            rule("{selector: shop.v1.ProductService.GetProduct, get: '/a', put: '/b'}"),
            "service.yaml:3:5: shop.v1.ProductService.GetProduct: the rule names more than one verb",
        ),
        (
            rule("{selector: a, fetch: '/v2'}"),
            "service.yaml:3:19: cannot be read: unknown field `fetch`, expected one of selector, get, put, post, delete, \
             patch, custom, body, responseBody, response_body, additionalBindings, additional_bindings\n",
        ),
        (
            "name: shop\nhtpp: {rules: []}".to_owned(),
            "service.yaml:2:1: cannot be read: unknown field `htpp`\n",
        ),
        ("http: [".to_owned(), "service.yaml:1:"),
    ] {
        let folder = folder(&[("service.yaml", &text)]);
        let ended = with_file(&["check", "--service-config"], &folder, "service.yaml").await;
        let path = folder.path().join("service.yaml");
        let told = told.replacen("service.yaml", path.to_str().unwrap(), 1);
        assert!(ended.stderr.contains(&format!("  {told}")), "{text}: {}", ended.stderr);
        assert!(ended.stderr.contains('^'), "{}", ended.stderr);
        assert_eq!(ended.code, Some(78), "{text}");
    }
}

#[tokio::test]
async fn only_the_services_that_are_named_are_served() {
    let folder =
        folder(&[("a/v1/a.proto", &format!("{SOUND}service More {{ rpc M(In) returns (In) {{}} }}\n"))]);
    let proto = folder.path().join("a/v1/a.proto");
    let words = ["routes", "--proto", proto.to_str().unwrap(), "--service", "a.v1.More"];
    let ended = Program::run(&words, &[]).await;
    assert!(ended.stdout.contains("a.v1.More/M") && !ended.stdout.contains("a.v1.Days"), "{}", ended.stdout);
    let words = ["routes", "--service", "a.v1.Nope"];
    let ended = Program::run(&words, &[]).await;
    let told = "error: 1 fault to mend:\n  --service: the contract has no service \"a.v1.Nope\"\n      the contract has: shop.v1.ProductService\n";
    assert_eq!((ended.stderr.as_str(), ended.code), (told, Some(78)));
}

#[tokio::test]
async fn files_that_are_not_there_are_told() {
    for (flag, mend) in [
        ("--proto", "name a .proto file, or a folder that has some"),
        ("--descriptor-set", "write it with buf build"),
        ("--service-config", "name the YAML of a google.api.Service"),
    ] {
        let ended = Program::run(&["check", flag, "/nowhere/at/all"], &[]).await;
        assert!(ended.stderr.contains("/nowhere/at/all: cannot be read: No such file"), "{}", ended.stderr);
        assert!(ended.stderr.contains(mend), "{}", ended.stderr);
        assert_eq!(ended.code, Some(78), "{flag}");
    }
    assert!(!Path::new("/nowhere").exists());
}

/// The status that `explain` prints: its first line, and the reason in its details.
fn told_status(stdout: &str) -> (&str, String) {
    let (first, json) = stdout.split_once('\n').unwrap();
    let status: Value = serde_json::from_str(json).unwrap();
    (first, status["details"][0]["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn explain_answers_for_a_method_that_is_not_served_as_a_call_is_answered() {
    for (method, told, reason) in [
        (
            "WatchDish",
            "UNIMPLEMENTED: kitchen.v1.KitchenService/WatchDish streams, which a REST API cannot",
            "STREAMING_NOT_SUPPORTED",
        ),
        (
            "Whisper",
            "UNIMPLEMENTED: kitchen.v1.KitchenService/Whisper has no google.api.http rule, so there is no REST request for it",
            "METHOD_NOT_MAPPED",
        ),
    ] {
        let ended = Program::run(&[&["explain", method], &KITCHEN[..]].concat(), &[]).await;
        assert_eq!(told_status(&ended.stdout), (told, reason.to_owned()));
        assert_eq!((ended.stderr.as_str(), ended.code), ("", Some(1)), "{method}");
    }
}

#[tokio::test]
async fn explain_reads_an_answer_as_strictly_as_it_is_told_and_tells_what_it_tolerates() {
    let folder = folder(&[("answer.json", r#"{"product": {"id": "7", "sku": 1, "pages": 2}}"#)]);
    let words = ["explain", "GetProduct", r#"{"id": 7}"#, "--answer"];
    let ended = with_file(&words, &folder, "answer.json").await;
    let message: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((message, ended.code), (json!({"product": {"id": "7"}}), Some(0)));
    assert_eq!(ended.stderr, "tolerated in the answer: 2 unknown-fields\n");
    let words = ["explain", "GetProduct", r#"{"id": 7}"#, "--strict-json", "unknown-fields", "--answer"];
    let ended = with_file(&words, &folder, "answer.json").await;
    let told = "INTERNAL: the API's answer does not fit the contract: product.sku: the contract has no such field (line 1, column 32)";
    assert_eq!(told_status(&ended.stdout), (told, "UPSTREAM_ANSWER_MISMATCH".to_owned()));
    assert_eq!((ended.stderr.as_str(), ended.code), ("", Some(1)));
}

#[tokio::test]
async fn explain_refuses_the_head_of_an_answer_that_cannot_be_or_has_no_body() {
    let folder = folder(&[("answer.json", "{}")]);
    for status in ["99", "600", "999", "ok"] {
        let words = ["explain", "ListProducts", "--status", status, "--answer"];
        let ended = with_file(&words, &folder, "answer.json").await;
        let told = format!(
            "error: 1 fault to mend:\n  --status: {status:?} is not valid\n      write an HTTP status from 100 to 599\n"
        );
        assert_eq!((ended.stderr, ended.stdout.as_str(), ended.code), (told, "", Some(2)));
    }
    let words = ["explain", "ListProducts", "--status", "404", "--content-type", "text/html"];
    let ended = Program::run(&words, &[]).await;
    let told = "error: 2 faults to mend:\n  --status: stands without --answer\n      give the body of the answer as --answer\n  \
        --content-type: stands without --answer\n      give the body of the answer as --answer\n";
    assert_eq!((ended.stderr.as_str(), ended.stdout.as_str(), ended.code), (told, "", Some(2)));
}

#[tokio::test]
async fn an_empty_variable_is_told_by_its_name() {
    for (command, variable, mend) in [
        (&["check"][..], "BRIDGE_DESCRIPTOR_SET", "name the file of a FileDescriptorSet"),
        (&["check"], "BRIDGE_SERVICE_CONFIG", "name the YAML of a google.api.Service"),
        (&["check"], "BRIDGE_UPSTREAM", "write http://HOST[:PORT][/PREFIX], such as http://shop-api:3000"),
        (&["explain", "ListProducts"], "BRIDGE_ANSWER", "name a file with the body of an answer"),
        (&["descriptor"], "BRIDGE_OUT", "name the file to write"),
    ] {
        let ended = Program::run(command, &[(variable, "")]).await;
        let told = format!("error: 1 fault to mend:\n  {variable}: \"\" is not valid\n      {mend}\n");
        assert_eq!((ended.stderr, ended.stdout.as_str(), ended.code), (told, "", Some(78)));
    }
}

#[tokio::test]
async fn an_empty_variable_of_a_list_is_one_that_is_not_set() {
    let variables =
        ["BRIDGE_PROTO", "BRIDGE_INCLUDE", "BRIDGE_SERVICE", "BRIDGE_STRICT_JSON"].map(|name| (name, ""));
    let ended = Program::run(&["check"], &variables).await;
    let told = "the contract is sound: 1 service, 2 methods\n";
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str(), ended.code), (told, "", Some(0)));
    let ended = Program::run(&["check", "--proto", ""], &[]).await;
    let told = "error: 1 fault to mend:\n  --proto: \"\" is not valid\n      name a .proto file, or a folder that has some\n";
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str(), ended.code), ("", told, Some(2)));
}

/// What `check` prints of the one method that it calls, with the totals.
async fn told_of_list(url: &str) -> String {
    let ended = Program::run(&["check", "--upstream", url], &[]).await;
    let told = ended.stdout.strip_prefix("the contract is sound: 1 service, 2 methods\n").unwrap();
    told.replacen(
        "skipped shop.v1.ProductService/GetProduct: it takes an example: --example 'GetProduct={…}'\n",
        "",
        1,
    )
}

#[tokio::test]
async fn no_character_of_an_api_is_obeyed_by_the_terminal_that_check_prints_to() {
    let api =
        Api::saying("{\"products\": [], \"\\u001b[31mred\\u0007\\u009b\\u202e\": 1, \"a\\nFAILS   x\": 2}")
            .await;
    let expected = "drifts  shop.v1.ProductService/ListProducts, GET /products, 200\n\
        \x20       \\u001b[31mred\\u0007\\u009b\\u202e: unknown-fields (line 1, column 53)\n\
        \x20       a\\u000aFAILS   x: unknown-fields (line 1, column 72)\n\
        1 drifts, 1 skipped\n";
    assert_eq!(told_of_list(&api.url()).await, expected);
    let api = Api::answering(|_| async { json_answer(422, r#"{"message": "no\u001b[2J\u202e"}"#) }).await;
    let expected = "FAILS   shop.v1.ProductService/ListProducts, GET /products, 422: INVALID_ARGUMENT: no[2J\\u202e\n\
        1 fails, 1 skipped\n";
    assert_eq!(told_of_list(&api.url()).await, expected);
}

#[tokio::test]
async fn no_character_of_an_api_is_obeyed_by_the_terminal_that_explain_prints_to() {
    let folder = folder(&[
        ("answer.json", "{\"products\": [{\"title\": \"a\u{9b}31m\u{202e}\"}]}"),
        ("misfit.json", "{\"products\": [{\"title\u{9b}\": 1}]}"),
    ]);
    let ended = with_file(&["explain", "ListProducts", "--answer"], &folder, "answer.json").await;
    let told = "{\n  \"products\": [\n    {\n      \"title\": \"a\\u009b31m\\u202e\"\n    }\n  ]\n}\n";
    assert_eq!((ended.stdout.as_str(), ended.code), (told, Some(0)));
    let words = ["explain", "ListProducts", "--strict-json", "all", "--answer"];
    let ended = with_file(&words, &folder, "misfit.json").await;
    let told = "INTERNAL: the API's answer does not fit the contract: products[0].title\\u009b: the contract has no such field (line 1, column 26)";
    assert_eq!(told_status(&ended.stdout).0, told);
    assert!(!ended.stdout.contains('\u{9b}'), "{:?}", ended.stdout);
}

#[tokio::test]
async fn check_tells_why_an_answer_does_not_fit_as_a_whole() {
    for (body, why, found) in [
        ("<html>", "it is HTML, not JSON", "expected a value, found \"<\" (line 1, column 1)"),
        (
            "[]",
            "expected an object, found an array (line 1, column 1)",
            "expected an object, found an array (line 1, column 1)",
        ),
        (
            "\nnull",
            "expected an object, found null (line 2, column 1)",
            "expected an object, found null (line 2, column 1)",
        ),
    ] {
        let api = Api::saying(body).await;
        let expected = format!(
            "FAILS   shop.v1.ProductService/ListProducts, GET /products, 200: INTERNAL: \
             the API's answer does not fit the contract: {why}\n        (the answer): misfit: {found}\n1 fails, 1 skipped\n"
        );
        assert_eq!(told_of_list(&api.url()).await, expected);
    }
    let api = Api::saying("[]").await;
    let ended = Program::run(&["check", "--upstream", &api.url(), "--format", "json"], &[]).await;
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let findings = json!([{"path": "", "kind": "misfit", "what": "expected an object, found an array", "count": 1, "line": 1, "column": 1}]);
    assert_eq!(report["calls"][0]["findings"], findings);
    assert_eq!(report["totals"], json!({"fits": 0, "drifts": 0, "fails": 1, "skipped": 1}));
}

#[tokio::test]
async fn check_tells_the_cause_why_an_api_cannot_be_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let expected = format!(
        "FAILS   shop.v1.ProductService/ListProducts, GET /products: UNAVAILABLE: the API cannot be reached: \
         {address}: client error (Connect): tcp connect error: \
         Connection refused (os error 111)\n1 fails, 1 skipped\n"
    );
    assert_eq!(told_of_list(&format!("http://{address}")).await, expected);
}

#[tokio::test]
async fn check_tells_only_so_many_findings_of_a_method_and_what_fails_before_the_rest() {
    let keys: String = (0..3000).map(|key| format!("\"k{key:04}\": 1, ")).collect();
    let api = Api::saying(format!("{{{keys}\"products\": 5}}")).await;
    let told = told_of_list(&api.url()).await;
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 53, "{told}");
    assert_eq!(
        lines[1],
        "        products: misfit: expected an array, found a number (line 1, column 36014)"
    );
    assert_eq!(lines[2], "        k0000: unknown-fields (line 1, column 11)");
    assert_eq!(lines[50], "        k0048: unknown-fields (line 1, column 587)");
    assert_eq!(lines[51..], ["        and 2951 more", "1 fails, 1 skipped"]);
}

#[tokio::test]
async fn check_refuses_what_it_could_not_use() {
    let kitchen = |words: &[&'static str]| [words, &KITCHEN[..]].concat();
    let upstream = ["check", "--upstream", "http://127.0.0.1:1"];
    for (words, told) in [
        (
            vec!["check", "--example", r#"GetProduct={"id": 1}"#],
            "--example: stands without --upstream\n      name the API that is to be called as --upstream",
        ),
        (
            [&upstream[..], &["--example", "GetProduct={}", "--example", "GetProduct={}"]].concat(),
            "--example: shop.v1.ProductService/GetProduct is given twice\n      give one example for each method",
        ),
        (
            [&upstream[..], &["--upstream-forwarded-proto", "ftp"]].concat(),
            "--upstream-forwarded-proto: \"ftp\" is not valid\n      write http or https",
        ),
        (
            kitchen(&[&upstream[..], &["--example", "WatchDish={}"]].concat()),
            "--example: WatchDish is never called: it streams, which a REST API cannot\n      take the example away",
        ),
        (
            kitchen(&[&upstream[..], &["--example", "Whisper={}"]].concat()),
            "--example: Whisper is never called: it has no HTTP rule\n      take the example away",
        ),
    ] {
        let ended = Program::run(&words, &[]).await;
        let told = format!("error: 1 fault to mend:\n  {told}\n");
        assert_eq!((ended.stderr, ended.stdout.as_str(), ended.code), (told, "", Some(2)), "{words:?}");
    }
}

#[tokio::test]
async fn check_says_so_where_it_has_called_nothing() {
    let folder = folder(&[("a/v1/a.proto", SOUND)]);
    let ended = with_file(&["check", "--upstream", "http://127.0.0.1:1", "--proto"], &folder, "").await;
    let expected = "the contract is sound: 1 service, 1 method\n\
        skipped a.v1.Days/Get: it takes an example: --example 'Get={…}'\n\
        1 skipped: nothing was checked\n";
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str(), ended.code), (expected, "", Some(0)));
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_is_read_once_however_many_links_lead_to_it() {
    use std::os::unix::fs::symlink;

    // As Kubernetes mounts a ConfigMap.
    let folder = folder(&[("mount/..2024_01/a.proto", SOUND), ("mount/.hidden.proto", "no contract")]);
    let mount = folder.path().join("mount");
    symlink("..2024_01", mount.join("..data")).unwrap();
    symlink("..data/a.proto", mount.join("a.proto")).unwrap();
    symlink("a.proto", mount.join("b.proto")).unwrap();
    symlink(".", mount.join("loop")).unwrap();
    symlink("mount", folder.path().join("again")).unwrap();
    for file in ["mount", "again", ""] {
        let ended = with_file(&["check", "--proto"], &folder, file).await;
        let told = (ended.stdout.as_str(), ended.stderr.as_str());
        assert_eq!(told, ("the contract is sound: 1 service, 1 method\n", ""), "{file}");
    }
    symlink("nowhere", mount.join("gone.proto")).unwrap();
    let ended = with_file(&["check", "--proto"], &folder, "mount").await;
    let told = format!(
        "error: 1 fault to mend:\n  {}: cannot be read: No such file or directory (os error 2)\n      \
         name a .proto file, or a folder that has some\n",
        mount.join("gone.proto").display()
    );
    assert_eq!(ended.stderr, told);
}

#[tokio::test]
async fn an_annotation_that_is_no_rule_is_told_with_the_key_that_is_meant() {
    const KEYS: &str =
        "name a verb (get, put, post, delete, patch or custom), body, response_body or additional_bindings";
    const ONE: &str = "keep one verb, and give the others under additional_bindings";
    const SET: &str = "a value is already set for oneof 'pattern'";
    for (rule, meant, what, mend) in [
        (r#"gett: "/a""#, "gett", "field 'gett' not found for message 'google.api.HttpRule'", KEYS),
        (r#"get: "/get" get : "/b""#, "get :", "'get' is already set", ONE),
        (r#"get: "/post" /* post */ post: "/b""#, "post:", SET, ONE),
        (r#"body: "*" post: "/a" body: "b""#, r#"body: "b""#, "'body' is already set", "keep one"),
        (
            r#"custom: {kindd: "HEAD"}"#,
            "kindd",
            "field 'kindd' not found for message 'google.api.CustomHttpPattern'",
            "name the verb with kind, and the path with path",
        ),
        ("get: 7", "7", "expected a string, but found '7'", "write it like {get: \"/books/{id}\"}"),
    ] {
        let text = SOUND.replace("{get: \"/days/{name}\"}", &format!("{{{rule}}}"));
        let folder = folder(&[("a/v1/a.proto", &text)]);
        let ended = with_file(&["check", "--proto"], &folder, "").await;
        let line = text.lines().nth(5).unwrap();
        let column = line.rfind(meant).unwrap();
        let width = meant.find([' ', ':']).unwrap_or(meant.len());
        let told = format!(
            "error: 1 fault to mend:\n  a/v1/a.proto:6:{}: {what}\n       6 | {line}\n         | {}{}\n      {mend}\n",
            column + 1,
            " ".repeat(column),
            "^".repeat(width)
        );
        assert_eq!(ended.stderr, told, "{rule}");
    }
}

#[tokio::test]
async fn many_faults_in_one_long_line_are_told_in_a_few_short_ones() {
    let fields = "strin f = 1; ".repeat(500);
    let folder = folder(&[("a.proto", &format!("syntax = \"proto3\";\nmessage A {{ {fields}}}\n"))]);
    let ended = with_file(&["check", "--proto"], &folder, "a.proto").await;
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 140), "{lines:?}");
    assert_eq!(lines[0], "error: 998 faults to mend:");
    let [.., more, mend] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(*more, "  contract: and 898 more");
    assert_eq!(*mend, "      mend those above first");
}

#[tokio::test]
async fn a_byte_order_mark_is_skipped() {
    let marked = format!("\u{feff}{SOUND}");
    let folder = folder(&[
        ("sound/a/v1/a.proto", &marked),
        (
            "unsound/a/v1/a.proto",
            &marked.replace("{name}", "{nme}").replace("syntax = \"proto3\";\n", "syntax = \"proto3\";"),
        ),
    ]);
    let ended = with_file(&["check", "--proto"], &folder, "sound").await;
    assert_eq!(ended.stdout, "the contract is sound: 1 service, 1 method\n", "{}", ended.stderr);
    let ended = with_file(&["check", "--proto"], &folder, "unsound").await;
    let told = "error: 1 fault to mend:
  a/v1/a.proto:5:85: a.v1.Days.Get: a.v1.In has no field \"nme\"
       5 |   rpc Get(In) returns (google.type.Date) { option (google.api.http) = {get: \"/days/{nme}\"}; }
         |                                                                                     ^^^
      it has: name
";
    assert_eq!(ended.stderr, told);
}

#[tokio::test]
async fn a_type_that_leads_to_one_that_contains_itself_is_warned_of() {
    let messages = "message A { B b = 1; C c = 2; }\nmessage B { C c = 1; }\nmessage C { D d = 1; }\n\
        message D { E e = 1; B b = 2; }\nmessage E { string s = 1; }\nmessage F { E e = 1; E f = 2; }\n\
        message In { F f = 1; A a = 2; E e = 3; C c = 4; string name = 5; F g = 6; }\n";
    let text = SOUND.replace("message In { string name = 1; }\n", messages);
    let folder = folder(&[("a/v1/a.proto", &text)]);
    let ended = with_file(&["check", "--proto"], &folder, "").await;
    let warning = |field: &str| {
        format!(
            "warning: a/v1/a.proto:6:3: a.v1.Days.Get: the query carries a.v1.In.{field}, whose type contains itself\n    \
             it works as deep as a caller nests it; make it the body, or give the query a flat type\n"
        )
    };
    let told = format!("the contract is sound: 1 service, 1 method\n{}{}", warning("a"), warning("c"));
    assert_eq!(ended.stdout, told, "{}", ended.stderr);
}
