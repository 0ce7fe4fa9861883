//! A port of the loopback interface that is held for a case and on which nobody listens.
//!
//! A port that was free a moment ago may be somebody else's by now: tests run beside each other, and each asks for free
//! ones. One that is held is given to nobody who asks for any; whoever dials it is refused; and a server that is told
//! to listen there can, as often as it is started.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// The port; free again when this is dropped.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    /// Takes any free one.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn hold() -> Self {
        let held = TcpSocket::new_v4().expect("make a socket");
        // A server binds the same way; both may have the port while only one listens.
        held.set_reuseaddr(true).expect("share a port");
        held.bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("bind a free port");
        let address = held.local_addr().expect("a bound socket has an address");
        Self { address, _held: held }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_held_port_refuses_until_a_server_listens_there_and_after_it_again() {
        let port = Port::hold();
        for _ in 0..3 {
            let refused = TcpStream::connect(port.address()).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(port.address()).unwrap();
            let dialled = TcpStream::connect(port.address()).unwrap();
            drop((listener, dialled));
        }
    }
}
