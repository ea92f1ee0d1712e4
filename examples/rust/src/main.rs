//! Answers with a greeting. Change VERSION, commit and push: that is a deployment.
use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};

const VERSION: &str = "v1";

static REQUESTS: AtomicU64 = AtomicU64::new(0);

fn main() -> Result<()> {
    let port = env::var("PORT").unwrap_or("8080".into());
    for stream in TcpListener::bind(format!("0.0.0.0:{port}"))?.incoming() {
        let stream = stream?;
        thread::spawn(|| answer(stream));
    }
    Ok(())
}

/// Reads the head of a request and answers; one request a connection.
fn answer(mut stream: TcpStream) -> Result<()> {
    for line in BufReader::new(&stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let mut number = itoa::Buffer::new();
    let text = format!("Hello from Rust, {VERSION}, request {}\n", number.format(REQUESTS.fetch_add(1, Ordering::Relaxed) + 1));
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
}
