//! HTTP against small servers that send exactly the answer of each test.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio as Pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollgate::secret::Secret;
use rollgate::world::{
    Channel, ConsulTls, HttpError, Live, LiveSettings, Method, Request, Trust, World as _,
};

use super::harness::{run, until};

const TIME: Duration = Duration::from_secs(5);

fn live() -> Live {
    Live::new(LiveSettings::default()).expect("settings")
}

/// Reads one request's head; empty at the end of the connection.
fn head(stream: &mut impl std::io::Read) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Serves every connection with `answer` until it returns false; counts connections.
fn serve(
    answer: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                loop {
                    let head = head(&mut stream);
                    if head.is_empty() || !answer(&head, &mut stream) {
                        return;
                    }
                }
            });
        }
    });
    (url, count)
}

fn ok(_: &str, stream: &mut TcpStream) -> bool {
    stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nok").is_ok()
}

#[tokio::test]
async fn fresh_connections_are_fresh_and_redirects_are_replies() {
    let (url, count) = serve(ok);
    let live = live();
    for _ in 0..3 {
        let reply = live.http(Request::get(&url, TIME)).await.expect("reply");
        assert_eq!((reply.status, &*reply.text()), (302, "ok"));
        assert_eq!(reply.header("x-a"), Some("1"));
    }
    assert_eq!(count.load(Ordering::SeqCst), 1, "kept alive");
    for _ in 0..3 {
        live.http(Request::get(&url, TIME).fresh()).await.expect("reply");
    }
    assert_eq!(count.load(Ordering::SeqCst), 4, "one connection for each");
}

/// Modules of nginx read a query without decoding: for them `%3A` is not a colon, and `app=` is not a name.
#[tokio::test]
async fn url_of_a_gateway_is_sent_unchanged() {
    let (url, _) = serve(|head, stream| {
        let asked = head.split(' ').nth(1).unwrap_or_default();
        let length = asked.len();
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{asked}");
        stream.write_all(reply.as_bytes()).is_ok()
    });
    let live = live();
    for asked in [
        "/dynamic?upstream=backends&server=127.0.0.1:19001&down=",
        "/dynamic?upstream=backends&server=[::1]:19001&up=",
        "/dynamic?upstream=backends&verbose=",
        "/upstream_list?app",
        "/stats;csv",
    ] {
        let reply = live.http(Request::get(format!("{url}{asked}"), TIME).fresh()).await;
        assert_eq!(reply.expect("a reply").text(), asked);
    }
}

#[tokio::test]
async fn token_is_sent_to_the_requested_host_only() {
    let (elsewhere, visits) = serve(|_, _| false);
    let (url, asked) = serve(move |head, stream| {
        assert!(head.contains("x-consul-token: token-1"), "{head}");
        let found =
            format!("HTTP/1.1 307 Moved\r\nLocation: {elsewhere}/v1\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(found.as_bytes()).is_ok()
    });
    let live = live();
    for method in [Method::Get, Method::Put] {
        let headers = vec![("X-Consul-Token".into(), Secret::new("token-1"))];
        let request = Request::get(format!("{url}/v1/kv/a"), TIME);
        let request = Request { method, headers, channel: Channel::Consul, ..request };
        assert!(!format!("{request:?}").contains("token-1"));
        assert_eq!(live.http(request).await.expect("a reply").status, 307);
    }
    assert!(asked.load(Ordering::SeqCst) > 0);
    assert_eq!(visits.load(Ordering::SeqCst), 0, "a redirect is not followed");
}

#[tokio::test]
async fn time_limit_covers_the_body() {
    let (url, _) = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na");
        let _ = stream.read(&mut [0]);
        false
    });
    let error = live().http(Request::get(&url, Duration::from_millis(300))).await;
    assert!(matches!(error, Err(HttpError::TimedOut(_))), "{error:?}");
}

#[tokio::test]
async fn huge_body_broken_reply_and_closed_port_are_distinct_errors() {
    let (huge, _) = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 8192]).is_ok() {}
        false
    });
    let live = live();
    let error = live.http(Request::get(&huge, TIME)).await.expect_err("too large");
    assert!(matches!(&error, HttpError::Broken(text) if text.contains("16.0 MiB")), "{error:?}");
    let error = live.http(Request::get(&huge, TIME).at_most(4096)).await.expect_err("too large");
    assert!(matches!(&error, HttpError::Broken(text) if text.contains("4.0 KiB")), "{error:?}");
    let (broken, _) = serve(|_, _| false);
    let error = live.http(Request::get(&broken, TIME)).await.expect_err("broken");
    assert!(matches!(&error, HttpError::Broken(_)), "{error:?}");
    let closed = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
    let secret = format!("http://{closed}/hook/s3cret");
    let error = live.http(Request::get(secret, TIME)).await.expect_err("closed");
    assert!(
        matches!(&error, HttpError::NotSent(text) if text == "connection refused"),
        "{error:?}"
    );
    let error = live.exchange(&closed.to_string(), &[], TIME).await.expect_err("closed");
    assert!(matches!(error, HttpError::NotSent(_)), "{error:?}");
    for url in ["no url s3cret", "unix:///a/b", "http://", "ftp://x/s3cret"] {
        let error = live.http(Request::get(url, TIME)).await.expect_err(url);
        assert!(
            matches!(&error, HttpError::NotSent(text) if !text.contains("s3cret")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_unix_socket_is_reached_by_its_path() {
    let folder = tempfile::tempdir().expect("temp dir");
    let path = folder.path().join("http.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let line = head(&mut stream).lines().next().unwrap_or_default().to_owned();
            let _ =
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}", line.len());
        }
    });
    let mut request = Request::get(format!("unix://{}:/v1/kv/a?b=c", path.display()), TIME);
    request.channel = Channel::Consul;
    request.method = Method::Put;
    let reply = live().http(request).await.expect("reply");
    assert_eq!(reply.text(), "PUT /v1/kv/a?b=c HTTP/1.1");
}

/// Runs itself again with proxies in the environment, which cannot be set from within.
#[tokio::test]
async fn proxies_are_ignored() {
    if std::env::var_os("ROLLGATE_TEST_PROXY").is_none() {
        let status = Process::new(std::env::current_exe().expect("own path"))
            .args(["--exact", "http::proxies_are_ignored"])
            .envs([("ROLLGATE_TEST_PROXY", "1"), ("HTTP_PROXY", "http://127.0.0.1:1")])
            .envs([("http_proxy", "http://127.0.0.1:1"), ("ALL_PROXY", "http://127.0.0.1:1")])
            .stdout(Pipe::null())
            .status()
            .expect("runs");
        assert!(status.success());
        return;
    }
    let (url, _) = serve(ok);
    for channel in [Channel::Direct, Channel::Fresh, Channel::Consul] {
        let mut request = Request::get(&url, TIME);
        request.channel = channel;
        assert_eq!(live().http(request).await.expect("direct").status, 302);
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A CA, a server certificate for `consul.test` and a client certificate.
fn certificates(folder: &Path) {
    let at = |name: &str| folder.join(name).display().to_string();
    run(&[
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=ca",
        "-keyout",
        &at("ca.key"),
        "-out",
        &at("ca.pem"),
    ]);
    std::fs::write(
        folder.join("ext"),
        "subjectAltName=DNS:consul.test\nbasicConstraints=CA:FALSE\n",
    )
    .expect("write");
    for name in ["server", "client"] {
        run(&[
            "openssl",
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &at(&format!("{name}.key")),
            "-out",
            &at(&format!("{name}.csr")),
        ]);
        run(&[
            "openssl",
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &at(&format!("{name}.csr")),
            "-CA",
            &at("ca.pem"),
            "-CAkey",
            &at("ca.key"),
            "-CAcreateserial",
            "-extfile",
            &at("ext"),
            "-out",
            &at(&format!("{name}.pem")),
        ]);
    }
}

/// A server of a private authority, for as long as the value lives.
fn tls_server(folder: &Path, demands: &[&OsStr]) -> (Server, u16) {
    let at = |name: &str| folder.join(name);
    let port =
        TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port();
    let server = Process::new("openssl")
        .args(["s_server", "-www", "-quiet", "-accept", &format!("127.0.0.1:{port}")])
        .args(["-cert".as_ref(), at("server.pem").as_os_str()])
        .args(["-key".as_ref(), at("server.key").as_os_str()])
        .args(demands)
        .stdin(Pipe::null())
        .stdout(Pipe::null())
        .stderr(Pipe::null())
        .spawn()
        .expect("openssl starts");
    until("server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (Server(server), port)
}

#[tokio::test]
async fn request_trusts_the_authorities_of_its_own_file() {
    let folder = tempfile::tempdir().expect("temp dir");
    certificates(folder.path());
    let (_server, port) = tls_server(folder.path(), &[]);
    let live = live();
    let get = async |trust: Trust, host: Option<&str>| {
        let request = Request::get(format!("https://127.0.0.1:{port}/"), TIME);
        live.http(Request { trust, host: host.map(Into::into), ..request }).await
    };
    let own = || Trust::of(Some(folder.path().join("ca.pem")));
    assert_eq!(get(own(), Some("consul.test:8443")).await.expect("reply").status, 200);
    let any = Trust { insecure: true, ..Trust::default() };
    assert_eq!(get(any, None).await.expect("reply").status, 200);
    for (trust, host, why) in [
        (Trust::default(), None, "signed by an unknown authority (set `ca` or SSL_CERT_FILE)"),
        (own(), None, "not valid for name"),
    ] {
        let error = get(trust, host).await.expect_err(why);
        assert!(
            matches!(&error, HttpError::Untrusted(text) if text.contains(why)),
            "{why}: {error:?}"
        );
    }
    let missing = get(Trust::of(Some(folder.path().join("none.pem"))), None).await;
    let missing = missing.expect_err("no file").to_string();
    assert!(missing.contains("cannot read `") && missing.contains("none.pem"), "{missing}");
}

#[tokio::test]
async fn redirects_are_followed_only_if_the_request_asks() {
    let (url, _) = serve(|head, stream| {
        let place = match head.split(' ').nth(1) {
            Some("/1") => "/2",
            Some("/2") => "/3",
            Some("/loop") => "/loop",
            _ => {
                return stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
                    .is_ok();
            }
        };
        let reply = format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(reply.as_bytes()).is_ok()
    });
    let live = live();
    let get = async |path: &str, redirects: u8| {
        let request = Request { redirects, ..Request::get(format!("{url}{path}"), TIME) };
        live.http(request).await.expect("a reply")
    };
    assert_eq!(get("/1", 0).await.status, 302);
    assert_eq!(get("/1", 1).await.header("location"), Some("/3"));
    assert_eq!(get("/1", 5).await.text(), "good");
    assert_eq!(get("/loop", 5).await.status, 302, "it ends");
}

#[tokio::test]
async fn consul_over_tls_with_its_own_ca_and_a_client_certificate() {
    let folder = tempfile::tempdir().expect("temp dir");
    certificates(folder.path());
    let at = |name: &str| folder.path().join(name);
    let client = ["-Verify", "1", "-verify_return_error", "-CAfile"].map(OsStr::new);
    let ca = at("ca.pem");
    let demands: Vec<_> = client.into_iter().chain([ca.as_os_str()]).collect();
    let (_server, port) = tls_server(folder.path(), &demands);
    let get = async |tls: ConsulTls| {
        let live = Live::new(LiveSettings { consul_tls: tls, ..LiveSettings::default() });
        let mut request = Request::get(format!("https://127.0.0.1:{port}/"), TIME);
        request.channel = Channel::Consul;
        live.expect("settings").http(request).await
    };
    let full = ConsulTls {
        ca: Some(at("ca.pem")),
        client_cert: Some(at("client.pem")),
        client_key: Some(at("client.key")),
        server_name: Some("consul.test".into()),
        ..ConsulTls::default()
    };
    assert_eq!(get(full.clone()).await.expect("reply").status, 200);
    let cases = [
        (
            "signed by an unknown authority (set `consul.ca` or CONSUL_CACERT)",
            ConsulTls { ca: None, ..full.clone() },
        ),
        ("not valid for name", ConsulTls { server_name: None, ..full.clone() }),
        ("or requires one", ConsulTls { client_cert: None, client_key: None, ..full.clone() }),
    ];
    for (why, tls) in cases {
        let error = get(tls).await.expect_err(why);
        assert!(
            matches!(&error, HttpError::Untrusted(text) if text.contains(why)),
            "{why}: {error:?}"
        );
    }
    let lax = ConsulTls { ca: None, server_name: None, verify: false, ..full.clone() };
    assert_eq!(get(lax).await.expect("reply").status, 200);
    let broken = ConsulTls { ca: Some(at("ext")), ..ConsulTls::default() };
    assert!(Live::new(LiveSettings { consul_tls: broken, ..LiveSettings::default() }).is_err());
}
