//! A proxy before a registry (or a Docker Engine) that holds one request back, so that a test can act in
//! the middle of what is done there.
//!
//! It copies bytes and understands only where a request begins: a client writes the head of one in one
//! piece.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What the heads of deletions have in them that only ask whether deletion works, or that of a tag.
const PROBES: [&[u8]; 2] =
    [b"sha256:0000000000000000000000000000000000000000000000000000000000000000", b"/regsweep-probe-"];

/// Whether a request only asks what the registry can do.
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

/// What is behind a gate.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// What listens at `host:port`.
    Host(String),
    /// What listens at this socket.
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

    /// Before this; it holds the first request of which the function says so, and no other.
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
                // A registry that is being restarted is not there, which is what the client sees, too.
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
                            // A test that gave up has let go of the other end.
                            let _ = released.lock().unwrap().recv();
                        }
                    });
                });
            }
        });
        Self { address, held, release }
    }

    /// The URL to reach the registry through the gate.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the request has come.
    pub fn wait_until_held(&self) {
        self.held.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    /// Lets it through.
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
        // What is closed already needs no end.
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

fn copy(mut from: Wire, mut to: Wire, mut look: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        look(&buffer[..length]);
        if to.write(&buffer[..length]).is_err() {
            break;
        }
    }
    to.end();
}
