//! A receiver of webhooks: a real HTTP server on loopback, which is down until it is started, and then answers as told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::sync::oneshot;

/// A request, and how it was answered.
#[derive(Clone, Debug)]
pub struct Got {
    /// Its `Idempotency-Key`.
    pub key: String,
    /// Its `Weiche-Signature`.
    pub signature: String,
    /// Its body.
    pub body: String,
    /// The status that it was answered with.
    pub status: u16,
}

#[derive(Debug, Default)]
struct Inner {
    got: Vec<Got>,
    answers: VecDeque<u16>,
}

/// A receiver; it ends with the value.
#[derive(Debug)]
pub struct Receiver {
    /// Its address; whoever connects is refused until it is started.
    pub address: SocketAddr,
    socket: Option<TcpSocket>,
    inner: Arc<Mutex<Inner>>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Receiver {
    /// One that is down.
    ///
    /// # Panics
    /// If there is no port.
    pub fn down() -> Receiver {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = socket.local_addr().expect("its address");
        Receiver { address, socket: Some(socket), inner: Arc::default(), running: None }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Starts it: the first requests are answered with these, the others with 204.
    ///
    /// # Panics
    /// If it is up already.
    pub fn start(&mut self, answers: &[u16]) {
        self.answer(answers);
        let socket = self.socket.take().expect("it is down");
        let inner = Arc::clone(&self.inner);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(socket, inner) => {}
                    _ = stopped => {}
                }
            });
        });
        self.running = Some((stop, thread));
    }

    /// The next requests are answered with these.
    pub fn answer(&self, answers: &[u16]) {
        lock(&self.inner).answers.extend(answers);
    }

    /// Everything that came until now.
    pub fn got(&self) -> Vec<Got> {
        lock(&self.inner).got.clone()
    }

    /// The keys of what it has accepted, in order.
    pub fn accepted(&self) -> Vec<String> {
        self.got().into_iter().filter(|got| got.status / 100 == 2).map(|got| got.key).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(socket: TcpSocket, inner: Arc<Mutex<Inner>>) {
    let listener = socket.listen(64).expect("listen");
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let inner = Arc::clone(&inner);
        connections.spawn(async move {
            let service = service_fn(|request| take(request, &inner));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn take(request: Request<Incoming>, inner: &Mutex<Inner>) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (key, signature) = (header("idempotency-key"), header("weiche-signature"));
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut inner = lock(inner);
    let status = inner.answers.pop_front().unwrap_or(204);
    inner.got.push(Got { key, signature, body, status });
    let mut response = Response::new(Full::default());
    *response.status_mut() = status.try_into().unwrap_or_default();
    if status / 100 == 3 {
        // To itself: whoever followed it would be seen a second time.
        response.headers_mut().insert("location", hyper::header::HeaderValue::from_static("/elsewhere"));
    }
    Ok(response)
}
