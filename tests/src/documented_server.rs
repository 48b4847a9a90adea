//! Servers that reply as the documentation of a service or a server system states.

use std::sync::{Arc, Mutex};

use crate::{FakeServer, array, bulk, repository};

/// Server with the replies of a file in `crates/config/tests/services`. The test of that folder
/// describes the format.
pub struct DocumentedServer {
    /// The server itself.
    pub server: FakeServer,
    refused: Arc<Mutex<Vec<String>>>,
}

impl DocumentedServer {
    /// Starts the server of a preset. A command without a reply in the file is an error.
    pub fn start(preset: &str) -> Self {
        let replies = replies(preset);
        let refused: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&refused);
        let server = FakeServer::start(move |command| {
            let is_meant = |pattern: &str| match pattern.strip_suffix('*') {
                Some(words) => command.starts_with(words),
                None => command == pattern,
            };
            let found = replies.iter().find(|(pattern, _)| is_meant(pattern));
            let reply = found.map_or_else(unknown, |(_, reply)| reply.clone());
            if reply.starts_with(b"-") {
                kept.lock().expect("a thread panicked").push(command.to_owned());
            }
            Some(reply)
        });
        DocumentedServer { server, refused }
    }

    /// Returns the commands that got an error.
    pub fn refused(&self) -> Vec<String> {
        self.refused.lock().expect("a thread panicked").clone()
    }
}

fn unknown() -> Vec<u8> {
    b"-ERR unknown command\r\n".to_vec()
}

/// Returns the commands of a file in capitals, with their replies. INFO server, which begins a
/// connection, gets the same reply as INFO.
fn replies(preset: &str) -> Vec<(String, Vec<u8>)> {
    let path = repository::root().join(format!("crates/config/tests/services/{preset}.txt"));
    let text = std::fs::read_to_string(path).expect(preset);
    let mut replies: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("> "), replies.last_mut()) {
            (Some(command), _) => replies.push((command.to_uppercase(), Vec::new())),
            (None, Some((_, reply))) => reply.push(line),
            (None, None) => {}
        }
    }
    let info = replies.iter().find(|(command, _)| command == "INFO").expect("INFO").1.clone();
    replies.push(("INFO SERVER".to_owned(), info));
    replies.into_iter().map(|(command, lines)| (command, encoded(&lines))).collect()
}

fn encoded(lines: &[&str]) -> Vec<u8> {
    match lines[0].chars().next() {
        Some('-' | ':') => format!("{}\r\n", lines[0]).into_bytes(),
        Some('*') => {
            let items = lines[1..].iter().filter(|line| !line.is_empty());
            array(items.map(|line| bulk(line)))
        }
        _ => bulk(&lines.join("\r\n")),
    }
}
