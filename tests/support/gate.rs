//! A proxy before a registry that holds one deletion back, so that a test can act in the middle of a run.
//!
//! It copies bytes and understands only where a deletion begins: a client writes the head of a request
//! that has no body in one piece.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// The head of a deletion that only asks whether deletion works.
const PROBE: &[u8] = b"sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A proxy on a port of its own. Its threads end with their connections.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    held: Receiver<()>,
    release: SyncSender<()>,
}

impl Gate {
    /// Before the registry at `host:port`; it holds the deletion with this number, counted from 1.
    pub fn before(host: &str, number: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, held) = sync_channel(1);
        let (release, released) = sync_channel(1);
        let released = Arc::new(std::sync::Mutex::new(released));
        let (host, count) = (host.to_owned(), Arc::new(AtomicUsize::new(0)));
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect(&host).unwrap();
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || copy(from, to, |_| {}));
                let (tell, released, count) = (tell.clone(), released.clone(), count.clone());
                thread::spawn(move || {
                    copy(client, server, |bytes| {
                        let deletes = bytes.starts_with(b"DELETE ");
                        let is_probe = bytes.windows(PROBE.len()).any(|window| window == PROBE);
                        if deletes && !is_probe && count.fetch_add(1, Ordering::SeqCst) + 1 == number {
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

    /// Waits until the deletion has come.
    pub fn wait_until_held(&self) {
        self.held.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    /// Lets it through.
    pub fn release(&self) {
        self.release.send(()).unwrap();
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, look: impl Fn(&[u8])) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        look(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
