//! Counts the allocations of the rounds of a node whose state does not change.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use allocation_counter::measure;
use config::Settings;
use poller::{Clock, Fleet, PollerContext, StateStore};
use tokio::runtime::Builder;

/// Limit of the allocations of one round of one node: requests, replies, snapshot and view.
const MAX_ALLOCATIONS: u64 = 110;

/// Rounds that do not count: they connect, and send the commands that the server refuses.
const FIRST_ROUNDS: u64 = 8;

/// Number of rounds that count.
const ROUNDS: u64 = 12;

/// Starts a server that replies to INFO and refuses the other commands. Its threads end with the
/// process.
fn start_server() -> SocketAddr {
    let capture = "redis-7.0.15/03-replication-healthy.master.info-everything.txt";
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/captures");
    let info = std::fs::read_to_string(captures.join(capture)).expect(capture);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let info = info.clone();
            std::thread::spawn(move || serve(stream, &info));
        }
    });
    address
}

/// Replies to the commands of one connection until it ends.
fn serve(mut stream: TcpStream, info: &str) {
    let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
    // A command is the number of its words, and then the length and the text of each word.
    while let Some(Ok(count)) = lines.next() {
        let count: usize = count[1..].parse().expect("the number of words");
        let words: Vec<_> = lines.by_ref().take(count * 2).map_while(Result::ok).collect();
        let reply = match words[1].as_str() {
            "INFO" => format!("${}\r\n{info}\r\n", info.len()),
            _ => "-ERR unknown command\r\n".to_owned(),
        };
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_round_of_a_node_takes_few_allocations() {
    let address = start_server();
    let text = format!(
        "[[deployment]]\nname = 'a'\ninterval = '250ms'\nnodes = [{{ url = 'redis://{address}' }}]"
    );
    let settings = Settings::parse("test", &text).expect("a configuration");
    let state = StateStore::open(None).expect("no file");
    // All tasks run on this thread, whose allocations are counted.
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let mut fleet = Fleet::new(PollerContext::new(Clock::start(), state));
    fleet.poll(settings.deployments);
    let registry = fleet.registry();
    let run_until =
        |round| runtime.block_on(registry.wait_until(|view| view.rounds.total >= round));
    run_until(FIRST_ROUNDS);
    let allocations = measure(|| run_until(FIRST_ROUNDS + ROUNDS)).count_total / ROUNDS;
    let views = registry.views();
    assert!(views[0].nodes.values().all(|node| node.up() == Some(true)), "{views:?}");
    assert!(allocations <= MAX_ALLOCATIONS, "{allocations} allocations for each round");
}
