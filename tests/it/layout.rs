use std::{fs, path::Path};

/// Every file below `src`, by its path there, with its text.
fn sources() -> Vec<(String, String)> {
    fn visit(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found);
            } else {
                let name = path.strip_prefix("src").unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    visit(Path::new("src"), &mut found);
    found
}

/// The source without its tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

/// Two shores and one bridge: what each room must not know.
#[test]
fn imports_run_one_way() {
    let rules: &[(&str, &[&str])] = &[
        (
            "contract",
            &["upstream", "bridge", "app", "inbound", "cli", "config", "transcode", "hyper_util", "tokio"],
        ),
        (
            "transcode",
            &["upstream", "bridge", "app", "inbound", "cli", "config", "hyper_util", "tokio", "tonic"],
        ),
        (
            "upstream",
            &["contract", "transcode", "bridge", "app", "inbound", "cli", "prost", "prost_reflect", "tonic"],
        ),
        (
            "error",
            &["contract", "transcode", "upstream", "bridge", "app", "inbound", "cli", "config", "hyper_util"],
        ),
        (
            "inbound",
            &["contract", "transcode", "upstream", "bridge", "app", "cli", "hyper_util", "prost_reflect"],
        ),
        ("connections/", &["contract", "transcode", "upstream", "bridge", "app", "inbound", "cli", "tonic"]),
        (
            "door/",
            &["contract", "transcode", "upstream", "bridge", "app", "inbound", "cli", "hyper_util", "prost"],
        ),
        ("tls.rs", &["contract", "transcode", "upstream", "bridge", "app", "inbound", "cli", "hyper_util"]),
        ("bridge/", &["app", "inbound", "cli", "hyper_util"]),
        ("bridge/methods.rs", &["transcode", "upstream", "tonic"]),
        ("bridge/unary.rs", &["contract", "transcode"]),
        ("config.rs", &["app", "bridge", "cli", "contract", "upstream", "inbound", "clap"]),
    ];
    for (room, banned) in rules {
        let files: Vec<_> = sources().into_iter().filter(|(name, _)| name.starts_with(room)).collect();
        assert!(!files.is_empty(), "there is no room {room}");
        for (name, text) in files {
            for module in *banned {
                for import in [
                    format!("crate::{module}"),
                    format!("use {module}"),
                    format!("    {module}::"),
                    format!(" {module}::"),
                ] {
                    let found =
                        code(&text).lines().find(|line| line.contains(&import) && !line.contains("//"));
                    assert_eq!(found, None, "{name} must not know {module}");
                }
            }
        }
    }
}

#[test]
fn only_the_demo_and_the_stubs_know_what_a_product_is() {
    for (name, text) in sources() {
        if ["demo.rs", "shop.rs", "cli/demo.rs"].contains(&name.as_str()) || name.ends_with("/tests.rs") {
            continue;
        }
        let mut lines = code(&text).lines().filter(|line| !line.trim_start().starts_with("//"));
        let found = lines.find(|line| line.to_lowercase().contains("product") && !line.contains("such as"));
        assert_eq!(found, None, "{name}");
    }
}

#[test]
fn the_crate_s_first_page_names_every_module() {
    let text = fs::read_to_string("src/lib.rs").unwrap();
    let page: String = text.lines().filter(|line| line.starts_with("//!")).collect();
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub mod ").or(line.strip_prefix("mod ")));
    for module in modules.map(|module| module.trim_end_matches(';')) {
        assert!(page.contains(&format!("`{module}`")) || page.contains(&format!("[`{module}`]")), "{module}");
    }
}

#[test]
fn the_readme_names_every_setting_with_its_default() {
    let files = sources().into_iter().filter(|(name, _)| name.starts_with("cli/"));
    let settings: String = files.map(|(_, text)| code(&text).to_owned()).collect();
    let settings: String = settings.split_whitespace().collect::<Vec<_>>().join(" ");
    let table = fs::read_to_string("docs/configuration.md").unwrap();
    let mut count = 0;
    for argument in settings.split("#[arg(").skip(1).filter(|argument| argument.contains("env = \"")) {
        let variable = argument.split("env = \"").nth(1).unwrap().split('"').next().unwrap();
        let default = argument.split("default_value = \"").nth(1).map(|text| text.split('"').next().unwrap());
        let default = default.filter(|_| argument.split(")]").next().unwrap().contains("default_value = "));
        let row = table.lines().find(|row| row.contains(&format!("`{variable}`")));
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md has no row for {variable}"));
        let named = default.is_none_or(|default| default.is_empty() || row.contains(&format!("`{default}`")));
        // `demo` listens on another address by default than `serve`, which the row says in words.
        assert!(named || variable == "BRIDGE_LISTEN", "{row} lacks {default:?}");
        count += 1;
    }
    assert!(count > 20, "only {count} settings were found");
}

/// Cargo reads no manifest that names a file or a folder which is not there.
#[test]
fn the_image_is_built_with_all_that_the_manifest_names() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let image = fs::read_to_string("Dockerfile").unwrap();
    let named = manifest.lines().filter(|line| line.starts_with("path = ") || line.starts_with("members = "));
    let places: Vec<_> = named.flat_map(|line| line.split('"').skip(1).step_by(2)).collect();
    assert!(places.len() >= 3, "{places:?}");
    for place in places {
        assert!(image.contains(&format!(" {place}")), "the Dockerfile does not make {place}");
    }
}
