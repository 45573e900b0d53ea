//! Contents from the network, into the cache: asked for by digest, bounded, gone on with after a cut.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use weiche_agent::digest::Digest;
use weiche_agent::resources::download::{MAX_BYTES, MAX_REDIRECTS};

use super::ContentError;
use super::cache::{Cache, Part};

/// Bounds of a fetch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes.
    pub bytes: u64,
    /// Tries, each of which goes on where the one before was cut.
    pub tries: u32,
    /// Before the second try; twice as long before each further one.
    pub pause: Duration,
    /// A server that says nothing for this long is gone.
    pub silence: Duration,
}

/// As the reference says.
pub const LIMITS: Limits =
    Limits { bytes: MAX_BYTES, tries: 4, pause: Duration::from_secs(1), silence: Duration::from_secs(30) };

/// Why one try did not come to its end.
enum Cut {
    /// Another may.
    Again(String),
    /// No other will.
    Final(String),
}

/// Brings a content into the cache, unless it is there; returns its length.
///
/// # Errors
/// `Refused` with what the server said, or if what it sent is something else than was meant.
pub async fn fetch(url: &str, digest: &Digest, limits: Limits, cache: &Cache) -> Result<u64, ContentError> {
    if let Some(size) = cache.size(digest) {
        return Ok(size);
    }
    let failed = |why: String| ContentError::refused(format!("cannot fetch {url}: {why}"));
    let client = client(limits).map_err(|error| failed(told(&error)))?;
    let mut part = cache.part()?;
    let mut pause = limits.pause;
    for left in (0..limits.tries).rev() {
        match go_on(&client, url, limits, &mut part).await {
            Ok(()) => break,
            Err(Cut::Again(_)) if left > 0 => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(Cut::Again(why) | Cut::Final(why)) => return Err(failed(why)),
        }
    }
    let failed_here = || ContentError::io(format!("read {}", part.path().display()));
    let mut file = File::open(part.path()).map_err(failed_here())?;
    let (seen, size) = Digest::of_reader(&mut file).map_err(failed_here())?;
    if seen != *digest {
        return Err(ContentError::refused(format!(
            "{url} has SHA-256 {seen}, not {digest}: was it replaced there? If that is right, correct `sha256`"
        )));
    }
    cache.keep(part, digest)?;
    Ok(size)
}

fn client(limits: Limits) -> reqwest::Result<Client> {
    // The process-wide provider may be set already; either way there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let silence = limits.silence;
    let policy = Policy::limited(MAX_REDIRECTS);
    Client::builder().connect_timeout(silence).read_timeout(silence).redirect(policy).referer(false).build()
}

/// One try, from where the last one ended.
async fn go_on(client: &Client, url: &str, limits: Limits, part: &mut Part) -> Result<(), Cut> {
    let path = part.path().display().to_string();
    let here = |error: std::io::Error| Cut::Final(format!("write {path}: {error}"));
    let mut have = part.file.seek(SeekFrom::End(0)).map_err(here)?;
    let mut request = client.get(url);
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
    }
    let mut response = request.send().await.map_err(|error| cut(&error))?;
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && have > 0 {
        // It was whole, and only the end of the answer was lost; the digest will tell.
        return Ok(());
    }
    if !response.status().is_success() {
        let status = response.status();
        let why = format!("the server answered {status}");
        let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
        return Err(if passing { Cut::Again(why) } else { Cut::Final(why) });
    }
    if have > 0 && !continues(&response, have) {
        // It begins again; so do we.
        part.file.set_len(0).map_err(here)?;
        part.file.rewind().map_err(here)?;
        have = 0;
    }
    let over = || Cut::Final(format!("it has more than {} bytes", limits.bytes));
    if response.content_length().is_some_and(|length| length.saturating_add(have) > limits.bytes) {
        return Err(over());
    }
    while let Some(chunk) = response.chunk().await.map_err(|error| cut(&error))? {
        have += chunk.len() as u64;
        if have > limits.bytes {
            return Err(over());
        }
        part.file.write_all(&chunk).map_err(here)?;
    }
    Ok(())
}

/// Whether an answer goes on at this byte (RFC 9110, 14.4).
fn continues(response: &Response, from: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

fn cut(error: &reqwest::Error) -> Cut {
    let why = told(error);
    if error.is_redirect() || error.is_builder() { Cut::Final(why) } else { Cut::Again(why) }
}

fn told(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};
    use std::thread::JoinHandle;

    use super::*;

    const QUICK: Limits =
        Limits { bytes: 1000, tries: 3, pause: Duration::from_millis(1), silence: Duration::from_secs(10) };

    /// Gives one canned answer a connection, in order; tells the request line and range of each.
    struct Server {
        url: String,
        asked: Receiver<String>,
        thread: JoinHandle<()>,
    }

    fn server(answers: Vec<String>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, asked) = channel();
        let thread = std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                tell.send(serve(stream, &answer)).unwrap();
            }
        });
        Server { url, asked, thread }
    }

    fn serve(mut stream: TcpStream, answer: &str) -> String {
        let mut told = String::new();
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            let line = line.unwrap();
            if line.is_empty() {
                break;
            }
            if told.is_empty() || line.to_lowercase().starts_with("range:") {
                told += &line.to_lowercase();
            }
        }
        stream.write_all(answer.as_bytes()).unwrap();
        told
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n{body}")
    }

    /// What came of it, and what the server was asked.
    fn run(answers: Vec<String>, content: &str, limits: Limits) -> (Result<u64, String>, Vec<String>) {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::new(place.path());
        let server = server(answers);
        let digest = Digest::of(content.as_bytes());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fetched = || {
            let url = format!("{}/file", server.url);
            runtime
                .block_on(fetch(&url, &digest, limits, &cache))
                .map_err(|error| error.told().replace(&server.url, "U"))
        };
        let result = fetched();
        if result.is_ok() {
            assert_eq!(std::fs::read(cache.path(&digest)).unwrap(), content.as_bytes());
            // From the cache: the server gives no further answer.
            assert_eq!(fetched(), result);
        }
        let left: Vec<_> = std::fs::read_dir(place.path().join(".weiche/cache")).unwrap().collect();
        assert_eq!(left.len(), usize::from(result.is_ok()), "{left:?}");
        server.thread.join().unwrap();
        (result, server.asked.iter().collect())
    }

    #[test]
    fn a_content_is_fetched_and_kept() {
        let found = answer("200 OK", "Content-Length: 5\r\n", "hello");
        let moved = answer("302 Found", "Location: /other\r\nContent-Length: 0\r\n", "");
        let (result, asked) = run(vec![moved, found], "hello", QUICK);
        assert_eq!(result, Ok(5));
        assert_eq!(asked, ["get /file http/1.1", "get /other http/1.1"]);
    }

    #[test]
    fn a_cut_fetch_goes_on_where_it_was() {
        let cut = answer("200 OK", "Content-Length: 10\r\n", "hello");
        let rest = answer("206 Partial Content", "Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n", "world");
        let busy = answer("503 Service Unavailable", "Content-Length: 0\r\n", "");
        let (result, asked) = run(vec![cut.clone(), busy, rest], "helloworld", QUICK);
        assert_eq!((result, asked[2].as_str()), (Ok(10), "get /file http/1.1range: bytes=5-"));
        // A server that knows no ranges begins again.
        let whole = answer("200 OK", "Content-Length: 10\r\n", "helloworld");
        assert_eq!(run(vec![cut, whole], "helloworld", QUICK).0, Ok(10));
    }

    #[test]
    fn what_was_not_meant_is_refused() {
        let round = answer("302 Found", "Location: /file\r\nContent-Length: 0\r\n", "");
        let cut = answer("200 OK", "Content-Length: 10\r\n", "hello");
        #[rustfmt::skip]
        let cases = [
            (vec![answer("200 OK", "Content-Length: 3\r\n", "bye")], "has SHA-256"),
            (vec![answer("404 Not Found", "Content-Length: 0\r\n", "")], "answered 404"),
            (vec![answer("200 OK", "Content-Length: 1001\r\n", "")], "more than 1000 bytes"),
            (vec![answer("200 OK", "", &"x".repeat(1001))], "more than 1000 bytes"),
            (vec![round; MAX_REDIRECTS + 1], "redirect"),
            (vec![answer("302 Found", "Location: file:///etc/passwd\r\nContent-Length: 0\r\n", "")], "cannot fetch"),
            (vec![cut.clone(), answer("500 Oops", "Content-Length: 0\r\n", ""), cut], "cannot fetch"),
        ];
        for (answers, why) in cases {
            let (result, _) = run(answers, "hello", QUICK);
            assert!(result.as_ref().is_err_and(|said| said.contains(why)), "{why}: {result:?}");
        }
    }
}
