//! Counts the allocations of one reply to INFO.

use std::path::Path;

use allocation_counter::{AllocationInfo, measure};
use snapshot::{ExpectedLayout, NodeSnapshot};

/// Maximum number of allocations per reply whose fields are those of the reply before it.
const MAX_ALLOCATIONS: u64 = 24;

/// Maximum size of a snapshot outside of its struct, bytes.
const MAX_SIZE: i64 = 4_500;

/// Measures parsing a captured reply.
fn measure_parsing(capture: &str, layout: &mut ExpectedLayout) -> AllocationInfo {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let text = std::fs::read_to_string(captures.join(capture)).expect(capture);
    let mut node = None;
    let measured = measure(|| node = NodeSnapshot::from_expected_info(&text, layout));
    assert!(node.is_some(), "{capture}");
    measured
}

#[test]
fn expected_reply_takes_few_allocations_and_little_memory() {
    let mut measured = Vec::new();
    for server in ["redis-6.2.14", "redis-7.0.15", "redis-8.2.3", "valkey-8.1.1", "valkey-9.1.2"] {
        for node in ["master", "replica1"] {
            let capture = format!("{server}/03-replication-healthy.{node}.info-everything.txt");
            let mut layout = ExpectedLayout::default();
            let first = measure_parsing(&capture, &mut layout);
            let later = measure_parsing(&capture, &mut layout);
            assert!(later.count_total < first.count_total, "{capture}: {first:?} {later:?}");
            measured.push((capture, later.count_total, later.bytes_current));
        }
    }
    let is_small =
        |(_, count, size): &(String, u64, i64)| *count <= MAX_ALLOCATIONS && *size <= MAX_SIZE;
    assert!(measured.iter().all(is_small), "{measured:#?}");
}
