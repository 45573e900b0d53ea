//! The habits that a machine can check: module docs, import arrows, the purity fence, forgotten files, file lengths.

#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file in lines; a longer one has become two things.
const MAX_LINES: usize = 500;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for part in ["agent", "controller", "tests"] {
        collect(&top().join(part), &mut found);
    }
    assert!(found.len() > 100, "only {} source files: the search is broken", found.len());
    found
}

fn collect(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("UTF-8");
            found.push((path.strip_prefix(top()).expect("below").to_owned(), text));
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> = sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(p, _)| p).collect();
    assert!(silent.is_empty(), "without `//!`: {silent:?}");
}

#[test]
fn the_tests_that_the_guards_document_names_exist() {
    let text = fs::read_to_string(top().join("docs/guard.md")).expect("docs/guard.md");
    let words = text.split('`').skip(1).step_by(2);
    let names: Vec<&str> = words.filter(|word| word.contains('_') && !word.contains(['/', '.', ':', ' '])).collect();
    let named: Vec<&str> = names.into_iter().filter(|name| name.bytes().any(|b| b.is_ascii_lowercase())).collect();
    assert!(named.len() > 15, "only {named:?}: the search is broken");
    let sources = sources();
    let is_test = |name: &&&str| sources.iter().any(|(_, text)| text.contains(&format!("#[test]\nfn {name}()")));
    let missing: Vec<_> = named.iter().filter(|name| !is_test(name)).collect();
    assert!(missing.is_empty(), "no such test: {missing:?}");
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<_> = sources().into_iter().filter(|(_, t)| t.lines().count() > MAX_LINES).map(|(p, _)| p).collect();
    assert!(long.is_empty(), "over {MAX_LINES} lines: {long:?}");
}

/// `crate::X` that each part of a crate may name: itself and what is before it in the list.
fn arrows(part: &str, order: &[&[&str]]) {
    let prefix = Path::new(part).join("src");
    for (path, text) in sources() {
        let Ok(relative) = path.strip_prefix(&prefix) else { continue };
        let module =
            relative.components().next().expect("a component").as_os_str().to_string_lossy().replace(".rs", "");
        let Some(level) = order.iter().position(|names| names.contains(&module.as_str())) else {
            assert!(
                matches!(module.as_str(), "lib" | "main"),
                "{} is in no layer: add it to this test",
                path.display()
            );
            continue;
        };
        // Tests may look at everything.
        let code: String = text
            .split("#[cfg(test)]")
            .next()
            .unwrap_or_default()
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        let tests = relative.components().any(|c| c.as_os_str() == "tests.rs" || c.as_os_str() == "tests");
        for used in code.split("crate::").skip(1).filter(|_| !tests) {
            let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let at = order.iter().position(|names| names.contains(&name.as_str()));
            assert!(at.is_none_or(|at| at <= level), "{}: `crate::{name}` points the wrong way", path.display());
        }
    }
}

#[test]
fn the_agents_arrows_point_one_way() {
    arrows(
        "agent",
        &[
            &["fault", "digest"],
            &["protocol"],
            &["host"],
            &["facts"],
            &["resource", "resources"],
            &["journal"],
            &["engine", "manifest"],
            &["guard"],
            &["serve"],
        ],
    );
}

#[test]
fn the_controllers_arrows_point_one_way() {
    arrows(
        "controller",
        &[
            &["calendar", "content"],
            &["input"],
            &["approval"],
            &["plan"],
            &["rollout"],
            &["forecast", "history"],
            &["store"],
            &["notice", "view"],
            &["drive", "paper", "show", "sandbox"],
            &["cli"],
        ],
    );
}

#[test]
fn the_pure_layers_have_no_shell_but_where_they_say_so() {
    let shell: BTreeSet<String> = sources()
        .into_iter()
        .filter(|(path, text)| path.starts_with("controller/src") && text.contains("reason = \"shell\""))
        .map(|(path, _)| path.display().to_string())
        .filter(|path| {
            ["approval", "calendar", "forecast", "history", "input", "notice", "paper", "plan", "rollout", "view"]
                .iter()
                .any(|layer| path.contains(&format!("src/{layer}")))
        })
        .collect();
    let allowed = |path: &&String| *path != "controller/src/input/load.rs" && !path.contains("/tests");
    let strange: Vec<_> = shell.iter().filter(allowed).collect();
    assert!(strange.is_empty(), "impure: {strange:?}");
}

#[test]
fn in_the_agent_only_the_real_host_and_main_touch_the_system() {
    for (path, text) in sources() {
        let ours = path.starts_with("agent/src") && !path.starts_with("agent/src/host/real");
        if ours && path != Path::new("agent/src/main.rs") && path != Path::new("agent/src/host/real.rs") {
            assert!(!text.contains("reason = \"shell\""), "{} opens the fence", path.display());
        }
    }
}

#[test]
fn only_the_engine_puts() {
    for (path, text) in sources() {
        let inside = path.starts_with("agent/src/engine") || path == Path::new("agent/src/engine.rs");
        let kinds = path.starts_with("agent/src/resource") || !path.starts_with("agent/src");
        if !inside && !kinds {
            assert!(!text.contains("kind.put("), "{} calls put", path.display());
        }
    }
}

#[test]
fn lints_are_expected_not_allowed_and_nothing_is_ignored() {
    let (allow, ignore) = (concat!("#[", "allow("), concat!("#[", "ignore"));
    for (path, text) in sources() {
        assert!(!text.contains(allow) && !text.contains(ignore), "{}", path.display());
    }
}

#[test]
fn the_documents_name_every_command_and_exit_code() {
    let readme = fs::read_to_string(top().join("README.md")).expect("README.md");
    for code in 0..=7 {
        assert!(readme.contains(&format!("| {code} |")), "README.md lacks exit code {code}");
    }
    let architecture = fs::read_to_string(top().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for (path, _) in sources() {
        let text = path.display().to_string();
        let module = text.strip_prefix("controller/src/").or_else(|| text.strip_prefix("agent/src/"));
        if let Some(module) = module.filter(|m| !m.contains('/') && *m != "lib.rs") {
            let name = module.trim_end_matches(".rs");
            assert!(architecture.contains(&format!("`{name}`")), "ARCHITECTURE.md does not say what {text} is");
        }
    }
}
