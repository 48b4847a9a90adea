//! Connections to servers that send wrong, endless or deeply nested replies.

#![expect(
    clippy::disallowed_methods,
    reason = "the peers run beside the tests, and the tests measure time"
)]

use std::time::Duration;

use client::{
    Command, ConnectOptions, Connection, Credentials, Endpoint, Failure, Password, Replies,
    Subscription, SubscriptionMessage,
};
use snapshot::{Reason, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const LIMIT: Duration = Duration::from_secs(2);

const OPTIONS: ConnectOptions = ConnectOptions::new(LIMIT);

/// Reply of a peer to one request.
#[derive(Clone)]
enum Answer {
    Bytes(Vec<u8>),
    /// The second part is repeated until the connection ends.
    Endless(Vec<u8>, Vec<u8>),
}

/// Starts a server that answers each request with a function of the request, in capitals.
async fn peer(answer: impl Fn(&str) -> Answer + Send + Sync + Clone + 'static) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = listener.local_addr().expect("an address").into();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer.clone()));
        }
    });
    endpoint
}

async fn serve(mut stream: TcpStream, answer: impl Fn(&str) -> Answer) {
    let mut request = vec![0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut request).await {
        let text = String::from_utf8_lossy(&request[..length]).to_uppercase();
        let (start, repeated) = match answer(&text) {
            Answer::Bytes(bytes) => (bytes, None),
            Answer::Endless(start, repeated) => (start, Some(repeated)),
        };
        let mut sent = stream.write_all(&start).await;
        while let (Ok(()), Some(repeated)) = (&sent, &repeated) {
            sent = stream.write_all(repeated).await;
        }
        if sent.is_err() {
            return;
        }
    }
}

/// Answers the commands of the handshake as a server does.
fn handshake(request: &str) -> Option<Answer> {
    let reply: &[u8] = match () {
        () if request.contains("SERVER") => b"$21\r\nredis_version:7.0.0\r\n\r\n",
        () if request.contains("CLIENT") => b":1\r\n",
        () => return None,
    };
    Some(Answer::Bytes(reply.to_vec()))
}

async fn info(connection: Result<Connection, Failure>) -> Result<Replies, Failure> {
    connection?.run(&[Command::new(&snapshot::INFO, None)]).await
}

/// Checks the failure for a reply to INFO, and for the same reply to the handshake, in both kinds
/// of connections.
async fn check(answer: Answer, reason: Reason, detail: &str) {
    let started = Instant::now();
    let late = answer.clone();
    let late = peer(move |request| handshake(request).unwrap_or_else(|| late.clone())).await;
    let early = peer(move |_| answer.clone()).await;
    for endpoint in [late, early] {
        for result in [
            info(Connection::open(&endpoint, OPTIONS).await).await,
            info(Connection::open_with_fred(&endpoint, OPTIONS).await).await,
        ] {
            let failure = result.expect_err("the reply is refused");
            assert_eq!(failure.reason, reason, "{failure}");
            assert!(failure.detail.contains(detail), "{failure}");
        }
    }
    assert!(started.elapsed() < LIMIT, "no attempt waits for a timeout");
}

fn bytes(text: &str) -> Answer {
    Answer::Bytes(text.as_bytes().to_vec())
}

#[tokio::test]
async fn an_endless_bulk_string_is_refused_at_its_header() {
    let endless = Answer::Endless(b"$1152921504606846976\r\n".to_vec(), vec![b'x'; 1 << 16]);
    check(endless, Reason::Toolarge, "larger than").await;
}

#[tokio::test]
async fn an_endless_line_is_refused() {
    check(Answer::Endless(b"+".to_vec(), vec![b'x'; 1 << 16]), Reason::Toolarge, "larger than")
        .await;
    check(Answer::Endless(b"-".to_vec(), vec![b'x'; 1 << 16]), Reason::Toolarge, "larger than")
        .await;
}

#[tokio::test]
async fn a_million_integers_are_refused() {
    let integers = format!("*1000000\r\n{}", ":1\r\n".repeat(1_000_000));
    check(bytes(&integers), Reason::Toolarge, "elements").await;
}

#[tokio::test]
async fn deep_nesting_is_refused() {
    let endpoint = peer(|request| {
        let nested = || bytes(&format!("{}x", "*1\r\n".repeat(1200)));
        handshake(request).unwrap_or_else(nested)
    });
    let endpoint = endpoint.await;
    let command = || Command::new(&snapshot::SENTINEL_MASTERS, None);
    for mut connection in [
        Connection::open(&endpoint, OPTIONS).await.expect("connected"),
        Connection::open_with_fred(&endpoint, OPTIONS).await.expect("connected"),
    ] {
        let failure = connection.run(&[command()]).await.expect_err("the reply is refused");
        assert_eq!(failure.reason, Reason::Protocol, "{failure}");
        assert!(failure.detail.contains("nested"), "{failure}");
    }
}

#[tokio::test]
async fn fred_receives_no_type_of_resp3() {
    let maps = format!("{}:1\r\n", "%1\r\n+k\r\n".repeat(900));
    let endpoint = peer(move |request| handshake(request).unwrap_or_else(|| bytes(&maps))).await;
    let result = info(Connection::open_with_fred(&endpoint, OPTIONS).await).await;
    let failure = result.expect_err("the reply is refused");
    assert_eq!(failure.reason, Reason::Protocol, "{failure}");
}

#[tokio::test]
async fn another_protocol_is_named() {
    check(bytes("HTTP/1.1 400 Bad Request\r\n\r\n"), Reason::Protocol, "HTTP").await;
    check(bytes("SSH-2.0-OpenSSH_9.2\r\n"), Reason::Protocol, "byte 0x53").await;
}

#[tokio::test]
async fn invalid_utf8_is_replaced_on_both_ways() {
    let info_text = b"$38\r\nredis_version:7.0.15\r\nconfig_file:/\xe9\r\n\r\n";
    let endpoint = peer(|request| match () {
        () if request.contains("CLIENT") => bytes(":1\r\n"),
        () => Answer::Bytes(info_text.to_vec()),
    });
    let endpoint = endpoint.await;
    let direct = info(Connection::open(&endpoint, OPTIONS).await).await.expect("a reply");
    let text = direct.decode()[0].text().map(str::to_owned);
    assert_eq!(text.as_deref(), Some("redis_version:7.0.15\r\nconfig_file:/?\r\n"));
    let fred = info(Connection::open_with_fred(&endpoint, OPTIONS).await).await.expect("a reply");
    let text = fred.decode()[0].text().map(str::to_owned);
    assert_eq!(text.as_deref(), Some("redis_version:7.0.15\r\nconfig_file:/?\r\n"));
}

#[tokio::test]
async fn a_large_reply_that_stops_is_given_up() {
    let endpoint = peer(|request| {
        let stopped = || bytes(&format!("$900000\r\n{}", "x".repeat(800_000)));
        handshake(request).unwrap_or_else(stopped)
    });
    let started = Instant::now();
    let result = info(Connection::open(&endpoint.await, OPTIONS).await).await;
    assert_eq!(result.expect_err("the reply is refused").reason, Reason::Toolarge);
    assert!(started.elapsed() < Duration::from_secs(8), "it ends before the limit of all replies");
}

#[tokio::test]
async fn large_replies_that_stop_delay_only_large_ones() {
    let large = peer(|request| {
        let stopped = || bytes(&format!("$1000000\r\n{}", "x".repeat(990_000)));
        handshake(request).unwrap_or_else(stopped)
    });
    let large = large.await;
    let small = peer(|request| handshake(request).unwrap_or_else(|| bytes("$2\r\nhi\r\n"))).await;
    let valid = peer(|request| {
        let complete = || bytes(&format!("$400000\r\n{}\r\n", "x".repeat(400_000)));
        handshake(request).unwrap_or_else(complete)
    });
    let valid = valid.await;
    // The memory suffices for 32 of them.
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let large = large.clone();
            tokio::spawn(async move { info(Connection::open(&large, OPTIONS).await).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    let replies = info(Connection::open(&small, OPTIONS).await).await.expect("a reply");
    assert_eq!(replies.decode()[0], Reply::Text("hi".into()));
    assert!(started.elapsed() < Duration::from_secs(1));
    let replies = info(Connection::open(&valid, OPTIONS).await).await.expect("a reply");
    assert_eq!(replies.decode()[0].text().map(str::len), Some(400_000));
    for result in waiting {
        let failure = result.await.expect("no panic").expect_err("the reply is refused");
        assert_eq!(failure.reason, Reason::Toolarge, "{failure}");
    }
}

#[tokio::test]
async fn replies_to_one_batch_have_a_limit_together() {
    let endpoint = peer(|request| {
        let commands = request.matches("MASTERS").count();
        let large = || format!("$1500000\r\n{}\r\n", "x".repeat(1_500_000)).repeat(commands);
        handshake(request).unwrap_or_else(|| bytes(&large()))
    });
    let endpoint = endpoint.await;
    for (count, is_permitted) in [(10, true), (20, false)] {
        let mut connection =
            Connection::open_with_fred(&endpoint, OPTIONS).await.expect("connected");
        let commands = vec![Command::new(&snapshot::SENTINEL_MASTERS, None); count];
        match connection.run(&commands).await {
            Ok(replies) => assert!(is_permitted, "{replies:?}"),
            Err(failure) => {
                assert!(!is_permitted, "{failure}");
                assert_eq!(failure.reason, Reason::Toolarge, "{failure}");
            }
        }
    }
}

#[tokio::test]
async fn a_reply_without_a_command_ends_the_connection() {
    for with_fred in [false, true] {
        let endpoint = peer(|request| {
            handshake(request).unwrap_or_else(|| bytes("$2\r\nhi\r\n$5\r\nagain\r\n"))
        });
        let endpoint = endpoint.await;
        let opened = if with_fred {
            Connection::open_with_fred(&endpoint, OPTIONS).await
        } else {
            Connection::open(&endpoint, OPTIONS).await
        };
        let mut connection = opened.expect("connected");
        let failure = match connection.run(&[Command::new(&snapshot::INFO, None)]).await {
            Err(failure) => failure,
            Ok(_) => timeout(LIMIT, connection.ended()).await.expect("the connection ended"),
        };
        assert_eq!(failure.reason, Reason::Protocol, "{failure}");
    }
}

/// Returns the password of the tests of secrets, and credentials with it.
fn credentials() -> (&'static str, Credentials) {
    let password = "s3cret-password";
    let credentials = Credentials {
        username: Some("rolecall".to_owned()),
        password: Some(Password::Inline(password.into())),
    };
    (password, credentials)
}

#[tokio::test]
async fn a_password_that_is_sent_back_is_hidden() {
    let (password, credentials) = credentials();
    for reply in [
        format!("-ERR unknown command 'AUTH rolecall {password}'\r\n"),
        format!("-WRONGPASS {password} is wrong\r\n"),
        format!("+{password}\r\n"),
        format!("{password}\r\n"),
    ] {
        let endpoint = peer(move |_| bytes(&reply)).await;
        let endpoint = Endpoint { credentials: credentials.clone(), ..endpoint };
        for result in [
            Connection::open(&endpoint, OPTIONS).await,
            Connection::open_with_fred(&endpoint, OPTIONS).await,
        ] {
            let failure = result.expect_err("the reply is refused");
            assert!(!format!("{failure:?} {failure}").contains("s3cret"), "{failure}");
        }
    }
    let length = "redis_version:".len() + password.len();
    let reply = format!("*2\r\n-NOPERM {password}\r\n${length}\r\nredis_version:{password}\r\n");
    let endpoint = peer(move |request| match () {
        () if request.contains("AUTH") => bytes("+OK\r\n"),
        () if request.contains("SERVER") => bytes("$0\r\n\r\n"),
        () if request.contains("CLIENT") => bytes(":1\r\n"),
        () => bytes(&reply),
    });
    let endpoint = Endpoint { credentials, ..endpoint.await };
    for mut connection in [
        Connection::open(&endpoint, OPTIONS).await.expect("connected"),
        Connection::open_with_fred(&endpoint, OPTIONS).await.expect("connected"),
    ] {
        let commands = [Command::new(&snapshot::SENTINEL_MASTERS, None)];
        let replies = connection.run(&commands).await.expect("a reply");
        assert!(!format!("{replies:?}").contains("s3cret"), "{replies:?}");
        let replies = format!("{:?}", replies.decode());
        assert!(replies.contains("***") && !replies.contains("s3cret"), "{replies}");
    }
}

#[tokio::test]
async fn a_password_that_a_sentinel_publishes_is_hidden() {
    let (password, credentials) = credentials();
    let length = password.len();
    let refusal = format!("-NOPERM {password}\r\n");
    let message = format!(
        "{CONFIRMED}*4\r\n$8\r\npmessage\r\n$2\r\n+*\r\n${length}\r\n{password}\r\n\
         ${length}\r\n{password}\r\n"
    );
    for reply in [refusal, message] {
        let endpoint = peer(move |request| match () {
            () if request.contains("PSUBSCRIBE") => bytes(&reply),
            () if request.contains("AUTH") => bytes("+OK\r\n"),
            () => handshake(request).expect("a command of the handshake"),
        });
        let endpoint = Endpoint { credentials: credentials.clone(), ..endpoint.await };
        let shown = match Subscription::open(&endpoint, LIMIT).await {
            Err(failure) => format!("{failure:?}"),
            Ok(mut subscription) => {
                let next = timeout(LIMIT, subscription.next()).await.expect("no timeout");
                format!("{:?}", next.expect("a message"))
            }
        };
        assert!(shown.contains("***") && !shown.contains("s3cret"), "{shown}");
    }
}

/// Replies to PSUBSCRIBE.
const CONFIRMED: &str = "*3\r\n$10\r\npsubscribe\r\n$2\r\n+*\r\n:1\r\n\
                         *3\r\n$10\r\npsubscribe\r\n$2\r\n-*\r\n:2\r\n";

#[tokio::test]
async fn an_endless_message_ends_a_subscription() {
    let message = "*4\r\n$8\r\npmessage\r\n$2\r\n+*\r\n$6\r\n+sdown\r\n$4\r\nmany\r\n";
    for hostile in ["*4\r\n$8\r\npmessage\r\n$2\r\n+*\r\n$6\r\n+sdown\r\n$99999999\r\n", "*999\r\n"]
    {
        let start = [CONFIRMED, message, hostile].concat();
        let endpoint = peer(move |request| match () {
            () if request.contains("PSUBSCRIBE") => {
                Answer::Endless(start.as_bytes().to_vec(), vec![b'x'; 1 << 16])
            }
            () => handshake(request).expect("a command of the handshake"),
        });
        let opened = Subscription::open(&endpoint.await, LIMIT).await;
        let failure = match opened {
            Err(failure) => failure,
            Ok(mut subscription) => loop {
                let next = timeout(LIMIT, subscription.next()).await.expect("no timeout");
                match next {
                    Ok(SubscriptionMessage::Published { channel, .. }) => {
                        assert_eq!(channel, "+sdown");
                    }
                    Ok(missed) => panic!("{missed:?}"),
                    Err(failure) => break failure,
                }
            },
        };
        assert_eq!(failure.reason, Reason::Toolarge, "{failure}");
    }
}
