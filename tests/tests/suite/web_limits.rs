//! Limits of the web server for connections, requests and slow clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tests::{Daemon, Redis, SECOND, eventually};

fn connect(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", daemon.port)).expect("a connection");
    stream.set_read_timeout(Some(SECOND * 5)).expect("a socket");
    stream
}

/// Returns true if the daemon has closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket");
    matches!(stream.read(&mut [0; 1024]), Ok(0))
        || stream.take_error().is_ok_and(|error| error.is_some())
}

#[test]
fn idle_and_slow_connections_are_closed() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let before = daemon.value("process_resident_memory_bytes").expect("memory");
    let mut idle: Vec<_> = (0..2000).map(|_| connect(&daemon)).collect();
    let (closed, _) = eventually(SECOND * 10, "connections above the limit are closed", || {
        let closed = idle.iter_mut().filter_map(|stream| is_closed(stream).then_some(())).count();
        (closed >= 970).then_some(closed)
    });
    assert!(closed <= 1000, "{closed} of 2000 connections were closed at once");
    // The others are closed after 30 seconds without a complete request. Half of them send an
    // endless head, the others nothing.
    for stream in idle.iter_mut().step_by(2) {
        // Writing to a closed connection fails.
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ");
    }
    let scrape = || {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(SECOND * 2)).build().into();
        agent
            .get(format!("http://127.0.0.1:{}/metrics", daemon.port))
            .call()
            .ok()?
            .body_mut()
            .read_to_string()
            .ok()
    };
    let (text, took) = eventually(SECOND * 40, "scrapes succeed again", scrape);
    assert!(text.contains("redis_up{"));
    let ((), took_all) = eventually(SECOND * 20, "all connections are closed", || {
        idle.iter_mut().all(is_closed).then_some(())
    });
    let after = daemon.value("process_resident_memory_bytes").expect("memory");
    assert!(after - before < 60e6, "{before} and {after} bytes");
    println!(
        "{closed} of 2000 closed at once, scrapes succeed after {took:?}, all closed after {:?}, \
         {} kB more",
        took + took_all,
        (after - before) / 1e3
    );
}

#[test]
fn request_heads_and_bodies_are_limited() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let status_line = |request: &[u8]| {
        let mut stream = connect(&daemon);
        // The server may close the connection before the request is complete.
        let _ = stream.write_all(request);
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
    };
    let long =
        format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(status_line(long.as_bytes()).contains(" 431 "), "{}", status_line(long.as_bytes()));
    let many = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: x\r\n".repeat(500));
    assert!(status_line(many.as_bytes()).contains(" 431 "));
    let head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 Content-Length: 100000000\r\n\r\n";
    let body = [&head[..], &vec![b'x'; 1 << 20]].concat();
    assert!(status_line(&body).contains(" 405 "));
    assert!(status_line(b"nonsense\r\n\r\n").contains(" 400 "));
    assert_eq!(daemon.get("/metrics", "").status, 200);
}

#[test]
fn slow_readers_do_not_block_other_requests() {
    // With 300 nodes the response exceeds every socket buffer.
    let server = Redis::start(&[]);
    let nodes: Vec<_> =
        (0..300).map(|node| format!("{{ url = '{}', name = 'n{node}' }}", server.url())).collect();
    let daemon =
        Daemon::configured(&format!("[[deployment]]\nname = 'a'\nnodes = [{}]\n", nodes.join(",")));
    daemon.until(SECOND * 20, "redis_deployment_nodes", &[("state", "answering")], 300.0);
    let slow: Vec<_> = (0..60)
        .map(|_| {
            // A small buffer and small segments keep the kernel from buffering the response.
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_recv_buffer_size(4096).expect("a socket");
            socket.set_tcp_mss(536).expect("a socket");
            socket
                .connect(&SocketAddr::from(([127, 0, 0, 1], daemon.port)).into())
                .expect("a connection");
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(SECOND * 5)).expect("a socket");
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("request sent");
            stream
        })
        .collect();
    // Reads only the beginning of a response, since the complete one takes long.
    let (refused, _) = eventually(SECOND * 5, "the limit is reached", || {
        let mut stream = connect(&daemon);
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("request sent");
        let mut start = [0; 1024];
        let length = stream.read(&mut start).unwrap_or_default();
        Some(String::from_utf8_lossy(&start[..length]).into_owned())
            .filter(|start| start.contains(" 503 "))
    });
    assert!(
        refused.contains("Limit of concurrent requests reached (40), try again later.\n"),
        "{refused}"
    );
    assert_eq!(daemon.get("/-/healthy", "").status, 200);
    // After ten seconds the slow responses are aborted and remain incomplete. A small request needs
    // the same permit as a large one.
    let small = "/metrics?collect[]=exporter";
    let ((), took) = eventually(SECOND * 20, "other requests succeed", || {
        (daemon.get(small, "").status == 200).then_some(())
    });
    let complete = slow.into_iter().filter_map(|mut stream| {
        let mut text = Vec::new();
        // An aborted response ends in a connection error.
        let _ = stream.read_to_end(&mut text);
        text.ends_with(b"0\r\n\r\n").then_some(())
    });
    assert!(complete.count() <= 20, "only the responses that were refused at once are complete");
    println!("other requests succeed after {took:?}");
}
