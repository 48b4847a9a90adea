//! Replies of Sentinels.

use std::path::Path;

use snapshot::{NameKind, Quorum, Reply, SentinelEntry, SentinelList, ServerError};

use super::resp::first_reply;
use super::seeds;
use super::text::check_name;

pub(super) fn check(input: &[u8]) {
    let Some(reply) = first_reply(input) else { return };
    let entries = SentinelList::parse(&reply).entries;
    assert!(entries.len() <= 4096 && entries.len() <= reply.items().len());
    entries.iter().chain(&SentinelEntry::parse(&reply)).for_each(check_entry);
    if let Some(quorum) = Quorum::parse(&reply) {
        let error = Reply::Error(ServerError::new(quorum.text()));
        let again = if quorum.ok { Reply::Text(quorum.text().into()) } else { error };
        assert_eq!(Quorum::parse(&again), Some(quorum));
    }
}

fn check_entry(entry: &SentinelEntry) {
    let kind = if entry.settings.is_some() { NameKind::Master } else { NameKind::Address };
    check_name(kind, &entry.name);
    check_name(NameKind::Host, &entry.ip);
    check_name(NameKind::RunId, &entry.run_id);
    assert!(!entry.ip.is_empty() && entry.port > 0);
    if let Some((host, port)) = &entry.follows {
        check_name(NameKind::Host, host);
        assert!(*port > 0);
    }
    let pairs = entry.pairs();
    let pairs = pairs.iter().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(SentinelEntry::from_pairs(pairs).as_ref(), Some(entry));
}

pub(super) fn seeds(root: &Path) -> Vec<Vec<u8>> {
    let mut seeds = seeds::replies(root, &["SENTINEL"]);
    let quorums = ["+OK 3 usable Sentinels.\r\n", "-NOQUORUM 1 usable Sentinels.\r\n"];
    seeds.extend(quorums.map(|text| text.as_bytes().to_vec()));
    seeds
}
