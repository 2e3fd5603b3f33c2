//! A proxy before a registry that stops all traffic at a chosen step of a deletion, for good: the program behind it
//! can only be killed.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::holding_proxy::is_probe;

/// A step of the deletion (or the upload) with a number, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is sent, and never reaches the registry.
    Sent(usize),
    /// The registry has done it, and its answer never arrives.
    Done(usize),
    /// It was answered, and the next request never reaches the registry.
    Answered(usize),
}

/// The proxy. Its threads end with their connections.
pub(crate) struct InterruptingProxy {
    address: SocketAddr,
    reached: Receiver<()>,
}

struct Shared {
    method: &'static [u8],
    step: Step,
    /// Deletions that were sent.
    sent: AtomicUsize,
    /// Deletions that were answered.
    answered: AtomicUsize,
    tell: Mutex<Sender<()>>,
}

impl Shared {
    fn stop(&self) {
        // A test that gave up does not listen any more.
        let _ = self.tell.lock().unwrap().send(());
    }
}

impl InterruptingProxy {
    /// Before the registry at `host:port`, for deletions.
    pub(crate) fn before(host: &str, step: Step) -> Self {
        Self::of(b"DELETE ", host, step)
    }

    /// For what is put there.
    pub(crate) fn of_puts(host: &str, step: Step) -> Self {
        Self::of(b"PUT ", host, step)
    }

    fn of(method: &'static [u8], host: &str, step: Step) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, reached) = channel();
        let (sent, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new(Shared { method, step, sent, answered, tell: Mutex::new(tell) });
        let host = host.to_owned();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&host).unwrap());
                // The number of the deletion that this connection waits for.
                let current = Arc::new(AtomicUsize::new(0));
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (state, number) = (shared.clone(), current.clone());
                thread::spawn(move || answers(back.0, back.1, &state, &number));
                let state = shared.clone();
                thread::spawn(move || requests(client, server, &state, &current));
            }
        });
        Self { address, reached }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the step has come.
    pub(crate) fn wait(&self) {
        self.reached.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}

fn requests(mut client: TcpStream, mut server: TcpStream, shared: &Shared, current: &AtomicUsize) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let bytes = &buffer[..length];
        let deletes = bytes.starts_with(shared.method) && !is_probe(bytes);
        let number = if deletes { shared.sent.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
        current.store(number, Ordering::SeqCst);
        let here = match shared.step {
            Step::Sent(step) => number == step,
            Step::Done(_) => false,
            Step::Answered(step) => shared.answered.load(Ordering::SeqCst) == step,
        };
        if here {
            shared.stop();
            // Until the client is killed.
            while let Ok(1..) = client.read(&mut buffer) {}
            break;
        }
        if server.write_all(bytes).is_err() {
            break;
        }
    }
    // What is closed already needs no end.
    let _ = server.shutdown(Shutdown::Write);
}

fn answers(mut server: TcpStream, mut client: TcpStream, shared: &Shared, current: &AtomicUsize) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        let number = current.swap(0, Ordering::SeqCst);
        if number > 0 && shared.step == Step::Done(number) {
            // The other half keeps the connection until the client is killed.
            return shared.stop();
        }
        if number > 0 {
            shared.answered.store(number, Ordering::SeqCst);
        }
        if client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Write);
}
