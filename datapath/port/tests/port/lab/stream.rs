//! TCP with real stacks: a stream whose every byte is checked at its end.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use super::enter;

const BLOCK: usize = 65_536;

fn pattern(block: usize) -> Vec<u8> {
    (0..BLOCK)
        .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3] ^ block as u8)
        .collect()
}

/// Sends `blocks` of 64 KiB from one namespace to an address in another, and panics if what comes is
/// not what was sent.
pub fn stream(from: &str, to: (&str, &str), blocks: usize) {
    let address: IpAddr = to.1.parse().unwrap();
    std::thread::scope(|scope| {
        let (ready, is_ready) = std::sync::mpsc::channel();
        let receiver = scope.spawn(move || {
            enter(to.0);
            let listener = TcpListener::bind(SocketAddr::new(address, 0)).unwrap();
            ready.send(listener.local_addr().unwrap()).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = vec![0; BLOCK];
            for block in 0..blocks {
                stream.read_exact(&mut bytes).unwrap();
                assert!(bytes == pattern(block), "block {block} came changed");
            }
            assert_eq!(stream.read(&mut bytes).unwrap(), 0);
        });
        let address = is_ready.recv().unwrap();
        scope.spawn(move || {
            enter(from);
            let mut stream = TcpStream::connect(address).unwrap();
            for block in 0..blocks {
                stream.write_all(&pattern(block)).unwrap();
            }
        });
        receiver.join().unwrap();
    });
}
