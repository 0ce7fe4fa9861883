//! A network between agents and coordinator that a case can cut: a TCP relay with a switch.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the network does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Bytes pass.
    Clear,
    /// Connections are reset, and new ones are reset as soon as they are made.
    Down,
    /// Connections stay, and bytes vanish in both directions: nobody is told.
    BlackHole,
}

/// The relay; ends with all its connections when it is dropped.
#[derive(Debug)]
pub struct Network {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    connections: Arc<AtomicU64>,
    relay: JoinHandle<()>,
}

impl Network {
    /// A clear network in front of `target`, on a free port.
    ///
    /// # Panics
    ///
    /// If no port can be had.
    pub async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("bind a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (weather, sky) = watch::channel(Weather::Clear);
        let connections = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&connections);
        let relay = tokio::spawn(async move {
            // Dropped with the relay, and with it every connection.
            let mut open = tokio::task::JoinSet::new();
            loop {
                while open.try_join_next().is_some() {}
                let Ok((client, _)) = listener.accept().await else {
                    continue;
                };
                count.fetch_add(1, Ordering::Relaxed);
                open.spawn(connection(client, target, sky.clone()));
            }
        });
        Self {
            address,
            weather,
            connections,
            relay,
        }
    }

    /// What agents dial.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather for all connections, present and future.
    pub fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// How many connections were made through it so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

/// One connection until either side closes it or the network goes down.
async fn connection(client: TcpStream, target: SocketAddr, sky: watch::Receiver<Weather>) {
    if *sky.borrow() == Weather::Down {
        return reset(&client);
    }
    let Ok(server) = TcpStream::connect(target).await else {
        return reset(&client);
    };
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let mut down = sky.clone();
    tokio::select! {
        // A side that closes ends both: nothing here relies on half-closed connections.
        () = pump(client_reads, server_writes, sky.clone()) => {}
        () = pump(server_reads, client_writes, sky) => {}
        _ = down.wait_for(|weather| *weather == Weather::Down) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut sky: watch::Receiver<Weather>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            // That a side is gone vanishes like everything else.
            if *sky.borrow() == Weather::BlackHole {
                let _cleared = sky.wait_for(|weather| *weather != Weather::BlackHole).await;
            }
            return;
        };
        if *sky.borrow() == Weather::BlackHole {
            continue;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Ends a connection with a reset rather than a goodbye.
fn reset(stream: &TcpStream) {
    // Without it the connection ends politely, which is as good.
    let _impolite = stream.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    let _ended = tokio::io::copy(&mut reads, &mut writes).await;
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn it_passes_swallows_and_breaks() {
        let network = Network::before(echo().await).await;
        let mut stream = TcpStream::connect(network.address()).await.unwrap();
        let mut answer = [0; 2];
        stream.write_all(b"hi").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hi");
        network.turn(Weather::Down);
        assert!(stream.read_exact(&mut answer).await.is_err());
        let mut refused = TcpStream::connect(network.address()).await.unwrap();
        assert!(refused.read_exact(&mut answer).await.is_err());
        network.turn(Weather::Clear);
        let mut again = TcpStream::connect(network.address()).await.unwrap();
        again.write_all(b"ok").await.unwrap();
        again.read_exact(&mut answer).await.unwrap();
        assert_eq!(network.connections(), 3);
    }
}
