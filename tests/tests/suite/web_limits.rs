//! Limits of the web server for connections, requests and slow clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tests::{Daemon, Redis, SECOND, Samples, Stopwatch, deployment, eventually};

fn connect(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", daemon.port)).expect("a connection");
    stream.set_read_timeout(Some(SECOND * 5)).expect("a socket");
    stream
}

/// Connects from another address of the loopback interface.
fn connect_from(last: u8, daemon: &Daemon) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).expect("an address");
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], daemon.port)).into()).expect("a connection");
    socket.into()
}

/// Returns true if the daemon has closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket");
    matches!(stream.read(&mut [0; 1024]), Ok(0))
        || stream.take_error().is_ok_and(|error| error.is_some())
}

/// Scrapes over a new connection.
fn scrape(daemon: &Daemon) -> Option<String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(SECOND * 2)).build().into();
    agent
        .get(format!("http://127.0.0.1:{}/metrics", daemon.port))
        .call()
        .ok()?
        .body_mut()
        .read_to_string()
        .ok()
}

#[test]
fn kept_connection_is_scraped_without_delay() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let mut stream = connect(&daemon);
    let mut times: Vec<_> = (0..60)
        .map(|_| {
            let clock = Stopwatch::start();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n0\r\n\r\n") {
                let mut part = vec![0; 1 << 16];
                let length = stream.read(&mut part).expect("a response");
                assert!(length > 0, "the connection was closed");
                text.extend_from_slice(&part[..length]);
            }
            clock.elapsed()
        })
        .collect();
    // Clients acknowledge the first packets of a connection at once.
    let mut late = times.split_off(30);
    late.sort();
    let median = late[late.len() / 2];
    println!("a scrape takes {median:?}, at most {:?}", late[late.len() - 1]);
    assert!(median < SECOND / 50, "{median:?}: a client delays an acknowledgement by 40 ms");
}

#[test]
fn idle_connections_of_one_address_do_not_lock_out_others() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let mut idle: Vec<_> = (0..1024).map(|_| connect_from(2, &daemon)).collect();
    eventually(SECOND * 10, "connections above the limit are closed", || {
        let closed = idle.iter_mut().filter_map(|stream| is_closed(stream).then_some(())).count();
        (closed == 1024 - 256).then_some(())
    });
    let clock = Stopwatch::start();
    let text = scrape(&daemon).expect("a scrape");
    let took = clock.elapsed();
    assert!(text.contains("redis_up{"));
    let samples = Samples::parse(text);
    let refused =
        |limit| samples.get("rolecall_http_connections_refused_total", &[("limit", limit)]);
    assert_eq!((refused("address"), refused("total")), (Some(768.0), Some(0.0)));
    assert!(connect_from(2, &daemon).read(&mut [0]).is_ok_and(|length| length == 0));
    println!("with 256 idle connections of another address, a scrape takes {took:?}");
}

#[test]
fn limit_of_connections_per_address_is_configurable() {
    let server = Redis::start(&[]);
    let web = "[web]\nmax_connections_per_address = 3\n";
    let daemon = Daemon::configured(&format!("{web}{}", deployment("a", &[&server])));
    let mut idle: Vec<_> = (0..10).map(|_| connect_from(2, &daemon)).collect();
    eventually(SECOND * 5, "connections above the limit are closed", || {
        let closed = idle.iter_mut().filter_map(|stream| is_closed(stream).then_some(())).count();
        (closed == 7).then_some(())
    });
    drop(idle);
    // A closed connection makes room for another one.
    eventually(SECOND * 5, "a new connection is accepted", || {
        let mut stream = connect_from(2, &daemon);
        let _ = stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n");
        matches!(stream.read(&mut [0; 8]), Ok(8)).then_some(())
    });
}

#[test]
fn idle_and_slow_connections_are_closed() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let before = daemon.value("process_resident_memory_bytes").expect("memory");
    // Five addresses, of which four reach their limit and that of all connections.
    let addresses = (2..7).flat_map(|last| [last; 400]);
    let mut idle: Vec<_> = addresses.map(|last| connect_from(last, &daemon)).collect();
    let (closed, _) = eventually(SECOND * 10, "connections above the limits are closed", || {
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
    let (text, took) = eventually(SECOND * 40, "scrapes succeed again", || scrape(&daemon));
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

/// Starts a daemon whose `/metrics` exceeds every socket buffer: it has 300 nodes.
fn serve_large_responses(server: &Redis) -> Daemon {
    let nodes: Vec<_> =
        (0..300).map(|node| format!("{{ url = '{}', name = 'n{node}' }}", server.url())).collect();
    let daemon =
        Daemon::configured(&format!("[[deployment]]\nname = 'a'\nnodes = [{}]\n", nodes.join(",")));
    daemon.until(SECOND * 20, "redis_deployment_nodes", &[("state", "answering")], 300.0);
    daemon
}

/// Requests a path, and does not read the response.
fn request_slowly(daemon: &Daemon, path: &str) -> TcpStream {
    // A small buffer and small segments keep the kernel from buffering the response.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a socket");
    socket.set_tcp_mss(536).expect("a socket");
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], daemon.port)).into()).expect("a connection");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SECOND * 5)).expect("a socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("request sent");
    stream
}

/// Requests a path until the daemon begins a response, of which only the status is read.
fn read_slowly(daemon: &Daemon, path: &str) -> TcpStream {
    let (stream, _) = eventually(SECOND * 10, "the request is accepted", || {
        let mut stream = request_slowly(daemon, path);
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("a status");
        // 503 if too many responses are computed at this moment.
        status.ends_with(b" 200").then_some(stream)
    });
    stream
}

/// Returns the number of threads of the daemon.
fn threads(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", daemon.id())).expect("threads").count()
}

#[test]
fn slow_readers_hold_no_permit() {
    let server = Redis::start(&[]);
    let daemon = serve_large_responses(&server);
    let before = threads(&daemon);
    // At most 40 responses are computed and 64 wait at a time, each with a thread.
    let slow: Vec<_> = (0..200).map(|_| read_slowly(&daemon, "/metrics")).collect();
    let clock = Stopwatch::start();
    let (mut longest, mut count, mut most_threads) = (Duration::ZERO, 0, threads(&daemon));
    // For the time after which a response that nobody reads is aborted.
    while clock.elapsed() < SECOND * 9 {
        let response = daemon.get("/metrics?collect[]=exporter", "");
        assert_eq!(response.status, 200, "{}", response.text);
        longest = longest.max(response.took);
        count += 1;
        most_threads = most_threads.max(threads(&daemon));
    }
    assert!(longest < SECOND * 3, "a request took {longest:?}");
    assert!(most_threads >= before + 50, "{before} and {most_threads} threads: none wait");
    assert!(most_threads <= before + 110, "{before} and {most_threads} threads");
    eventually(SECOND * 40, "the threads of the responses end", || {
        (threads(&daemon) <= before + 5).then_some(())
    });
    println!(
        "with {} slow readers, {count} requests took at most {longest:?}; {before} threads \
         before, at most {most_threads}",
        slow.len()
    );
}

#[test]
fn connection_that_accepts_no_data_is_closed() {
    let server = Redis::start(&[]);
    let daemon = serve_large_responses(&server);
    let id = daemon.id();
    let open = || {
        let folder = format!("/proc/{id}/fd");
        std::fs::read_dir(folder).expect("descriptors").count()
    };
    let before = open();
    let slow: Vec<_> = (0..20).map(|_| request_slowly(&daemon, "/api/v1/topology")).collect();
    eventually(SECOND * 5, "the connections are open", || {
        (open() >= before + slow.len()).then_some(())
    });
    let ((), took) = eventually(SECOND * 90, "the connections are closed", || {
        (open() <= before + 2).then_some(())
    });
    println!("closed after {took:?}");
}

#[test]
fn requests_are_counted_by_pattern_and_code() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let node = server.address();
    for (path, status) in [
        ("/metrics".to_owned(), 200),
        ("/metrics?collect[]=nosuch".to_owned(), 400),
        ("/deployment/default".to_owned(), 200),
        ("/deployment/nosuch".to_owned(), 404),
        ("/deployment/nosuch2".to_owned(), 404),
        (format!("/deployment/default/node/{node}"), 200),
        ("/nosuch".to_owned(), 404),
        ("/nosuch/2".to_owned(), 404),
        ("/-/reload".to_owned(), 405),
    ] {
        assert_eq!(daemon.get(&path, "").status, status, "{path}");
    }
    let samples = daemon.samples();
    let count =
        |path, code| samples.get("rolecall_http_requests_total", &[("path", path), ("code", code)]);
    assert!(count("/metrics", "200") >= Some(1.0));
    for (path, code, expected) in [
        ("/metrics", "400", 1.0),
        ("/deployment/{name}", "200", 1.0),
        ("/deployment/{name}", "404", 2.0),
        ("/deployment/{name}/node/{node}", "200", 1.0),
        ("other", "404", 2.0),
        ("/-/reload", "405", 1.0),
    ] {
        assert_eq!(count(path, code), Some(expected), "{path} {code}");
    }
    let name = "rolecall_http_request_duration_seconds";
    let bucket = |bound| {
        let labels = [("path", "/deployment/{name}"), ("le", bound)];
        samples.get(&format!("{name}_bucket"), &labels)
    };
    assert_eq!((bucket("+Inf"), bucket("10.0")), (Some(3.0), Some(3.0)));
    let path = [("path", "/deployment/{name}")];
    assert_eq!(samples.get(&format!("{name}_count"), &path), Some(3.0));
    let sum = samples.get(&format!("{name}_sum"), &path).expect("a sum");
    assert!(sum > 0.0 && sum < 3.0, "{sum} s");
    // Requests create no further series.
    let series = || daemon.samples().count("rolecall_http_requests_total", &[]);
    let before = series();
    for number in 0..100 {
        daemon.get(&format!("/deployment/unknown-{number}"), "");
        daemon.get(&format!("/unknown-{number}"), "");
    }
    assert_eq!(series(), before);
}
