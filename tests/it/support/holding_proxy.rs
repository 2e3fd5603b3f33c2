//! A proxy before a registry (or a Docker Engine) that holds one request back, so that a test can act at
//! that moment.
//!
//! It copies bytes and knows only where a request begins: a client writes the head of a request in one
//! piece.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Parts of the heads of deletions that only probe whether the registry can delete manifests or tags.
const PROBES: [&[u8]; 2] =
    [b"sha256:0000000000000000000000000000000000000000000000000000000000000000", b"/regsweep-probe-"];

/// Whether a request only probes what the registry can do.
pub fn is_probe(bytes: &[u8]) -> bool {
    PROBES.iter().any(|probe| bytes.windows(probe.len()).any(|window| window == *probe))
}

/// A proxy on a port of its own. Its threads end with their connections.
#[derive(Debug)]
pub struct HoldingProxy {
    address: SocketAddr,
    held: Receiver<()>,
    release: SyncSender<()>,
}

/// What the proxy forwards to.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// A server at `host:port`.
    Host(String),
    /// A server at this socket.
    Socket(PathBuf),
}

impl HoldingProxy {
    /// Before the registry at `host:port`; it holds the deletion with this number, counted from 1.
    pub fn before(host: &str, number: usize) -> Self {
        let mut count = 0;
        Self::holding(Upstream::Host(host.to_owned()), move |bytes| {
            let deletes = bytes.starts_with(b"DELETE ") && !is_probe(bytes);
            count += usize::from(deletes);
            deletes && count == number
        })
    }

    /// Before this server; it holds the first request that the function selects, and no other.
    pub fn holding(behind: Upstream, holds: impl FnMut(&[u8]) -> bool + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, held) = sync_channel(1);
        let (release, released) = sync_channel(1);
        let released = Arc::new(Mutex::new(released));
        let holds = Arc::new(Mutex::new((holds, false)));
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                // While the registry restarts, the client's connection ends, as without the proxy.
                let Ok(server) = Wire::connect(&behind) else { continue };
                let (from, to) = (server.try_clone(), Wire::Tcp(client.try_clone().unwrap()));
                thread::spawn(move || copy(from, to, |_| {}));
                let (tell, released, holds) = (tell.clone(), released.clone(), holds.clone());
                thread::spawn(move || {
                    copy(Wire::Tcp(client), server, |bytes| {
                        let is_held = {
                            let mut holds = holds.lock().unwrap_or_else(PoisonError::into_inner);
                            let is_held = !holds.1 && holds.0(bytes);
                            holds.1 |= is_held;
                            is_held
                        };
                        if is_held {
                            tell.send(()).unwrap();
                            // A test that failed has dropped the other end.
                            let _ = released.lock().unwrap().recv();
                        }
                    });
                });
            }
        });
        Self { address, held, release }
    }

    /// The URL of the registry through the proxy.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the request has arrived.
    pub fn wait_until_held(&self) {
        self.held.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    /// Forwards the held request.
    pub fn release(&self) {
        self.release.send(()).unwrap();
    }
}

enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    fn connect(to: &Upstream) -> io::Result<Self> {
        match to {
            Upstream::Host(host) => TcpStream::connect(host).map(Self::Tcp),
            Upstream::Socket(path) => UnixStream::connect(path).map(Self::Unix),
        }
    }

    fn try_clone(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().unwrap()),
            Self::Unix(stream) => Self::Unix(stream.try_clone().unwrap()),
        }
    }

    fn end(&self) {
        // It may be closed already.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

fn copy(mut from: Wire, mut to: Wire, mut inspect: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        inspect(&buffer[..length]);
        if to.write(&buffer[..length]).is_err() {
            break;
        }
    }
    to.end();
}
