//! CLIENT LIST.

use std::path::Path;

use snapshot::{Client, NameKind};

use super::seeds;
use super::text::check_name;

pub(super) fn check(input: &[u8]) {
    let clients = Client::parse_list(&String::from_utf8_lossy(input));
    assert!(clients.len() <= 20_000);
    for client in &clients {
        let library = client.library.iter().flat_map(|(name, version)| [name, version]);
        let texts = [&client.address, &client.name, &client.command].into_iter();
        for text in texts.chain(&client.user).chain(library) {
            check_name(NameKind::ClientText, text);
        }
        let name = if client.is_sentinel() { client.name.clone() } else { "".into() };
        let anonymous = Client { name, user: None, ..client.clone() };
        let line = client.anonymous_line();
        assert_eq!(Client::parse_list(&line), [anonymous], "{line:?}");
    }
}

pub(super) fn seeds(root: &Path) -> Vec<Vec<u8>> {
    let mut seeds = seeds::texts(root, &["CLIENT LIST", "CLIENT INFO"]);
    let names = "id=5 addr=[::1]:9 name=sentinel-ab-cmd age=1 idle=0 flags=SO cmd=xgroup|create \
        user=u lib-name=redis-py lib-ver=8.1.0 tot-cmds=12\n\
        id=6 addr=/tmp/s:0 name=\u{1b}[31m age=1 idle=0 flags=P cmd=NULL user=u lib-name= \
        lib-ver=\n";
    seeds.push(names.as_bytes().to_vec());
    seeds
}
