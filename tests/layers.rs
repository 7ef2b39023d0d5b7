//! Who may look into which room: the table of the design, read out of the source.
//!
//! Every path in `src/` is taken apart (`use` trees, `crate::…` and `super::…` in the midst of code) and held against the
//! table. Comments and literals do not count. Test modules do: what a test reaches for, its room leans on too.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each room and the rooms it may look into, besides itself.
const ROOMS: [(&str, &[&str]); 17] = [
    ("api", &[]),
    ("pki", &[]),
    ("decide", &["api", "pki"]),
    ("measure", &[]),
    ("acme", &["pki", "measure"]),
    ("cloud", &[]),
    ("dns", &["api", "cloud", "measure"]),
    ("serve", &[]),
    ("tls", &["api", "pki", "decide", "measure"]),
    ("http01", &["api", "measure", "serve"]),
    ("tls_alpn01", &["api", "pki", "http01", "measure", "serve"]),
    ("cluster", &["api", "measure"]),
    ("controller", &["api", "pki", "decide", "acme", "cloud", "dns", "http01", "tls_alpn01", "cluster", "measure"]),
    ("metrics", &["api", "decide", "cluster", "measure"]),
    ("otlp", &["measure"]),
    ("admission", &["api", "pki", "decide", "serve", "measure"]),
    (
        "cli",
        &[
            "api",
            "pki",
            "decide",
            "acme",
            "cloud",
            "dns",
            "http01",
            "tls_alpn01",
            "cluster",
            "controller",
            "measure",
            "metrics",
            "otlp",
            "serve",
            "tls",
            "admission",
        ],
    ),
];

/// The rooms in which nothing waits, reads a clock or talks to anybody.
const PURE: [&str; 3] = ["api", "pki", "decide"];

/// What pure rooms do not name: any path that contains one of these runs of segments.
const IMPURE: [&[&str]; 13] = [
    &["tokio"],
    &["reqwest"],
    &["kube", "Api"],
    &["kube", "Client"],
    &["kube", "Config"],
    &["kube", "client"],
    &["kube", "config"],
    &["kube", "runtime"],
    &["kube", "*"],
    &["Timestamp", "now"],
    &["Zoned", "now"],
    &["SystemTime"],
    &["Instant"],
];

const LONGEST_MAIN: usize = 40;

#[test]
fn every_room_keeps_to_its_neighbours() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&source);
    assert!(files.len() > 50, "only {} files found below {}", files.len(), source.display());
    let offences: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            offences(&modules_of(file.strip_prefix(&source).unwrap()), &text)
        })
        .collect();
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn main_stays_short() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap();
    assert!(text.lines().count() < LONGEST_MAIN, "src/main.rs has {} lines", text.lines().count());
}

#[test]
fn the_check_finds_what_is_forbidden() {
    let forbidden = [
        ("decide/order.rs", "use crate::controller::Context;"),
        ("decide/order.rs", "use crate::{api::Order, cluster::{self, Hub}};"),
        ("decide/order.rs", "fn f() { crate::acme::client::Client::new() }"),
        ("decide/order.rs", "use super::super::dns::Zone;"),
        ("decide/mod.rs", "use super::dns::Zone;"),
        ("decide/mod.rs", "mod tests { use super::super::dns::Zone; }"),
        ("decide/order.rs", "use jiff::Timestamp; fn f() { Timestamp::now(); }"),
        ("decide/order.rs", "let x = jiff::Timestamp::now();"),
        ("decide/order.rs", "use std::time::{Duration, Instant};"),
        ("pki/key.rs", "async fn f() { tokio::task::yield_now().await }"),
        ("pki/key.rs", "use crate::api::Issuer;"),
        ("api/issuer.rs", "use kube::{Resource, Api};"),
        ("api/issuer.rs", "use kube::*;"),
        ("acme/mod.rs", "pub(super) use crate::api as other;"),
        ("cluster/hub.rs", "/* \" */ use crate::decide::Decision; // \""),
        ("attic/mod.rs", ""),
        ("lib.rs", "use crate::attic::Chest;"),
    ];
    for (file, text) in forbidden {
        assert!(!offences(&modules_of(Path::new(file)), text).is_empty(), "{file}: {text}");
    }
    let allowed = [
        (
            "decide/order.rs",
            "use super::{fixed_name, request::{SeenIssuerOf, is_owned_by}}; use crate::{api, pki::Error};",
        ),
        ("decide/order.rs", "// crate::controller and Timestamp::now() are elsewhere"),
        ("decide/order.rs", "let text = \"crate::controller\"; let more = r#\"\"tokio::spawn\"#; let quote = '\"';"),
        ("decide/order.rs", "mod tests { use super::super::policy; }"),
        ("decide/order.rs", "fn f<'a>(now: &'a Timestamp) { let instant = kube::Resource::meta(now); }"),
        ("controller/order.rs", "use crate::{acme::Client, decide}; use jiff::Timestamp; Timestamp::now()"),
        ("lib.rs", "pub mod api;"),
    ];
    for (file, text) in allowed {
        let none: [&str; 0] = [];
        assert_eq!(offences(&modules_of(Path::new(file)), text), none, "{file}: {text}");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The modules that lead to a file, from the crate's root: `decide/order.rs` is `decide`, `order`.
fn modules_of(file: &Path) -> Vec<String> {
    let mut modules: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if modules.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        modules.pop();
    }
    modules
}

fn offences(modules: &[String], text: &str) -> Vec<String> {
    let place = modules.join("::");
    let room = modules.first().map_or("", String::as_str);
    let Some(allowed) = neighbours(room) else {
        return vec![format!("{room}: no room of the design; give it a line in tests/layers.rs")];
    };
    let is_pure = PURE.contains(&room);
    let mut offences = Vec::new();
    for path in paths(modules, &tokens(text)) {
        let shown = path.join("::");
        if let [root, other, ..] = &path[..]
            && root == "crate"
            && other != room
            && !allowed.contains(&other.as_str())
        {
            offences.push(format!("{place} looks into {other}: {shown}"));
        }
        if is_pure && IMPURE.iter().any(|run| contains(&path, run)) {
            offences.push(format!("{place} is pure, but names {shown}"));
        }
    }
    offences
}

/// The root itself may name every room.
fn neighbours(room: &str) -> Option<Vec<&'static str>> {
    if room.is_empty() {
        return Some(ROOMS.iter().map(|(name, _)| *name).collect());
    }
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, allowed)| allowed.to_vec())
}

fn contains(path: &[String], run: &[&str]) -> bool {
    path.windows(run.len()).any(|window| window.iter().zip(run).all(|(segment, wanted)| segment == wanted))
}

/// Identifiers, `::`, and single marks; comments and literals left out.
fn tokens(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < characters.len() {
        match (at(i), at(i + 1)) {
            ('/', '/') => i = end_of_line(&characters, i),
            ('/', '*') => i = end_of_block_comment(&characters, i),
            ('"', _) => i = end_of_text(&characters, i),
            ('\'', _) if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                i += if at(i + 1) == '\\' { 3 } else { 2 };
                while i < characters.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            (':', ':') => {
                tokens.push("::".to_owned());
                i += 2;
            }
            (c, _) if is_word(c) => {
                let start = i;
                while is_word(at(i)) {
                    i += 1;
                }
                let word: String = characters[start..i].iter().collect();
                if ["r", "br", "cr"].contains(&word.as_str()) && matches!(at(i), '"' | '#') {
                    i = end_of_raw_text(&characters, i);
                } else {
                    tokens.push(word);
                }
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                i += 1;
            }
        }
    }
    tokens
}

fn end_of_line(characters: &[char], from: usize) -> usize {
    characters[from..].iter().position(|c| *c == '\n').map_or(characters.len(), |length| from + length)
}

fn end_of_block_comment(characters: &[char], from: usize) -> usize {
    let (mut depth, mut i) = (0, from);
    while i + 1 < characters.len() {
        match (characters[i], characters[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') if depth == 1 => return i + 2,
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    characters.len()
}

fn end_of_text(characters: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < characters.len() && characters[i] != '"' {
        i += if characters[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// `from` is at the first `#` or at the quote.
fn end_of_raw_text(characters: &[char], from: usize) -> usize {
    let hashes = characters[from..].iter().take_while(|c| **c == '#').count();
    let mut i = from + hashes + 1;
    while i < characters.len() {
        if characters[i] == '"' && characters[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

/// Every path of the text, with `super` and `self` resolved: `crate::api::Order`, `kube::Api`, `Timestamp::now`.
fn paths(modules: &[String], tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    // The modules around the present place, and at which depth of braces each inline one ends.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let (mut depth, mut i) = (0, 0);
    while i < tokens.len() {
        let token = tokens[i].as_str();
        match token {
            "{" => depth += 1,
            "}" => {
                depth = usize::saturating_sub(depth, 1);
                inline.retain(|(_, ends)| *ends <= depth);
            }
            "mod" if tokens.get(i + 2).is_some_and(|next| next == "{") => {
                inline.push((tokens[i + 1].clone(), depth + 1));
                i += 1;
            }
            _ if starts_path(tokens, i) => {
                let here: Vec<String> =
                    modules.iter().cloned().chain(inline.iter().map(|(name, _)| name.clone())).collect();
                let is_use = i > 0 && tokens[i - 1] == "use";
                let mut raw = Vec::new();
                i = take_path(tokens, i, is_use, &[], &mut raw);
                found.extend(raw.iter().map(|path| resolved(&here, path)));
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    found
}

fn starts_path(tokens: &[String], i: usize) -> bool {
    is_segment(&tokens[i]) && (i == 0 || tokens[i - 1] != "::")
}

fn is_segment(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads a path, or a whole `use` tree, into `found`; returns where it ends.
fn take_path(tokens: &[String], mut i: usize, is_use: bool, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while i < tokens.len() {
        match tokens[i].as_str() {
            "{" if is_use => {
                i += 1;
                while i < tokens.len() && tokens[i] != "}" {
                    i = if tokens[i] == "," { i + 1 } else { take_path(tokens, i, true, &path, found) };
                }
                return i + 1;
            }
            "*" if is_use => path.push("*".to_owned()),
            segment if is_segment(segment) => path.push(segment.to_owned()),
            _ => break,
        }
        i += 1;
        if tokens.get(i).is_none_or(|next| next != "::") {
            break;
        }
        i += 1;
    }
    found.push(path);
    if is_use && tokens.get(i).is_some_and(|next| next == "as") {
        i += 2;
    }
    i.max(1)
}

fn resolved(here: &[String], path: &[String]) -> Vec<String> {
    let climbs = path.iter().take_while(|segment| *segment == "super" || *segment == "self").count();
    if climbs == 0 || path.len() == climbs && path[0] == "self" {
        return path.to_vec();
    }
    let ups = path[..climbs].iter().filter(|segment| *segment == "super").count();
    let base = &here[..here.len().saturating_sub(ups)];
    std::iter::once("crate".to_owned()).chain(base.iter().cloned()).chain(path[climbs..].iter().cloned()).collect()
}
