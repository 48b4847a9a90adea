//! An address that moves to another host, which does not know the connections of the former one.

use std::process::Command;

use tests::{Daemon, Host, SECOND, Server, Side, SplitNetwork, Stopwatch, eventually};

use super::{deployment_of, start};

/// Runs a command in the network namespace of a host.
fn run_on(host: &Host, command: &str) {
    let namespace = host.namespace.as_deref().expect("a network namespace");
    let command = ["netns", "exec", namespace].into_iter().chain(command.split(' '));
    let status = Command::new("ip").args(command).status().expect("cannot run ip");
    assert!(status.success(), "the command failed");
}

/// Moves the address of a server from its host to another one, which sends no resets.
fn move_address(network: &SplitNetwork, server: &Server, from: &Host, to: &Host, exporter: &Host) {
    network.disconnect(from);
    for command in [
        "nft add table inet silent",
        "nft add chain inet silent out { type filter hook output priority 0 ; }",
        "nft add rule inet silent out tcp flags & rst == rst drop",
    ] {
        run_on(to, command);
    }
    run_on(to, &format!("ip addr add {}/32 dev eth0", server.host));
    run_on(exporter, "ip neigh flush dev eth0");
}

#[test]
fn an_address_that_moves_silently_is_up_soon() {
    let mut network = SplitNetwork::new();
    let [exporter, first, second] = [(); 3].map(|()| network.add_host(Side::Left));
    let server = start(&first, "");
    let any = "bind 0.0.0.0\n";
    let _other = Server::start_on("redis-7.0.15", false, &second, server.port, any, None);
    let daemon = Daemon::on_host(&exporter, &deployment_of(&[&server]));
    daemon.until(SECOND * 10, "redis_up", &[], 1.0);
    daemon.until_rounds(3);
    let run_id = server.section("server")["run_id"].clone();

    let stopwatch = Stopwatch::start();
    move_address(&network, &server, &first, &second, &exporter);
    eventually(SECOND * 40, "the other server is read", || {
        let info = daemon.samples().labels("redis_instance_info", "run_id");
        (!info.is_empty() && !info.contains(&run_id)).then_some(())
    });
    let took = stopwatch.elapsed();
    println!("the other server is read after {took:?}");
    assert!(took < SECOND * 6, "{took:?}");
    daemon.until_no_findings(SECOND * 10);
}
