//! Compares replies that are parsed with an expected layout to a simple parser by name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use snapshot::{ErrorStats, ExpectedLayout, Fields, Layouts, NodeSnapshot};

/// Every captured reply to INFO or one of its sections.
static CAPTURES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let entries = |path: &Path| {
        let entries = std::fs::read_dir(path).expect("a folder");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let servers = entries(&root).into_iter().filter(|path| path.is_dir());
    servers
        .flat_map(|server| entries(&server))
        .filter(|path| path.to_string_lossy().contains(".info-"))
        .map(|path| std::fs::read_to_string(path).expect("text"))
        .collect()
});

/// Returns the lines `name:value` of a reply that are kept.
fn simple_lines(text: &str) -> Vec<(&str, &str)> {
    let is_kept = |line: &&str| {
        let skipped = ["#", "errorstat_", "cmdstat_", "latency_percentiles_usec_"];
        line.len() <= 4096 && !skipped.iter().any(|prefix| line.starts_with(prefix))
    };
    let lines = text.lines().map(|line| line.trim_end_matches('\r')).filter(is_kept);
    lines.filter_map(|line| line.split_once(':')).take(4096).collect()
}

/// Returns the error replies by code, and the number of all others.
fn simple_errors(text: &str) -> (BTreeMap<&str, u64>, u64) {
    let (mut by_code, mut others) = (BTreeMap::new(), 0);
    let lines = text.lines().map(|line| line.trim_end_matches('\r'));
    for line in lines.filter_map(|line| line.strip_prefix("errorstat_")) {
        let Some((code, count)) = line.split_once(":count=") else { continue };
        let Ok(count) = count.parse::<u64>() else { continue };
        let is_code = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if code == "ERRORSTATS_OVERFLOW" || code.len() > 48 || !code.bytes().all(is_code) {
            others += count;
        } else {
            by_code.entry(code).and_modify(|other| *other = count.min(*other)).or_insert(count);
        }
    }
    (by_code, others)
}

/// Returns name and version of a module.
fn simple_module(line: &str) -> Option<(&str, &str)> {
    let mut words = line.strip_prefix("module:")?.split(',');
    let name = words.find_map(|word| word.strip_prefix("name="))?;
    Some((name, words.find_map(|word| word.strip_prefix("ver="))?))
}

/// Returns name and version of each module.
fn simple_modules(text: &str) -> Vec<(&str, &str)> {
    let is_value = |text: &&str| !text.is_empty() && !text.contains('\r');
    let modules = text.lines().filter_map(simple_module);
    modules.filter(|(name, version)| is_value(name) && is_value(version)).collect()
}

fn check_fields(fields: &Fields, text: &str) {
    let lines = simple_lines(text);
    assert!(fields.lines().eq(lines.iter().copied()), "{text:?}");
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in lines {
        by_name.entry(name).or_default().push(value);
    }
    let mut found: Vec<_> = fields.iter().collect();
    found.sort_unstable();
    assert!(found.into_iter().eq(by_name.iter().map(|(name, values)| (*name, values[0]))));
    for (name, values) in &by_name {
        assert_eq!(fields.get(name), Some(values[0]), "{name} in {text:?}");
        assert_eq!(fields.get(&format!("{name}:")), None);
    }
    let repeated = by_name.iter().filter(|(_, values)| values.len() > 1).map(|(name, _)| *name);
    assert!(fields.repeated_names().into_iter().eq(repeated), "{text:?}");
}

/// Checks a reply of a node whose last reply had the expected layout.
fn check(text: &str, expected: &mut ExpectedLayout) {
    check_fields(&expected.clone().parse(text), text);
    let node = NodeSnapshot::from_expected_info(text, expected);
    let alone = NodeSnapshot::from_info(text);
    assert_eq!(format!("{node:?}"), format!("{alone:?}"), "{text:?}");
    let Some(node) = node else { return };
    check_fields(&node.fields, text);
    match &node.errors {
        ErrorStats::Counts { by_code, overflow } => {
            let (simple, others) = simple_errors(text);
            assert!(by_code.iter().map(|(code, count)| (&**code, *count)).eq(simple), "{text:?}");
            assert_eq!(*overflow, others, "{text:?}");
        }
        ErrorStats::Unsupported => {
            let mut lines = text.lines().map(|line| line.trim_end_matches('\r'));
            assert!(!lines.any(|line| line.starts_with("# Errorstats")), "{text:?}");
        }
        ErrorStats::Wiped => assert!(text.contains("errorstat_ERRORSTATS_DISABLED"), "{text:?}"),
    }
    let modules = node.modules.iter().map(|module| (&*module.name, &*module.version));
    assert!(modules.eq(simple_modules(text)), "{text:?}");
    // Typed fields depend on the names of the lines, not on their positions.
    let mut lines: Vec<_> = node.fields.iter().collect();
    lines.sort_unstable_by_key(|(name, value)| (name.len(), *name, *value));
    let text: String = lines.iter().flat_map(|(name, value)| [*name, ":", *value, "\n"]).collect();
    let other = NodeSnapshot::from_info(&text).expect("a reply to INFO");
    assert_eq!(node.identity, other.identity);
    assert_eq!(node.replication, other.replication);
    assert_eq!(node.persistence, other.persistence);
    assert_eq!((node.keyspace, node.watched), (other.keyspace, other.watched));
    assert_eq!(node.issues, other.issues);
}

#[test]
fn captured_replies_are_parsed_as_by_name() {
    assert!(CAPTURES.len() > 600, "only {} captures", CAPTURES.len());
    let mut node = ExpectedLayout::new(&Layouts::default());
    for text in CAPTURES.iter() {
        // The layout is that of another reply at first, then that of the same reply.
        check(text, &mut node);
        check(text, &mut node);
    }
}

/// Changes some bytes of a line, or its place among the others.
fn mutate(lines: &mut Vec<Vec<u8>>, kind: u8, first: Index, second: Index) {
    let (first, second) = (first.index(lines.len()), second.index(lines.len()));
    let line = &mut lines[first];
    let value = line.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1);
    match kind {
        0 => drop(lines.remove(first)),
        1 => lines.insert(second, lines[first].clone()),
        2 => lines.swap(first, second),
        3 => line.insert(0, b'x'),
        4 => line.insert(value, 0xff),
        5 => line.truncate(value),
        6 => drop(line.splice(value..value, vec![b'7'; 5000])),
        7 => line.push(b'\r'),
        8 => drop(line.pop()),
        9 => line.insert(value, b':'),
        10 => *line = Vec::new(),
        _ => lines.truncate(first + 1),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn changed_replies_are_parsed_as_by_name(
        capture in any::<Index>(),
        mutations in vec((0..12u8, any::<Index>(), any::<Index>()), 1..5),
        ends_with_lf in any::<bool>(),
    ) {
        let text = &CAPTURES[capture.index(CAPTURES.len())];
        let mut lines: Vec<_> = text.split('\n').map(|line| line.as_bytes().to_vec()).collect();
        for (kind, first, second) in mutations {
            if !lines.is_empty() {
                mutate(&mut lines, kind, first, second);
            }
        }
        let mut changed = lines.join(&b'\n');
        if ends_with_lf {
            changed.push(b'\n');
        }
        let changed = String::from_utf8_lossy(&changed);
        let mut node = ExpectedLayout::new(&Layouts::default());
        for text in [text, &*changed, &*changed, text] {
            check(text, &mut node);
        }
    }
}
