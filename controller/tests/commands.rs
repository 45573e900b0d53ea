//! Every `weiche ...` that the docs tell people to type is one that `weiche` understands.

#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use weiche::cli::Cli;

/// The commands of a page: lines of its blocks, and what is quoted in its text.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut text = String::new();
    let mut block = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            block = !block;
        } else if block || line.starts_with("    ") {
            let line = line.trim_start().trim_start_matches("$ ");
            found.extend(line.split("&&").map(str::trim).filter(|part| part.starts_with("weiche ")).map(str::to_owned));
        } else {
            text += line;
            text.push('\n');
        }
    }
    let quoted = text.split('`').skip(1).step_by(2).filter(|part| part.starts_with("weiche "));
    found.extend(quoted.map(|part| part.replace('\n', " ")));
    found
}

/// As a shell takes it apart, as far as docs need one: quotes, and comments.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), false);
    for c in command.chars() {
        match c {
            '"' => quote = !quote,
            ' ' if !quote => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty() && word != "...");
    let end = words.iter().position(|word| word.starts_with('#') || word == "|" || word.starts_with('>'));
    words.truncate(end.unwrap_or(words.len()));
    words
}

/// What is wrong with a command. What is left out (`weiche plan`) is none of that, nor is what stands for a value (`NAME`).
fn wrong(command: &str) -> Option<String> {
    let error = Cli::try_parse_from(words(command)).err()?;
    let stands_for = |value: &ContextValue| matches!(value, ContextValue::String(text) if *text == text.to_uppercase());
    match error.kind() {
        ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand => None,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            None
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation
            if error.get(ContextKind::InvalidValue).is_some_and(stands_for) =>
        {
            None
        }
        _ => Some(format!("{command}\n{error}")),
    }
}

#[test]
fn what_the_docs_say_to_type_is_understood() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let docs = fs::read_dir(top.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let pages = pages.chain(["README.md", "ARCHITECTURE.md"].map(|name| top.join(name)));
    let commands: Vec<String> = pages.flat_map(|page| commands(&fs::read_to_string(page).unwrap())).collect();
    assert!(commands.len() > 60, "the search is broken: {commands:?}");
    let wrong: Vec<String> = commands.iter().filter_map(|command| wrong(command)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The files of a source tree.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let inside = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    inside.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn what_our_own_texts_say_to_type_is_understood() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let files = ["controller/src", "agent/src"].iter().flat_map(|dir| sources(&top.join(dir)));
    let mut commands = Vec::new();
    for path in files.filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let text = fs::read_to_string(path).unwrap();
        let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        // What is filled in stands for a value.
        let filled = quoted.filter(|part| part.starts_with("weiche ")).map(|part| {
            let mut parts = part.split('{');
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| text + "X" + part.split_once('}').map_or("", |(_, rest)| rest))
        });
        commands.extend(filled);
    }
    assert!(commands.len() > 60, "the search is broken: {commands:?}");
    let wrong: Vec<String> = commands.iter().filter_map(|command| wrong(command)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_understood_is_found() {
    for bad in [
        "weiche papers latest",
        "weiche paper run-sheets latest",
        "weiche plan x --strat now",
        "weiche whatif --technicians two",
    ] {
        assert!(wrong(bad).is_some(), "{bad}");
    }
    for good in
        ["weiche plan", "weiche schema NAME", "weiche whatif --start \"sat 20:00\" x   # later", "weiche kind NAME"]
    {
        assert_eq!(wrong(good), None);
    }
}
