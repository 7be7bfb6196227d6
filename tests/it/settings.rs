use std::fs;

use tempfile::NamedTempFile;
use tonic::transport::Channel;

use crate::support::{Api, Ended, Program};
use grpc_rest_bridge::shop::v1::{ListProductsRequest, product_service_client::ProductServiceClient};

/// A small configuration, and what `config show` makes of it.
const SMALL: &str = "tests/cases/settings/bridge.toml";
const SHOWN: &str = "tests/cases/settings/shown.toml";
/// A secret that nothing must show.
const SECRET: &str = "s3cr3t";

/// A file of settings.
struct Settings(NamedTempFile);

impl Settings {
    fn of(text: impl AsRef<[u8]>) -> Self {
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Self(file)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// Runs a command with it, and calls it `FILE` in what that says.
    async fn run(&self, words: &[&str], variables: &[(&str, &str)]) -> Ended {
        let mut ended = Program::run(&[words, &["--config", self.path()]].concat(), variables).await;
        ended.stderr = ended.stderr.replace(self.path(), "FILE");
        ended.stdout = ended.stdout.replace(self.path(), "FILE");
        ended
    }
}

/// The lines of `config show` that begin so, with one space between words.
fn lines(shown: &str, beginnings: &[&str]) -> Vec<String> {
    let lines = shown.lines().filter(|line| beginnings.iter().any(|beginning| line.starts_with(beginning)));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Asks for the products once.
async fn ask(address: &str) {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    ProductServiceClient::new(channel).list_products(ListProductsRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_flag_wins_over_a_variable_and_that_over_the_file_and_that_over_the_default() {
    let variables = [
        ("BRIDGE_UPSTREAM_TIMEOUT", "2s"),
        ("BRIDGE_TOKEN_ALGORITHMS", "RS256,EdDSA"),
        ("BRIDGE_TOKEN_ISSUER", "https://a"),
    ];
    let [timeout, algorithms, issuer] = variables;
    let flags =
        ["--upstream-timeout", "1s", "--token-algorithms", "ES256", "--token-algorithms", "RS256,EdDSA"];
    let file = "upstream-timeout = '3s'\ntoken-algorithms = ['EdDSA', 'ES256']\n";
    for (words, variables, file, expected) in [
        (
            &flags[..],
            &[issuer, timeout, algorithms][..],
            file,
            [
                "upstream-timeout = \"1s\" # flag",
                "token-algorithms = [\"ES256\", \"RS256\", \"EdDSA\"] # flag",
            ],
        ),
        (
            &[],
            &[issuer, timeout, algorithms],
            file,
            [
                "upstream-timeout = \"2s\" # BRIDGE_UPSTREAM_TIMEOUT",
                "token-algorithms = [\"RS256\", \"EdDSA\"] # BRIDGE_TOKEN_ALGORITHMS",
            ],
        ),
        (
            &[],
            &[issuer],
            file,
            ["upstream-timeout = \"3s\" # FILE:1", "token-algorithms = [\"EdDSA\", \"ES256\"] # FILE:2"],
        ),
        (
            &[],
            &[issuer],
            "",
            [
                "upstream-timeout = \"30s\" # default",
                "token-algorithms = [\"RS256\", \"ES256\", \"EdDSA\"] # default",
            ],
        ),
    ] {
        let words = [&["config", "show", "--upstream", "http://a", "--token-audience", "b"], words].concat();
        let ended = Settings::of(file).run(&words, variables).await;
        assert_eq!(lines(&ended.stdout, &["upstream-timeout", "token-algorithms"]), expected, "{ended:?}");
    }
}

#[tokio::test]
async fn the_bridge_serves_as_the_file_says_where_flags_and_variables_say_nothing() {
    let api = Api::saying("{}").await;
    let settings = Settings::of(format!(
        "upstream = {:?}\nlisten = '127.0.0.1:0'\nupstream-host = 'file'\nupstream-forwarded-proto = 'https'\n",
        api.url()
    ));
    let variables = [("BRIDGE_CONFIG", settings.path()), ("BRIDGE_UPSTREAM_HOST", "variable")];
    let mut program = Program::start(&["serve"], &variables);
    ask(&program.address().await).await;
    let headers = api.call().headers;
    assert_eq!(
        (&headers["host"], &headers["x-forwarded-proto"]),
        (&"variable".parse().unwrap(), &"https".parse().unwrap())
    );
}

/// As compose and Helm write it, and what stands in the file may be what keeps strangers out.
#[tokio::test]
async fn a_list_in_an_empty_variable_does_not_take_away_what_the_file_says() {
    let settings = Settings::of("upstream = 'http://a'\npolicy = 'a.B/*=key'\n");
    let shown = settings.run(&["config", "show"], &[("BRIDGE_POLICY", "")]).await.stdout;
    assert_eq!(lines(&shown, &["policy", "# policy"]), ["policy = [\"a.B/*=key\"] # FILE:2"]);
}

#[tokio::test]
async fn a_file_is_found_wherever_the_command_line_names_it_and_is_for_all_commands() {
    let settings = Settings::of("service = 'a.B'\nfail-on = 'drift'\nmax-in-flight = 5\n");
    let path = settings.path();
    let with = format!("--config={path}");
    for words in [
        &["routes", "--config", path][..],
        &["routes", &with],
        &["check", &with],
        &["explain", &with, "GetProduct", "{}"],
        &["explain", "GetProduct", "{}", "--config", path],
        &["serve", "--config", path, "--upstream", "http://a"],
    ] {
        let ended = Program::run(words, &[]).await;
        let place = format!("{path}:1:11: service: ");
        assert!(ended.stderr.contains(&place), "{words:?} {}", ended.stderr);
        assert_eq!(ended.code, Some(78), "{words:?}");
    }
    let out = NamedTempFile::new().unwrap();
    let settings = Settings::of(format!("out = {:?}", out.path()));
    assert_eq!(settings.run(&["descriptor"], &[]).await.code, Some(0));
    assert!(fs::metadata(out.path()).unwrap().len() > 0);
    let settings = Settings::of("api-keys = 'no/such.toml'");
    assert!(settings.run(&["keys", "list"], &[]).await.stderr.contains("no/such.toml: cannot be read"));
}

#[tokio::test]
async fn faults_of_the_file_are_told_with_their_place_and_all_others() {
    let settings = Settings::of(
        "upstrem = 'http://a'\nupstream-bearer = 's3cr3t'\nconfig = 'a'\nmax-in-flight = [5]\nconnect-timeout = '5'\n\
         policy = [\n  'a.B/*=public',\n  'a.B/*',\n]\ncache-ttl = 1979-05-27\nnonsense = 1\n[tls]\ncert = 'a'\n",
    );
    let variables = [("BRIDGE_LOG_FORMAT", "xml"), ("BRIDGE_UPSTREAM", "http://a")];
    let ended = settings.run(&["serve"], &variables).await;
    let expected = "error: 10 faults to mend:
  FILE:1:1: \"upstrem\" is not a setting
      it could be upstream; serve --help lists all, as flags
  FILE:2:1: upstream-bearer is a secret, which would be read here by all who may read settings
      name the file that holds it as upstream-bearer-file, or set BRIDGE_UPSTREAM_BEARER
  FILE:3:1: config: one file of settings names no other
      take the line out
  FILE:4:17: max-in-flight: expected a string or a number, found an array
      write it as the flag has it, in quotes
  FILE:10:13: cache-ttl: expected a string or an array of strings, found a date
      write it as the flag has it, in quotes
  FILE:11:1: \"nonsense\" is not a setting
      serve --help lists all, as flags
  FILE:12:2: \"tls\" is a table, and there are none here
      write each setting by the whole name of its flag, such as tls-cert = \"tls.crt\"
  FILE:5:19: connect-timeout: \"5\" is not valid
      write a number with its unit, such as 500ms, 10s or 2m, and at most 10y
  FILE:8:3: policy: \"a.B/*\" is not valid
      write METHODS=PROOF, such as shop.v1.ProductService/*=key
  BRIDGE_LOG_FORMAT: \"xml\" is not valid
      write auto, text or json
";
    assert_eq!((ended.stderr.as_str(), ended.code), (expected, Some(78)));
    let ended = settings.run(&["serve", "--listen", "here"], &variables).await;
    assert!(ended.stderr.starts_with("error: 11 faults to mend:\n"), "{}", ended.stderr);
    assert_eq!(ended.code, Some(2));
}

/// These are found when the settings are put to use, where nobody knows of the file.
#[tokio::test]
async fn what_is_wrong_with_settings_in_use_is_told_at_its_place_in_the_file() {
    for (text, place) in [
        ("upstream = 'http://a/../b'", "FILE:1:12: upstream: http://a/../b has a dot segment"),
        (
            "upstream = 'http://a'\npolicy = ['*=public', 'a.B/*=public']",
            "FILE:2:23: policy: names no method that is served",
        ),
    ] {
        let ended = Settings::of(text).run(&["serve", "--listen", "127.0.0.1:0"], &[]).await;
        assert!(ended.stderr.starts_with(&format!("error: 1 fault to mend:\n  {place}")), "{}", ended.stderr);
        assert_eq!(ended.code, Some(78));
    }
}

#[tokio::test]
async fn a_file_that_nobody_can_read_is_told_alone() {
    let syntax = "write TOML, one setting a line, such as upstream-timeout = \"10s\"";
    let name = "name the TOML file of settings as --config or BRIDGE_CONFIG";
    for (text, told) in [
        (
            &b"listen = 's3cr3t\nport = 1"[..],
            format!("FILE:1:17: invalid literal string, expected `'`\n      {syntax}"),
        ),
        (b"port = 1\nport = 2", format!("FILE:2:1: duplicate key\n      {syntax}")),
        (b"port = '\xff'", format!("FILE: is not UTF-8\n      {name}")),
    ] {
        let ended = Settings::of(text).run(&["serve", "--connect-timeout", "5"], &[]).await;
        assert_eq!(ended.stderr, format!("error: 1 fault to mend:\n  {told}\n"));
        assert_eq!(ended.code, Some(78));
    }
    let ended = Program::run(&["serve", "--config", "no/such.toml"], &[]).await;
    let told = "no/such.toml: cannot be read: No such file or directory (os error 2)";
    assert_eq!(ended.stderr, format!("error: 1 fault to mend:\n  {told}\n      {name}\n"));
    assert_eq!(ended.code, Some(78));
    let ended = Program::run(&["routes"], &[("BRIDGE_CONFIG", "")]).await;
    let told = "BRIDGE_CONFIG: \"\" is not valid\n      name the TOML file of settings";
    assert_eq!(ended.stderr, format!("error: 1 fault to mend:\n  {told}\n"));
    assert_eq!(ended.code, Some(78));
}

#[tokio::test]
async fn config_show_prints_every_setting_with_its_origin_and_no_secret() {
    let variables = [
        ("BRIDGE_UPSTREAM_BEARER", SECRET),
        ("BRIDGE_CONNECT_TIMEOUT", "3s"),
        ("BRIDGE_SERVICE", ""),
        ("PORT", "8080"),
        ("BRIDGE_UPSTREM", "http://b"),
    ];
    let words = ["config", "show", "--config", SMALL, "--log-level", "info,access=warn"];
    let ended = Program::run(&words, &variables).await;
    assert_eq!(ended.stdout, fs::read_to_string(SHOWN).unwrap());
    let warning = "warning: BRIDGE_UPSTREM is not a setting, so it is ignored (serve --help lists all)\n";
    assert_eq!((ended.stderr.as_str(), ended.code), (warning, Some(0)));
}

#[tokio::test]
async fn what_config_show_prints_is_a_file_of_the_same_settings() {
    let settings = |text: &str| -> Vec<String> {
        let settings = text.lines().map(|line| line.rsplit_once("  # ").map_or(line, |(setting, _)| setting));
        settings.map(|line| line.trim_end().to_owned()).collect()
    };
    let again =
        Program::run(&["config", "show", "--config", SHOWN], &[("BRIDGE_UPSTREAM_BEARER", SECRET)]).await;
    assert_eq!(settings(&again.stdout), settings(&fs::read_to_string(SHOWN).unwrap()), "{again:?}");
    assert!(again.stdout.contains(&format!("# {SHOWN}:7\n")), "{again:?}");
}

#[tokio::test]
async fn config_show_tells_faults_as_serve_does() {
    let settings = Settings::of("listen = 'here'\n");
    let told = settings.run(&["config", "show"], &[]).await;
    let expected = "error: 2 faults to mend:
  --upstream or BRIDGE_UPSTREAM: is missing
      name the REST API, such as --upstream http://shop-api:3000
  FILE:1:10: listen: \"here\" is not valid
      write ADDRESS:PORT, such as 127.0.0.1:50051 or [::]:50051
";
    assert_eq!((told.stdout.as_str(), told.stderr.as_str(), told.code), ("", expected, Some(2)));
    let served = settings.run(&["serve"], &[]).await;
    assert_eq!((served.stderr.as_str(), served.code), (expected, Some(2)));
    let told = settings.run(&["config", "show"], &[("BRIDGE_UPSTREAM", "http://a")]).await;
    assert_eq!(told.code, Some(78));
}

/// The whole example of docs/configuration.md.
#[tokio::test]
async fn the_file_of_the_documentation_serves() {
    let api = Api::saying("{}").await;
    let page = fs::read_to_string("docs/configuration.md").unwrap();
    let section = page.split("## One file for all").nth(1).unwrap();
    let settings = Settings::of(section.split("```toml\n").nth(1).unwrap().split("```").next().unwrap());
    let words = ["serve", "--config", settings.path(), "--upstream", &api.url(), "--listen", "127.0.0.1:0"];
    let mut program = Program::start(&words, &[]);
    ask(&program.address().await).await;
    assert_eq!(api.call().uri, "/products");
    let shown = settings.run(&["config", "show"], &[]).await;
    assert_eq!(lines(&shown.stdout, &["upstream ="]), ["upstream = \"http://shop-api:3000\" # FILE:1"]);
}

#[tokio::test]
async fn help_shows_nothing_of_what_files_and_variables_hold() {
    let settings = Settings::of("upstream-host = 's3cr3t'\nconnect-timeout = '77s'\n");
    let variables = [("BRIDGE_UPSTREAM_BEARER", SECRET), ("BRIDGE_UPSTREAM_HOST", SECRET)];
    let ended = settings.run(&["serve", "--help"], &variables).await;
    for name in ["BRIDGE_CONFIG", "BRIDGE_UPSTREAM_BEARER", "BRIDGE_UPSTREAM_BASIC"] {
        assert!(ended.stdout.contains(name), "{name}");
    }
    assert!(!ended.stdout.contains(SECRET) && !ended.stdout.contains("77s"), "{}", ended.stdout);
    assert_eq!(ended.code, Some(0));
}

#[tokio::test]
async fn a_credential_in_a_variable_reaches_the_api_and_no_log() {
    let api = Api::saying("{}").await;
    for (name, value, sent) in [
        ("BRIDGE_UPSTREAM_BEARER", SECRET, "Bearer s3cr3t".to_owned()),
        ("BRIDGE_UPSTREAM_BASIC", "bridge:s3cr3t", "Basic YnJpZGdlOnMzY3IzdA==".to_owned()),
    ] {
        let words = ["serve", "--listen", "127.0.0.1:0", "--upstream", &api.url(), "--log-level", "trace"];
        let mut program = Program::start(&words, &[(name, value)]);
        let mut lines = vec![program.command_line()];
        let address = loop {
            lines.push(program.line().await);
            if let Some((_, address)) = lines.last().unwrap().split_once("listening on ") {
                break address.split('"').next().unwrap().to_owned();
            }
        };
        ask(&address).await;
        assert_eq!(api.calls().last().unwrap().headers["authorization"], sent);
        program.signal("TERM").await;
        while !lines.last().unwrap().contains("stopped: every call has finished") {
            lines.push(program.line().await);
        }
        assert!(lines.iter().any(|line| line.contains("ProductService/ListProducts")));
        let shown = lines.iter().find(|line| [value, &sent].iter().any(|secret| line.contains(*secret)));
        assert_eq!(shown, None);
    }
}

#[tokio::test]
async fn one_credential_at_most_is_taken_and_those_that_were_given_are_named() {
    let settings = Settings::of("upstream = 'http://a'\nupstream-bearer-file = 'token'\n");
    let variables = [("BRIDGE_UPSTREAM_BASIC", "a:s3cr3t"), ("BRIDGE_UPSTREAM_BEARER", SECRET)];
    let ended = settings.run(&["serve", "--upstream-basic-file", "pair"], &variables).await;
    let mend = "give one of them: the API can be shown one credential";
    let expected = format!(
        "error: 3 faults to mend:
  --upstream-basic-file: stands beside upstream-bearer-file
      {mend}
  BRIDGE_UPSTREAM_BEARER: stands beside upstream-bearer-file
      {mend}
  BRIDGE_UPSTREAM_BASIC: stands beside upstream-bearer-file
      {mend}
"
    );
    assert_eq!((ended.stderr, ended.code), (expected, Some(2)));
    let ended = Program::run(&["serve", "--upstream", "http://a"], &variables).await;
    let told = format!("BRIDGE_UPSTREAM_BASIC: stands beside BRIDGE_UPSTREAM_BEARER\n      {mend}");
    assert_eq!((ended.stderr, ended.code), (format!("error: 1 fault to mend:\n  {told}\n"), Some(78)));
}

#[tokio::test]
async fn a_secret_that_cannot_be_one_is_told_by_its_variable_and_not_shown() {
    let words = ["serve", "--upstream", "http://a"];
    for (name, value, told) in [
        ("BRIDGE_UPSTREAM_BEARER", "s3cr3t s3cr3t", "is no token\n      write the token alone"),
        ("BRIDGE_UPSTREAM_BEARER", "", "is no token\n      write the token alone"),
        ("BRIDGE_UPSTREAM_BASIC", "s3cr3t", "is no name with a password\n      write NAME:PASSWORD"),
    ] {
        let ended = Program::run(&words, &[(name, value)]).await;
        assert_eq!(ended.stderr, format!("error: 1 fault to mend:\n  {name}: {told}\n"));
        assert_eq!(ended.code, Some(78));
    }
    for flag in ["--upstream-bearer=s3cr3t", "--upstream-basic=s3cr3t"] {
        let ended = Program::run(&[&words[..], &[flag]].concat(), &[]).await;
        assert!(ended.stderr.contains("unexpected argument") && !ended.stderr.contains(SECRET), "{ended:?}");
        assert_eq!(ended.code, Some(2));
    }
}
