//! One request over connections that are held open together, against servers that share connections as nginx does.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollgate::world::{HttpError, Live, LiveSettings, Reply, Request, World as _};
use tokio::sync::mpsc;

const TIME: Duration = Duration::from_secs(5);

/// How long a worker takes for one request.
const WORK: Duration = Duration::from_micros(300);

/// Returns every answer to this many connections.
async fn row(url: &str, connections: usize) -> Vec<Result<Reply, HttpError>> {
    let live = Live::new(LiveSettings::default()).expect("settings");
    let (sender, mut receiver) = mpsc::channel(4);
    let request = Request::get(url, TIME).fresh();
    let asking = async move { live.http_held(request, connections, sender).await };
    let taking = async {
        let mut replies = Vec::new();
        while let Some(reply) = receiver.recv().await {
            replies.push(reply);
        }
        replies
    };
    tokio::join!(asking, taking).1
}

/// Serves each connection on a thread of its own until `serve` returns; returns its URL.
fn server(serve: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!("http://{}/list?app", listener.local_addr().expect("address"));
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(&mut stream));
        }
    });
    url
}

/// Reads one request, of any number that were sent together; false at the end of the connection.
fn request(stream: &mut TcpStream) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    assert!(head.starts_with(b"GET /list?app HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&head));
    true
}

#[tokio::test]
async fn every_connection_is_answered_with_each_way_to_end_a_body() {
    for answer in [
        "HTTP/1.1 200 OK\r\nX-Worker: 7\r\nContent-Length: 4\r\n\r\npong",
        "HTTP/1.1 200 OK\r\nx-worker:7\r\nTransfer-Encoding: chunked\r\n\r\n1\r\np\r\n3;a=b\r\nong\r\n0\r\nX-End: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Worker: 7\r\nConnection: close\r\n\r\npong",
        "HTTP/1.0 200 OK\r\nX-Worker: 7\r\nContent-Length: 4\r\n\r\npong",
    ] {
        let url = server(move |stream| {
            let stays = !answer.contains("close") && answer.contains("HTTP/1.1");
            while request(stream) {
                let sent = stream.write_all(answer.as_bytes());
                if sent.is_err() || !stays {
                    return;
                }
            }
        });
        let replies = row(&url, 21).await;
        assert_eq!(replies.len(), 21, "{answer}");
        for reply in replies {
            let reply = reply.unwrap_or_else(|error| panic!("{answer}: {error}"));
            assert_eq!((reply.status, &*reply.text()), (200, "pong"), "{answer}");
            assert_eq!(reply.header("x-worker"), Some("7"), "{answer}");
        }
    }
}

#[tokio::test]
async fn invalid_answer_is_an_error_for_each_connection() {
    for (answer, told) in [
        ("SSH-2.0-OpenSSH_9.2p1\r\n\r\n", "not HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npong", "closed before"),
        ("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "not a number"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "larger than"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n", "larger than"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "without a size"),
        ("", "closed before"),
    ] {
        let url = server(move |stream| {
            if request(stream) {
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let replies = row(&url, 5).await;
        assert_eq!(replies.len(), 5, "{answer}");
        for reply in replies {
            let error = reply.expect_err(answer).to_string();
            assert!(error.contains(told), "{answer}: {error}");
        }
    }
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("address");
    let replies = row(&format!("http://{free}/"), 5).await;
    assert!(replies.iter().all(|reply| matches!(reply, Err(HttpError::NotSent(_)))), "{replies:?}");
}

#[tokio::test]
async fn requests_stop_once_the_receiver_is_dropped() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&opened);
    let url = server(move |stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        while request(stream) {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let live = Live::new(LiveSettings::default()).expect("settings");
    let (sender, mut receiver) = mpsc::channel(1);
    let asking = async move { live.http_held(Request::get(&url, TIME), 1_000, sender).await };
    let taking = async {
        receiver.recv().await.expect("an answer").expect("a reply");
        drop(receiver);
    };
    tokio::join!(asking, taking);
    assert!(opened.load(Ordering::SeqCst) < 50, "{opened:?}");
}

/// Gives each connection to the first idle worker, as the kernel does for processes that wait with `EPOLLEXCLUSIVE`.
fn favouring_server(workers: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!("http://{}/list?app", listener.local_addr().expect("address"));
    let workers: Vec<_> = (0..workers).map(|_| Arc::new(Mutex::new(()))).collect();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let idle = workers.iter().position(|worker| worker.try_lock().is_ok()).unwrap_or(0);
            let worker = Arc::clone(&workers[idle]);
            std::thread::spawn(move || {
                while request(&mut stream) {
                    {
                        let _works = worker.lock();
                        std::thread::sleep(WORK);
                    }
                    let head =
                        format!("HTTP/1.1 200 OK\r\nX-Worker: {idle}\r\nContent-Length: 0\r\n\r\n");
                    if stream.write_all(head.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn held_connections_reach_workers_that_single_ones_miss() {
    let url = favouring_server(4);
    let live = Live::new(LiveSettings::default()).expect("settings");
    let mut single = BTreeSet::new();
    for _ in 0..100 {
        let reply = live.http(Request::get(&url, TIME).fresh()).await.expect("a reply");
        single.insert(reply.header("x-worker").map(str::to_owned));
    }
    assert_eq!(single.len(), 1, "the server favours one worker: {single:?}");
    let replies = row(&url, 64).await;
    let met: BTreeSet<_> = replies
        .iter()
        .map(|reply| reply.as_ref().expect("a reply").header("x-worker").expect("a name"))
        .collect();
    assert_eq!(met.len(), 4, "{met:?}");
}
