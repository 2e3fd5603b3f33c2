//! A proxy before a registry that injects faults: a test chooses one for each request.
//!
//! It takes one request after the other from each connection, waits for the registry's complete answer, and
//! only then spoils it. So it is exact what the registry did, what the client got and what the log has.
//! It knows HTTP/1.1 and nothing of registries.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

/// Within this time the client has received what was written to it.
const DELIVERY: Duration = Duration::from_millis(20);

/// What is done to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It reaches the registry after this delay.
    Latency(Duration),
    /// It never reaches the registry, and the connection is reset.
    LostRequest,
    /// The registry answers, and the connection is reset before the first byte of the answer.
    LostAnswer,
    /// The connection is reset after so many bytes of the answer's body, or after all but the last. An
    /// answer without a body arrives before the reset.
    ResetIn(usize),
    /// The connection is closed normally after so many bytes of the answer's body, or after all but the
    /// last, although the answer announced more or announced no end.
    Truncate(usize),
    /// The answer has no length and ends after so many bytes of its body: valid HTTP, and incomplete.
    Unframed(usize),
    /// The body is sent in pieces, with a wait before each.
    Drip {
        /// The size of a piece.
        bytes: usize,
        /// The wait before a piece.
        every: Duration,
    },
    /// It never reaches the registry; the answer is this status, with `Retry-After` in seconds if given.
    Status(u16, Option<u64>),
    /// The registry answers, and the client gets this status instead.
    Masked(u16),
}

/// A request for which a fault is to be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxiedRequest {
    /// Its number, from 1.
    pub number: usize,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// How often this method and path were requested, including this time.
    pub times: usize,
}

impl ProxiedRequest {
    /// Random numbers that are the same for the same seed and request, in any order of the threads.
    pub fn chance(&self, seed: u64) -> fastrand::Rng {
        let mut mixed = seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in format!("{} {} {}", self.method, self.path, self.times).bytes() {
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        fastrand::Rng::with_seed(mixed)
    }
}

/// A request and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyLogEntry {
    /// Its number, from 1: the order in which the faults were chosen.
    pub number: usize,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The registry's status; `None` if the request did not reach it or it gave no complete answer.
    pub status: Option<u16>,
    /// The injected fault.
    pub fault: Fault,
}

type Choose = dyn Fn(&ProxiedRequest) -> Fault + Send + Sync;

/// The proxy. Its threads end with it.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    choose: Mutex<Arc<Choose>>,
    counts: Mutex<Counts>,
    log: Mutex<Vec<ProxyLogEntry>>,
    clients: Mutex<Vec<Weak<TcpStream>>>,
    /// Whether connections are taken.
    open: Mutex<bool>,
}

impl FaultProxy {
    /// Before the registry at `host:port`, with a function that chooses the fault of each request.
    pub fn before(host: &str, choose: impl Fn(&ProxiedRequest) -> Fault + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            host: host.to_owned(),
            choose: Mutex::new(Arc::new(choose)),
            counts: Mutex::default(),
            log: Mutex::default(),
            clients: Mutex::default(),
            open: Mutex::new(true),
        });
        let listening = shared.clone();
        thread::spawn(move || listening.listen(listener));
        Self { address, shared }
    }

    /// The URL to reach the registry through it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Replaces the function that chooses faults.
    pub fn set(&self, choose: impl Fn(&ProxiedRequest) -> Fault + Send + Sync + 'static) {
        *lock(&self.shared.choose) = Arc::new(choose);
    }

    /// Injects no faults from now on.
    pub fn stop_faults(&self) {
        self.set(|_| Fault::None);
    }

    /// Refuses connections, or accepts them again. Open connections are cut, as by a host that goes down.
    pub fn refuse_connections(&self, refuse: bool) {
        let was_open = std::mem::replace(&mut *lock(&self.shared.open), !refuse);
        if refuse && was_open {
            // Wakes the listener, which then sees that it is to end.
            drop(TcpStream::connect(self.address));
            let until = Instant::now() + Duration::from_secs(60);
            while TcpStream::connect(self.address).is_ok() {
                assert!(Instant::now() < until, "the listener does not end");
                thread::sleep(Duration::from_millis(1));
            }
            for client in lock(&self.shared.clients).drain(..).filter_map(|client| client.upgrade()) {
                // It may be closed already.
                let _ = client.shutdown(Shutdown::Both);
            }
        } else if !refuse && !was_open {
            let listener = listen_again(self.address);
            let shared = self.shared.clone();
            thread::spawn(move || shared.listen(listener));
        }
    }

    /// The requests so far, with their faults.
    pub fn log(&self) -> Vec<ProxyLogEntry> {
        let mut log = lock(&self.shared.log).clone();
        log.sort_by_key(|passed| passed.number);
        log
    }

    /// Clears the log. The numbers of repetitions stay.
    pub fn forget(&self) {
        lock(&self.shared.log).clear();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.refuse_connections(true);
        }
    }
}

impl Shared {
    fn listen(self: Arc<Self>, listener: TcpListener) {
        for client in listener.incoming() {
            if !*lock(&self.open) {
                return;
            }
            let client = Arc::new(client.unwrap());
            let mut clients = lock(&self.clients);
            clients.retain(|client| client.strong_count() > 0);
            clients.push(Arc::downgrade(&client));
            let shared = self.clone();
            // The connection ends with the thread, which holds it alone.
            thread::spawn(move || shared.serve(&client));
        }
    }

    /// Answers a client's requests, until one of them ends the connection.
    fn serve(&self, client: &TcpStream) {
        // So that every piece is sent when it is written.
        client.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(client);
        while let Ok(Some(request)) = Message::read(&mut reader, Sort::Request) {
            match self.pass(client, &request) {
                Ok(true) => {}
                // The client disconnected.
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Handles one request. Returns whether the connection stays open.
    fn pass(&self, client: &TcpStream, request: &Message) -> io::Result<bool> {
        let seen = self.see(request);
        let choose = lock(&self.choose).clone();
        let fault = choose(&seen);
        if let Fault::Latency(latency) = fault {
            thread::sleep(latency);
        }
        let asked = !matches!(fault, Fault::LostRequest | Fault::Status(..));
        // If the registry itself does not answer, the client's connection ends.
        let answer = if asked { self.ask(request, &seen.method).ok() } else { None };
        let ProxiedRequest { number, method, path, .. } = seen;
        let head = method == "HEAD";
        let status = answer.as_ref().map(Message::status);
        lock(&self.log).push(ProxyLogEntry { number, method, path, status, fault });
        let answer = match (fault, answer) {
            (Fault::LostRequest, _) | (Fault::LostAnswer, Some(_)) => return reset(client),
            (Fault::Status(status, after), _) => Message::of_status(status, after, head),
            (Fault::Masked(status), Some(_)) => Message::of_status(status, None, head),
            (_, Some(answer)) => answer,
            (_, None) => return Ok(false),
        };
        answer.spoil(client, fault)
    }

    fn see(&self, request: &Message) -> ProxiedRequest {
        let mut words = request.first.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut counts = lock(&self.counts);
        counts.all += 1;
        let number = counts.all;
        let times = counts.each.entry(format!("{method} {path}")).or_default();
        *times += 1;
        ProxiedRequest { number, method, path, times: *times }
    }

    /// The registry's complete answer, over a connection of its own.
    fn ask(&self, request: &Message, method: &str) -> io::Result<Message> {
        let mut server = TcpStream::connect(&self.host)?;
        request.write_head(&mut server, Framing::Length, request.body.len(), "close")?;
        server.write_all(&request.body)?;
        let answer = Message::read(&mut BufReader::new(&server), Sort::Answer { head: method == "HEAD" })?;
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// How many requests there were, in total and for each method and path.
#[derive(Default)]
struct Counts {
    all: usize,
    each: BTreeMap<String, usize>,
}

/// What a message is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Request,
    /// To a request for the head alone, or not.
    Answer {
        head: bool,
    },
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// There is no body; a length in the headers means that of another request.
    Empty,
    Length,
    Chunked,
    /// By the end of the connection.
    Close,
}

/// A complete request or answer.
#[derive(Debug, Clone)]
struct Message {
    /// The request line or the status line.
    first: String,
    /// Without those that concern the connection.
    headers: Vec<(String, String)>,
    framing: Framing,
    body: Vec<u8>,
}

impl Message {
    /// `None` where the connection ended before the first byte.
    fn read(reader: &mut impl io::BufRead, sort: Sort) -> io::Result<Option<Self>> {
        let Some(first) = line(reader)? else { return Ok(None) };
        let mut headers = Vec::new();
        loop {
            let header = line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let Some((name, value)) = header.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut message = Self { first, headers, framing: Framing::Empty, body: Vec::new() };
        let chunked = message.header("transfer-encoding").is_some_and(|value| value.contains("chunked"));
        let length: Option<usize> = message.header("content-length").map(|value| value.parse().unwrap());
        let bodyless = match sort {
            Sort::Request => !chunked && length.is_none(),
            Sort::Answer { head } => head || [204, 304].contains(&message.status()),
        };
        if bodyless {
            message.headers.retain(|(name, _)| !["connection", "transfer-encoding"].contains(&name.as_str()));
            return Ok(Some(message));
        }
        message.framing = match length {
            _ if chunked => Framing::Chunked,
            Some(_) => Framing::Length,
            None => Framing::Close,
        };
        match (message.framing, length) {
            (Framing::Length, Some(length)) => {
                message.body = vec![0; length];
                reader.read_exact(&mut message.body)?;
            }
            (Framing::Chunked, _) => loop {
                let size = line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
                let start = message.body.len();
                message.body.resize(start + size, 0);
                reader.read_exact(&mut message.body[start..])?;
                line(reader)?;
                if size == 0 {
                    break;
                }
            },
            _ => drop(reader.read_to_end(&mut message.body)?),
        }
        let framing = ["connection", "transfer-encoding", "content-length"];
        message.headers.retain(|(name, _)| !framing.contains(&name.as_str()));
        Ok(Some(message))
    }

    /// As a proxy between the client and the registry answers by itself.
    fn of_status(status: u16, retry_after: Option<u64>, head: bool) -> Self {
        let mut headers = vec![("content-type".to_owned(), "text/html".to_owned())];
        headers.extend(retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string())));
        let body = if head { String::new() } else { format!("<html>{status} injected</html>") };
        let first = format!("HTTP/1.1 {status} Injected");
        Self { first, headers, framing: Framing::Length, body: body.into_bytes() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap()
    }

    fn write_head(
        &self,
        mut to: impl io::Write,
        framing: Framing,
        length: usize,
        connection: &str,
    ) -> io::Result<()> {
        let mut head = format!("{}\r\nconnection: {connection}\r\n", self.first);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match framing {
            Framing::Length => head.push_str(&format!("content-length: {length}\r\n")),
            Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
            Framing::Empty | Framing::Close => {}
        }
        head.push_str("\r\n");
        to.write_all(head.as_bytes())
    }

    /// Sends the answer as the fault demands. Returns whether the connection stays open.
    fn spoil(&self, client: &TcpStream, fault: Fault) -> io::Result<bool> {
        let framing = match (fault, self.framing) {
            (Fault::Unframed(_), Framing::Length | Framing::Chunked) => Framing::Close,
            (_, framing) => framing,
        };
        let goes_on = framing != Framing::Close;
        self.write_head(client, framing, self.body.len(), if goes_on { "keep-alive" } else { "close" })?;
        let (end, piece, wait) = match fault {
            Fault::ResetIn(bytes) | Fault::Truncate(bytes) | Fault::Unframed(bytes) => {
                // Never all of it, which would be no fault.
                (bytes.min(self.body.len().saturating_sub(1)), usize::MAX, Duration::ZERO)
            }
            Fault::Drip { bytes, every } => (self.body.len(), bytes, every),
            _ => (self.body.len(), usize::MAX, Duration::ZERO),
        };
        for piece in self.body[..end].chunks(piece) {
            thread::sleep(wait);
            write_piece(client, framing, piece)?;
        }
        match fault {
            Fault::ResetIn(_) => reset(client),
            Fault::Truncate(_) | Fault::Unframed(_) => Ok(false),
            _ => {
                if framing == Framing::Chunked {
                    (&mut &*client).write_all(b"0\r\n\r\n")?;
                }
                Ok(goes_on)
            }
        }
    }
}

fn write_piece(mut client: &TcpStream, framing: Framing, piece: &[u8]) -> io::Result<()> {
    if framing != Framing::Chunked {
        return client.write_all(piece);
    }
    client.write_all(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
}

/// Has the connection end by a reset as soon as it is let go. It does not go on.
fn reset(client: &TcpStream) -> io::Result<bool> {
    // A reset may overtake what was written before it.
    thread::sleep(DELIVERY);
    SockRef::from(client).set_linger(Some(Duration::ZERO))?;
    Ok(false)
}

/// One line without its end; `None` at the end of the connection.
fn line(reader: &mut impl io::BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = reader.read_line(&mut line)?;
    Ok((length > 0).then(|| line.trim_end().to_owned()))
}

/// Another test may have been given the port meanwhile, for a moment.
fn listen_again(address: SocketAddr) -> TcpListener {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < until, "{address}: {error}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that failed while it held one of these is over.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
