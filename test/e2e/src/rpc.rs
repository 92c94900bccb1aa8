//! A JSON-RPC client that keeps its socket (SPDK's rpc.py costs up to a second a call).

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

/// How long an answer may take: longer than any load that a call runs.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// The refusal of a call, as the application worded it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method} was refused: {message} (code {code})")]
pub struct Refusal {
    /// Which call.
    pub method: String,
    /// JSON-RPC's code; our module and most of SPDK give a negative errno.
    pub code: i64,
    /// The reason.
    pub message: String,
}

/// A connection to one application.
pub struct Rpc {
    stream: UnixStream,
    buffer: Vec<u8>,
    next_id: u64,
}

impl Rpc {
    /// Connects to the socket at `path`.
    pub fn connect(path: &Path) -> Result<Rpc> {
        let stream = UnixStream::connect(path).with_context(|| format!("connecting to {}", path.display()))?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Rpc { stream, buffer: Vec::new(), next_id: 1 })
    }

    /// Calls `method`; a refusal is an error that downcasts to [`Refusal`].
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        Ok(self.try_call(method, params)??)
    }

    /// Calls `method`; the inner result tells a refusal from a broken connection.
    pub fn try_call(&mut self, method: &str, params: Value) -> Result<Result<Value, Refusal>> {
        self.send(method, params)?;
        self.receive(method)
    }

    /// Sends without waiting: for calls that answer only after something else happened. Pair with [`Rpc::receive`].
    pub fn send(&mut self, method: &str, params: Value) -> Result<()> {
        let mut request = json!({"jsonrpc": "2.0", "id": self.next_id, "method": method});
        self.next_id += 1;
        if !params.is_null() {
            request["params"] = params;
        }
        self.send_raw(request.to_string().as_bytes()).with_context(|| format!("sending {method}"))
    }

    /// Sends bytes as they are, for requests that no honest client would form.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        Ok(())
    }

    /// Waits for the answer to the call sent last.
    pub fn receive(&mut self, method: &str) -> Result<Result<Value, Refusal>> {
        let mut answer = self.receive_raw().with_context(|| format!("waiting for the answer to {method}"))?;
        if let Some(error) = answer.get("error") {
            return Ok(Err(Refusal {
                method: method.to_string(),
                code: error["code"].as_i64().unwrap_or(0),
                message: error["message"].as_str().unwrap_or_default().to_string(),
            }));
        }
        match answer.get_mut("result") {
            Some(result) => Ok(Ok(result.take())),
            None => bail!("the answer to {method} has neither result nor error: {answer}"),
        }
    }

    fn receive_raw(&mut self) -> Result<Value> {
        loop {
            if let Some(value) = self.take_value()? {
                return Ok(value);
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("the application closed the connection"),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    bail!("no answer within {} s", ANSWER_MAX.as_secs());
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// One whole JSON value from the buffer, if there is one: SPDK puts nothing between its answers.
    fn take_value(&mut self) -> Result<Option<Value>> {
        let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Value>();
        match values.next() {
            None => Ok(None),
            Some(Err(e)) if e.is_eof() => Ok(None),
            Some(Err(e)) => Err(anyhow!(e).context("the answer is not JSON")),
            Some(Ok(value)) => {
                let used = values.byte_offset();
                self.buffer.drain(..used);
                Ok(Some(value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    fn served(answers: &'static [&'static str]) -> (tempfile::TempDir, Rpc) {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).expect("bind");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            for part in answers {
                let _ = stream.write_all(part.as_bytes());
                thread::sleep(Duration::from_millis(20));
            }
        });
        let rpc = Rpc::connect(&path).expect("connect");
        (dir, rpc)
    }

    #[test]
    fn an_answer_in_pieces_is_put_together() {
        let (_dir, mut rpc) = served(&["{\"jsonrpc\":\"2.0\",\"id\":1,\"res", "ult\":{\"a\":[1,2]}}"]);
        assert_eq!(rpc.call("x", Value::Null).expect("result"), json!({"a": [1, 2]}));
    }

    #[test]
    fn a_refusal_keeps_code_and_message() {
        let (_dir, mut rpc) = served(&["{\"id\":1,\"error\":{\"code\":-22,\"message\":\"bad\"}}"]);
        let refusal = rpc.try_call("x", json!({})).expect("an answer").expect_err("refused");
        assert_eq!((refusal.code, refusal.message.as_str()), (-22, "bad"));
    }

    #[test]
    fn a_closed_connection_is_an_error() {
        let (_dir, mut rpc) = served(&["{\"id\":1,"]);
        assert!(rpc.call("x", Value::Null).is_err());
    }
}
