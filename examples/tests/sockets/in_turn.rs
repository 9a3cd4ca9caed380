//! `in_turn`.

use crate::client::Client;
use crate::process::Example;

#[test]
fn those_in_line_are_served_when_those_before_them_have_gone() {
    let server = Example::start("in_turn", &["2", "tcp://127.0.0.1:0"]);
    let at = server.ready_inet();
    let mut served: Vec<Client> = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(at);
        client.send(b"hello\n");
        assert_eq!(client.line(), "hello\n");
        served.push(client);
    }
    let mut waiting: Vec<Client> = Vec::new();
    for before in 2..5 {
        let mut client = Client::connect(at);
        assert_eq!(client.line(), format!("* {before} before you\n"));
        client.send(b"my turn\n");
        waiting.push(client);
    }
    // One leaves the line: nobody is called for it, nor in its place twice.
    drop(waiting.remove(1));
    drop(served.pop());
    assert_eq!(waiting[0].line(), "my turn\n");
    drop(served.pop());
    assert_eq!(waiting[1].line(), "my turn\n");
}
