//! As much of HTTP/1.1 as etcd's JSON API needs: the head of an answer, and its body, whole or in chunks.

use std::io::{self, BufRead};

fn broken() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// The head of an HTTP/1.1 answer: its status, and whether the body comes in chunks.
pub(crate) fn read_head(from: &mut impl BufRead) -> io::Result<(u16, bool)> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    let mut chunked = false;
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Err(broken());
        }
        if line.trim().is_empty() {
            return Ok((status, chunked));
        }
        chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding: chunked");
    }
}

/// Status and body of an HTTP/1.1 answer.
pub(crate) fn read_answer(mut from: impl BufRead) -> io::Result<(u16, String)> {
    let (status, mut chunked) = read_head(&mut from)?;
    let mut line = String::new();
    let mut body = Vec::new();
    if !chunked {
        from.read_to_end(&mut body)?;
    }
    while chunked {
        line.clear();
        from.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(|_| broken())?;
        let start = body.len();
        body.resize(start + size, 0);
        from.read_exact(&mut body[start..])?;
        from.read_line(&mut line)?;
        chunked = size > 0;
    }
    String::from_utf8(body).map(|body| (status, body)).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_in_chunks() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(read_answer(whole.as_bytes()).expect("sound"), (200, "{}".to_owned()));
        let chunks = "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
        assert_eq!(read_answer(chunks.as_bytes()).expect("sound"), (400, "{}".to_owned()));
        for broken in ["", "HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert!(read_answer(broken.as_bytes()).is_err());
        }
    }
}
