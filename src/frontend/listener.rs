//! Listening sockets, and the acceptor that sends each client to a core.
//!
//! Owns: TCP and Unix listeners, a Unix socket's file, the limit of clients. Does not know: logins.
//! Invariant: a socket file that another process listens on is never taken away; ours goes with its listener.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::cores::{Arrival, Core};
use crate::config::{Keepalive, ListenAddress};
use crate::observe::Metrics;
use crate::registry::Registry;
use crate::wire::socket::{self, Peer};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 4096;
/// A pause where the process has no file descriptor left for a client.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Who may connect to a Unix socket: everybody who reaches it, as mysqld has it; its folder says who does.
const SOCKET_MODE: u32 = 0o777;

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A client that was just accepted; no runtime watches it yet.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Listens on `address`.
    ///
    /// # Errors
    /// The system's; `AddrInUse` also for a Unix socket that another process listens on.
    pub fn open(address: &ListenAddress, keepalive: &Keepalive) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => {
                let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
                socket.set_reuse_address(true)?;
                if address.is_ipv6() {
                    socket.set_only_v6(true)?;
                }
                socket.set_nonblocking(true)?;
                // Accepted sockets inherit both (Linux). A client that vanished without a word is noticed by the second.
                socket.set_tcp_nodelay(true)?;
                socket.set_tcp_keepalive(&socket::keepalive(
                    keepalive.time,
                    keepalive.interval,
                    keepalive.probes,
                ))?;
                socket.bind(&(*address).into())?;
                socket.listen(BACKLOG)?;
                Ok(Self::Tcp(socket.into()))
            }
            ListenAddress::Unix(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.set_nonblocking(true)?;
                let file = SocketFile::bind(&socket, path)?;
                socket.listen(BACKLOG)?;
                Ok(Self::Unix(socket.into(), file))
            }
        }
    }

    /// Where it listens; the real port where port 0 was asked for.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(_, file) => Ok(ListenAddress::Unix(file.path.clone())),
        }
    }

    fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                listener.accept().map(|(stream, peer)| (Accepted::Tcp(stream), Peer::Network(peer)))
            }
            Self::Unix(listener, _) => {
                listener.accept().map(|(stream, _)| (Accepted::Unix(stream), Peer::Local))
            }
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(listener) => listener.as_raw_fd(),
            Self::Unix(listener, _) => listener.as_raw_fd(),
        }
    }
}

impl Accepted {
    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(true),
            Self::Unix(stream) => stream.set_nonblocking(true),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => io::Write::write(&mut &*stream, bytes),
            Self::Unix(stream) => io::Write::write(&mut &*stream, bytes),
        }
    }
}

/// The file of a Unix socket, and the lock beside it (`PATH.lock`) that says whose it is. The lock ends with the
/// process, however that ends; so a file without a lock, on which nobody answers either, was left behind.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
    /// Device and inode: whether the file is still ours when we go.
    identity: (u64, u64),
}

impl SocketFile {
    fn bind(socket: &Socket, path: &Path) -> io::Result<Self> {
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let lock = lock(&lock_path)?;
        clear(path)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = Self { path: path.to_owned(), lock_path, _lock: lock, identity: identity(path)? };
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
        Ok(file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let removed = fs::remove_file(&self.path).and_then(|()| fs::remove_file(&self.lock_path));
            if let Err(error) = removed {
                tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket's file");
            }
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn in_use(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, what)
}

/// The lock file, locked. One that its owner removed between our opening and our locking it is tried again.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(in_use("another Tidegate listens on this socket"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let locked = file.metadata()?;
        if identity(path).is_ok_and(|found| found == (locked.dev(), locked.ino())) {
            return Ok(file);
        }
    }
}

/// Takes away a socket's file that nobody listens on any more.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(in_use("a file that is no socket is in the way"));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?; // a process that is busy does not hold us up
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "removing a socket's file that a process left behind");
            fs::remove_file(path)
        }
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Err(in_use("another process listens on this socket")),
    }
}

/// Accepts clients and sends each to the core with the fewest.
pub(super) struct Acceptor {
    pub clients_max: usize,
    pub cores: Arc<Vec<Core>>,
    pub registry: Arc<Registry>,
    pub metrics: Arc<Metrics>,
}

impl Acceptor {
    /// Accepts until it is dropped.
    pub async fn accept(self, listener: AsyncFd<Listener>) {
        loop {
            let Ok(mut ready) = listener.readable().await else { return };
            loop {
                match ready.try_io(|listener| listener.get_ref().accept()) {
                    Ok(Ok((stream, peer))) => self.admit(stream, peer),
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(Err(error)) => {
                        // Such as no file descriptor left: clients wait in the backlog meanwhile.
                        tracing::warn!(%error, "cannot accept a client");
                        sleep(ACCEPT_PAUSE).await;
                        break;
                    }
                    Err(_) => break, // none left
                }
            }
        }
    }

    fn admit(&self, stream: Accepted, peer: Peer) {
        let clients: usize = self.cores.iter().map(|core| core.clients.load(Relaxed)).sum();
        if clients >= self.clients_max {
            self.metrics.clients.refused.count(0);
            tracing::info!(limit = self.clients_max, "client refused: too many connections");
            return turn_away(&stream);
        }
        if stream.set_nonblocking().is_err() {
            return; // it has gone already
        }
        let Some(core) = self.cores.iter().min_by_key(|core| core.clients.load(Relaxed)) else { return };
        core.welcome(Arrival { stream, peer, id: self.registry.fresh_id() });
    }
}

/// Error 1040 in place of the greeting; the client's flags are not known, so it goes without SQLSTATE as servers send it.
pub(super) fn too_many() -> Vec<u8> {
    let mut packet = Vec::new();
    let payload = [&[0xff, 0x10, 0x04][..], b"Too many connections"].concat();
    crate::wire::frame::put_packet(&mut packet, 0, &payload);
    packet
}

fn turn_away(stream: &Accepted) {
    // A client that does not take 30 bytes loses the message.
    let _ = stream.set_nonblocking().and_then(|()| stream.write(&too_many()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that goes away with its owner.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn address(&self) -> ListenAddress {
            ListenAddress::Unix(self.0.join("t.sock"))
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn open(address: &ListenAddress) -> io::Result<Listener> {
        Listener::open(address, &Keepalive::default())
    }

    #[test]
    fn a_socket_s_file_lives_as_long_as_its_listener() {
        let folder = Folder::new("lives");
        let listener = open(&folder.address()).unwrap();
        assert_eq!(folder.names(), ["t.sock", "t.sock.lock"]);
        let mode = fs::metadata(folder.0.join("t.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, SOCKET_MODE);
        let error = open(&folder.address()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        UnixStream::connect(folder.0.join("t.sock")).expect("the first one still listens");
        drop(listener);
        assert!(folder.names().is_empty());
    }

    #[test]
    fn accepted_sockets_have_the_keepalive_of_their_listener() {
        let seconds = Duration::from_secs;
        let keepalive = Keepalive { time: seconds(77), interval: seconds(7), probes: 3 };
        let listener = Listener::open(&"127.0.0.1:0".parse().unwrap(), &keepalive).unwrap();
        let _client = TcpStream::connect(listener.address().unwrap().tcp().unwrap()).unwrap();
        let accepted = loop {
            match listener.accept() {
                Ok((Accepted::Tcp(tcp), Peer::Network(_))) => break tcp,
                other => assert_eq!(other.unwrap_err().kind(), io::ErrorKind::WouldBlock),
            }
        };
        let accepted = socket2::SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap() && accepted.tcp_nodelay().unwrap());
        let found = (accepted.tcp_keepalive_time(), accepted.tcp_keepalive_interval());
        assert_eq!((found.0.unwrap(), found.1.unwrap()), (keepalive.time, keepalive.interval));
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), keepalive.probes);
    }

    #[test]
    fn a_file_that_was_left_behind_is_replaced_and_no_other() {
        let folder = Folder::new("left");
        let path = folder.0.join("t.sock");
        drop(UnixListener::bind(&path).unwrap()); // leaves its file, as a killed process does
        drop(open(&folder.address()).unwrap());
        let stranger = UnixListener::bind(&path).unwrap();
        assert_eq!(open(&folder.address()).unwrap_err().kind(), io::ErrorKind::AddrInUse, "it is in use");
        drop(stranger);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert_eq!(open(&folder.address()).unwrap_err().kind(), io::ErrorKind::AddrInUse, "it is no socket");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_file_that_is_another_s_by_now_stays() {
        let folder = Folder::new("another");
        let path = folder.0.join("t.sock");
        let listener = open(&folder.address()).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(listener);
        UnixStream::connect(&path).expect("the other's");
    }
}
