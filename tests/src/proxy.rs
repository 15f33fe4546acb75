//! A TCP proxy: what stands between one process and one server, so that the way between these two alone can break or be slow.
//!
//! What goes through is not looked at, but for two things of Kafka's protocol. Its clients go where a broker says that it is, and are told the
//! proxy's address in place of it; and a transaction can be held where it begins or is committed, to break
//! things at that moment.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Answers that may be on their way to a client.
const ANSWERS: usize = 1024;

/// Bytes that are taken at once where there are no frames.
const CHUNK: usize = 1 << 16;

/// A moment in a transaction of Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Its first request: Kafka does not know of it yet.
    Begin,
    /// All is written; what makes it count is on its way.
    Commit,
}

impl Moment {
    /// Of a request that is one. Its kind stands first behind the length: AddPartitionsToTxn, or EndTxn, which ends with whether it commits.
    fn of(request: &[u8]) -> Option<Self> {
        match (request.get(4..6)?, request.last()) {
            ([0, 24], _) => Some(Self::Begin),
            ([0, 26], Some(1)) => Some(Self::Commit),
            _ => None,
        }
    }
}

/// A proxy in front of one server; all of its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
}

/// The way to the server.
#[derive(Debug)]
struct Way {
    server: SocketAddr,
    /// The broker's address in an answer of Kafka, and what takes its place.
    rewritten: Option<[Vec<u8>; 2]>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    passage: Passage,
    /// Requests of that kind that still pass; the next one is held, and all else with it.
    until: Option<(Moment, u32)>,
    delay: Duration,
    connections: Vec<TcpStream>,
}

/// What becomes of what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Open,
    Held,
    Cut,
    Over,
}

impl Proxy {
    /// In front of a server, HOST:PORT or an URL.
    pub fn to(server: &str) -> Self {
        Self::open(server, false)
    }

    /// In front of a broker.
    pub fn to_kafka(broker: &str) -> Self {
        Self::open(broker, true)
    }

    fn open(server: &str, is_kafka: bool) -> Self {
        let server = server.rsplit_once("//").map_or(server, |(_, server)| server);
        let server: SocketAddr = server.split('/').next().unwrap_or(server).parse().expect("the address of a server");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let rewritten = is_kafka.then(|| [server, address].map(as_in_kafka));
        let state = State { passage: Passage::Open, until: None, delay: Duration::ZERO, connections: Vec::new() };
        let way = Arc::new(Way { server, rewritten, state: Mutex::new(state), changed: Condvar::new() });
        let behind = Arc::clone(&way);
        spawn(move || behind.accept(&listener));
        Self { address, way }
    }

    /// Where it listens, as HOST:PORT.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The same as an URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Drops all connections, and each new one at once.
    pub fn cut(&self) {
        self.way.set(Passage::Cut);
    }

    /// Lets nothing through in either direction, as when a cable is drawn: nobody is told. What was on its way arrives after [`Self::mend`].
    pub fn hold(&self) {
        self.way.set(Passage::Held);
    }

    /// Lets so many of these requests through, then holds: the next one is on its way, and nobody hears anything any more.
    pub fn hold_at(&self, moment: Moment, after: u32) {
        self.way.state().until = Some((moment, after));
    }

    /// Whether it holds.
    pub fn is_held(&self) -> bool {
        self.way.state().passage == Passage::Held
    }

    /// Lets everything through again.
    pub fn mend(&self) {
        self.way.set(Passage::Open);
    }

    /// From now on each answer takes so much longer.
    pub fn delay(&self, delay: Duration) {
        self.way.state().delay = delay;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.way.set(Passage::Over);
        // Who waits for connections sees that there will be none.
        let _ = TcpStream::connect(self.address);
    }
}

impl Way {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    fn set(&self, passage: Passage) {
        let mut state = self.state();
        state.passage = passage;
        if matches!(passage, Passage::Cut | Passage::Over) {
            state.connections.drain(..).for_each(|connection| drop(connection.shutdown(Shutdown::Both)));
        }
        self.changed.notify_all();
    }

    /// Waits until something may pass, or will not.
    fn passes(&self) -> bool {
        let held = |state: &mut State| state.passage == Passage::Held;
        let state = self.changed.wait_while(self.state(), held).expect("nobody panics with it");
        state.passage == Passage::Open
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.state().passage == Passage::Over {
                return;
            }
            let (way, Ok(client)) = (Arc::clone(&self), client) else { continue };
            // A connection that fails is its client's matter.
            spawn(move || drop(way.connect(client)));
        }
    }

    fn connect(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        if !self.passes() {
            return Ok(());
        }
        let server = TcpStream::connect(self.server)?;
        for connection in [&client, &server] {
            connection.set_nodelay(true)?;
        }
        {
            let mut state = self.state();
            if !matches!(state.passage, Passage::Open | Passage::Held) {
                return Ok(());
            }
            state.connections.extend([client.try_clone()?, server.try_clone()?]);
        }
        let (answers, due) = sync_channel(ANSWERS);
        let (way, from, to) = (Arc::clone(&self), server.try_clone()?, client.try_clone()?);
        spawn(move || way.take(&from, &answers));
        let way = Arc::clone(&self);
        spawn(move || way.give(&to, &due));
        self.ask(&client, &server);
        Ok(())
    }

    /// Passes on what the client says.
    fn ask(&self, client: &TcpStream, mut server: &TcpStream) {
        while let Ok(Some(request)) = self.said(client) {
            if let Some(moment) = self.rewritten.as_ref().and_then(|_| Moment::of(&request)) {
                self.count(moment);
            }
            if !self.passes() || server.write_all(&request).is_err() {
                break;
            }
        }
        end(client, server);
    }

    fn count(&self, moment: Moment) {
        let mut state = self.state();
        match state.until.as_mut().filter(|until| until.0 == moment) {
            None => {}
            Some((_, 0)) => (state.until, state.passage) = (None, Passage::Held),
            Some((_, more)) => *more -= 1,
        }
    }

    /// What comes next: of Kafka a frame, else what there is; none at the end.
    fn said(&self, mut by: &TcpStream) -> io::Result<Option<Vec<u8>>> {
        if self.rewritten.is_none() {
            let mut chunk = vec![0; CHUNK];
            let read = by.read(&mut chunk)?;
            chunk.truncate(read);
            return Ok((read > 0).then_some(chunk));
        }
        let mut frame = vec![0; 4];
        by.read_exact(&mut frame)?;
        let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        frame.resize(4 + length, 0);
        by.read_exact(&mut frame[4..])?;
        Ok(Some(frame))
    }

    /// Takes the answers, each with the time at which the client gets it.
    fn take(&self, server: &TcpStream, answers: &SyncSender<(Instant, Vec<u8>)>) {
        while let Ok(Some(answer)) = self.answer(server) {
            let due = Instant::now() + self.state().delay;
            if answers.send((due, answer)).is_err() {
                return;
            }
        }
    }

    fn answer(&self, server: &TcpStream) -> io::Result<Option<Vec<u8>>> {
        let mut answer = self.said(server)?;
        if let (Some(answer), Some([from, to])) = (&mut answer, &self.rewritten) {
            replace(answer, from, to);
        }
        Ok(answer)
    }

    /// Gives the client its answers when they are due, and its end behind the last.
    fn give(&self, mut client: &TcpStream, answers: &Receiver<(Instant, Vec<u8>)>) {
        for (due, answer) in answers {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if !self.passes() || client.write_all(&answer).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    }
}

/// How an answer of Kafka says where a broker is: the host, then the port in four bytes.
fn as_in_kafka(address: SocketAddr) -> Vec<u8> {
    [address.ip().to_string().as_bytes(), &u32::from(address.port()).to_be_bytes()].concat()
}

/// Puts `to` in the place of each `from`, which is as long.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let places = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from);
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
}

fn end(client: &TcpStream, server: &TcpStream) {
    // Whoever is gone already need not be told.
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Read);
}

fn spawn(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name("proxy".to_owned());
    thread.spawn(work).expect("a thread starts");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each connection with what it hears.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        spawn(move || {
            for mut connection in listener.incoming().flatten() {
                spawn(move || drop(io::copy(&mut connection.try_clone().unwrap(), &mut connection)));
            }
        });
        address
    }

    fn say(mut to: &TcpStream, word: &[u8; 4]) -> io::Result<[u8; 4]> {
        to.write_all(word)?;
        let mut heard = [0; 4];
        to.read_exact(&mut heard)?;
        Ok(heard)
    }

    #[test]
    fn what_is_cut_ends_what_is_held_waits_and_what_is_mended_goes_on() {
        let proxy = Proxy::to(&echo().to_string());
        let connection = TcpStream::connect(proxy.address()).unwrap();
        assert_eq!(say(&connection, b"here").unwrap(), *b"here");
        proxy.hold();
        connection.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        say(&connection, b"wait").unwrap_err();
        proxy.mend();
        connection.set_read_timeout(None).unwrap();
        let mut heard = [0; 4];
        (&connection).read_exact(&mut heard).unwrap();
        assert_eq!(heard, *b"wait");
        proxy.cut();
        say(&connection, b"gone").unwrap_err();
        say(&TcpStream::connect(proxy.address()).unwrap(), b"none").unwrap_err();
        proxy.mend();
        assert_eq!(say(&TcpStream::connect(proxy.address()).unwrap(), b"more").unwrap(), *b"more");
    }

    #[test]
    fn an_answer_takes_as_long_as_it_is_told_and_many_take_no_longer() {
        let proxy = Proxy::to(&echo().to_string());
        let mut connection = TcpStream::connect(proxy.address()).unwrap();
        proxy.delay(Duration::from_millis(200));
        let began = Instant::now();
        for _ in 0..100 {
            connection.write_all(b"word").unwrap();
        }
        connection.read_exact(&mut [0; 400]).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }

    #[test]
    fn a_broker_is_where_the_proxy_is() {
        let [from, to] = ["127.0.0.1:9092", "127.0.0.1:40000"].map(|address| as_in_kafka(address.parse().unwrap()));
        let mut answer = [b"\x0a", from.as_slice(), b"rack", &from].concat();
        replace(&mut answer, &from, &to);
        assert_eq!(answer, [b"\x0a", to.as_slice(), b"rack", &to].concat());
    }
}
