//! The same bytes to redis-server and to our program: the same bytes come back, and both keep the
//! connection or both close it.

use crate::process::{Program, RedisServer};
use crate::raw::{Outcome, ask_redis, until_closed};
use std::net::SocketAddr;

/// Sends each script to both in both versions of the protocol, starting from no keys.
fn compare(scripts: &[&[u8]]) {
    compare_with(ask_redis, scripts);
}

fn compare_with(ask: fn(SocketAddr, &[u8]) -> Outcome, scripts: &[&[u8]]) {
    let theirs = RedisServer::start();
    let ours = Program::start(&["redis", "--listen", "tcp://127.0.0.1:0", "--log", "error"]);
    let mut wrong = Vec::new();
    let in_resp2 = scripts.iter().map(|script| script.to_vec());
    let in_resp3 = scripts.iter().map(|script| [b"HELLO 3\r\n", *script].concat());
    for script in &in_resp2.chain(in_resp3).collect::<Vec<_>>() {
        ask_redis(theirs.addr, b"FLUSHALL\r\n");
        ask_redis(ours.addr(), b"FLUSHALL\r\n");
        let expected = ask(theirs.addr, script);
        let seen = ask(ours.addr(), script);
        if without_ids(&seen.reply) != without_ids(&expected.reply) || seen.open != expected.open {
            let shown = &script[..script.len().min(200)];
            wrong.push(format!("{}\n  redis {expected:?}\n  ours  {seen:?}", shown.escape_ascii()));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * scripts.len(), wrong.join("\n"));
    ours.stop();
}

/// Ids of clients are each server's own.
pub(crate) fn without_ids(reply: &str) -> String {
    const BEFORE: &str = r"$2\r\nid\r\n:";
    let mut parts = reply.split(BEFORE);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(BEFORE);
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    text
}

#[test]
fn requests_that_keep_the_connection_open() {
    compare(&[
        b"\r\n",
        b"\n",
        b"   \r\n",
        b"\t \r\n",
        b"PING\n",
        b"ping\r\n",
        b"PiNg\r\n",
        b"  PING  \r\n",
        b"\tPING\t\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*-10\r\n",
        b"*0\r\n*-1\r\nPING\r\n",
        b"SET k \"v\\x41\\n\"\r\nGET k\r\n",
        b"SET k 'a b'\r\nGET k\r\n",
        b"SET k \"\"\r\nGET k\r\n",
        b"SET k ''\r\nGET k\r\n",
        b"SET 'k\\'k' \"a\\tb\\\"\"\r\nGET \"k'k\"\r\n",
        b"GET\r\n",
        b"GET a b\r\n",
        b"SET a\r\n",
        b"PING a b\r\n",
        b"nope\r\n",
        b"nope a b c\r\n",
        b"*1\r\n$0\r\n\r\n",
        b"*2\r\n$0\r\n\r\n$1\r\na\r\n",
        b"*1\r\n$4\r\nPINGxx",
        b"*2\r\n$4\r\nECHO\n\n$3\r\nabc\0\0",
        b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
        b"*1\rx$4\rxPING\r\n",
        b"*2\r\n$3\r\nno\r\r\n$3\r\n\na\r\r\n",
        b"*3\r\n$4\r\nno\r\n\r\n$3\r\na\nb\r\n$3\r\na\rb\r\n",
        b"*2\r\n$4\r\nNO\0P\r\n$3\r\na\0b\r\n",
        // Not `GET`: redis compares names up to the zero, so that one in some hundred of its
        // processes, in which both fall in the same place of the table, takes it for the command.
        b"*2\r\n$4\r\nGOT\0\r\n$1\r\na\r\n",
        b"*3\r\n$3\r\nSET\r\n$2\r\n\0k\r\n$4\r\n\0\r\n\0\r\n*2\r\n$3\r\nGET\r\n$2\r\n\0k\r\n",
        b"\"\"\r\n",
        b"'' a b\r\n",
    ]);
}

#[test]
fn requests_that_close_the_connection() {
    let inline = [&vec![b'a'; 65 * 1024][..]].concat();
    let count = [&b"*"[..], &vec![b'1'; 65 * 1024]].concat();
    let bulk = [&b"*1\r\n$"[..], &vec![b'1'; 65 * 1024]].concat();
    compare_with(
        until_closed,
        &[
            b"SET k \"v\r\n",
            b"SET k 'v\r\n",
            b"SET k \"v\"x\r\n",
            b"PING\r\nSET k 'v'x\r\nPING\r\n",
            b"*x\r\n",
            b"*+1\r\n",
            b"*01\r\n",
            b"* 1\r\n",
            b"*\r\n",
            b"*1 \r\n",
            b"*2147483648\r\n",
            b"*99999999999999999999\r\n",
            b"*-99999999999999999999\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$+4\r\nPING\r\n",
            b"*1\r\n$04\r\nPING\r\n",
            b"*1\r\n$x\r\n",
            b"*1\r\n$\r\n",
            b"*1\r\n$536870913\r\n",
            b"*1\r\nf4\r\nPING\r\n",
            b"*1\r\nPING\r\n",
            b"*1\r\n:4\r\n",
            b"*1\r\n\r\n",
            b"*1\r\n\n\r\n",
            b"*1\r\n\xff\r\n",
            b"PING\r\n*1\r\n$-5\r\nPING\r\n",
            &inline,
            &count,
            &bulk,
            b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"post\r\n",
            b"Host: localhost\r\n",
            b"host:\r\n",
            b"PING\r\nhOsT: x\r\nPING\r\n",
            b"QUIT\r\n",
            b"quit now please\r\nPING\r\n",
            b"PING\r\nQUIT\r\nSET a b\r\n",
        ],
    );
}

#[test]
fn strings_and_counters() {
    let long = [&b"SET k "[..], &vec![b'v'; 60_000], b"\r\nGET k\r\nSTRLEN k\r\n"].concat();
    compare(&[
        b"SET a 1\r\nGET a\r\nGET b\r\nSET a 2\r\nGET a\r\n",
        &long,
        b"SET a b nx\r\nSET a c NX\r\nSET a d xx\r\nSET z d XX\r\nGET a\r\nGET z\r\n",
        b"SET a b get\r\nSET a c GET\r\nSET a d NX GET\r\nSET n d NX GET\r\nMGET a n\r\nSET m d XX GET\r\n",
        b"SET a b nx xx\r\nSET a b foo\r\nSET a b keepttl\r\nSET a b nx nx\r\nGET a\r\nSET a b ex\r\n",
        b"SETNX a 1\r\nSETNX a 2\r\nGETSET a 3\r\nGETSET b 4\r\nGETDEL a\r\nGETDEL a\r\n",
        b"MSET a 1 b 2 a 3\r\nMGET a b c a\r\nMSET a\r\nMSET a 1 b\r\nMSETNX a 1 b\r\n",
        b"MSETNX a 1 b 2\r\nMSETNX c 1 a 2\r\nMGET a b c\r\nMGET\r\n",
        b"APPEND a x\r\nAPPEND a yz\r\nGET a\r\nAPPEND b ''\r\nEXISTS b\r\nSTRLEN a\r\nSTRLEN z\r\n",
        b"INCR n\r\nINCR n\r\nDECR n\r\nINCRBY n 40\r\nDECRBY n 100\r\nGET n\r\n",
        b"SET n x\r\nINCR n\r\nSET n 01\r\nINCR n\r\nSET n ' 1'\r\nINCR n\r\nSET n ''\r\nINCR n\r\n",
        b"INCRBY n 9223372036854775807\r\nINCR n\r\nDECRBY n -1\r\nDECRBY n -9223372036854775808\r\n",
        b"INCRBY n -9223372036854775808\r\nDECR n\r\nINCRBY n x\r\nDECRBY n 1.5\r\nINCRBY n +1\r\n",
        b"SET a hello\r\nGETRANGE a 0 -1\r\nGETRANGE a 1 3\r\nGETRANGE a -3 -2\r\nGETRANGE a 9 1\r\n",
        b"SET a hello\r\nSUBSTR a -100 2\r\nGETRANGE a -1 -3\r\nGETRANGE a 0 x\r\nGETRANGE z 0 -1\r\n",
        b"SET a hello\r\nSETRANGE a 7 xy\r\nGET a\r\nSETRANGE a 0 H\r\nSETRANGE b 0 ''\r\nEXISTS b\r\n",
        b"SETRANGE a -1 x\r\nSETRANGE a x x\r\nSETRANGE a 536870912 x\r\nSETRANGE a -1 ''\r\n",
    ]);
}

#[test]
fn keys() {
    compare(&[
        b"SET a 1\r\nSET b 2\r\nDEL a b c\r\nDEL a\r\nDEL\r\nEXISTS a\r\n",
        b"SET a 1\r\nEXISTS a a b\r\nTOUCH a a b\r\nUNLINK a a\r\nDBSIZE\r\nDBSIZE x\r\n",
        b"SET a 1\r\nTYPE a\r\nTYPE b\r\nTTL a\r\nTTL b\r\nPTTL a\r\nEXPIRETIME a\r\nPEXPIRETIME b\r\n",
        b"SET a 1\r\nPERSIST a\r\nPERSIST b\r\nTYPE\r\nTTL a b\r\n",
        b"SET a 1\r\nRENAME a b\r\nRENAME a b\r\nGET b\r\nRENAME b b\r\nGET b\r\nRENAMENX z b\r\n",
        b"MSET a 1 b 2\r\nRENAMENX a b\r\nRENAMENX a c\r\nRENAMENX b b\r\nMGET a b c\r\n",
        b"SET hello 1\r\nKEYS *\r\nKEYS h?llo\r\nKEYS h[a-f]llo\r\nKEYS h[^e]llo\r\nKEYS nope\r\nKEYS\r\n",
        b"SET 'a*b' 1\r\nKEYS a\\*b\r\nKEYS a[*]b\r\nKEYS A*\r\nKEYS **b\r\nKEYS a*b*\r\nKEYS a[\r\n",
        b"SET a 1\r\nFLUSHALL\r\nDBSIZE\r\nSET a 1\r\nFLUSHDB\r\nDBSIZE\r\nFLUSHALL ASYNC\r\n",
        b"SET hello 1\r\nSCAN 0\r\nSCAN 0 MATCH h* COUNT 5\r\nSCAN 0 match x\r\nSCAN 0 TYPE string\r\n",
        b"SET hello 1\r\nSCAN 0 TYPE list\r\nSCAN x\r\nSCAN 0 COUNT 0\r\nSCAN 0 COUNT x\r\n",
        b"SCAN 0\r\nSCAN\r\nSCAN 0 MATCH\r\nSCAN 0 FOO x\r\n",
        b"SCAN -1\r\nSCAN ''\r\nSCAN -\r\nSCAN ' 0'\r\nSCAN 99999999999999999999\r\nSCAN +0\r\nSCAN 0 MATCH x FOO\r\n",
        b"SELECT 0\r\nSELECT 1\r\nSELECT -1\r\nSELECT x\r\nSELECT 99999999999\r\nSELECT\r\nSELECT 0 0\r\n",
    ]);
}

#[test]
fn connection_and_server() {
    let name = [&b"nope "[..], &[b'a'; 200], b" b\r\n"].concat();
    let names = [&b"nope "[..], &[b'a'; 100], b" ", &[b'b'; 100], b" c\r\n"].concat();
    let long = [&[b'n'; 300][..], b" a\r\nCLIENT ", &[b's'; 300], b"\r\n"].concat();
    compare(&[
        b"PING\r\nPING x\r\nECHO x\r\nECHO\r\nECHO a b\r\nPING ''\r\n",
        b"HELLO\r\n",
        b"HELLO 2\r\n",
        b"hello 2 setname me\r\nCLIENT GETNAME\r\n",
        b"HELLO 1\r\nHELLO 4\r\nHELLO x\r\nHELLO 2 AUTH a\r\nHELLO 2 AUTH a b\r\nHELLO 2 foo\r\n",
        b"HELLO 3\r\nHELLO\r\nHELLO 2\r\nHELLO\r\nGET a\r\nHELLO 3 SETNAME me\r\nGET a\r\nCLIENT GETNAME\r\n",
        b"HELLO abc\r\nHELLO 03\r\nHELLO +3\r\nHELLO -3\r\nHELLO 3.0\r\nHELLO ''\r\nHELLO 99999999999999999999\r\n",
        b"HELLO AUTH default x\r\nHELLO SETNAME x\r\nHELLO \"3\\x00\"\r\nHELLO 3 \"fo\\x00o\"\r\nHELLO 3 \"fo\\r\\no\"\r\n",
        b"HELLO 3 AUTH a b\r\nGET a\r\nHELLO 3 SETNAME 'a b'\r\nGET a\r\nHELLO 3 foo\r\nGET a\r\nHELLO 4\r\nGET a\r\n",
        b"HELLO 3 SETNAME a AUTH x y\r\nCLIENT GETNAME\r\nHELLO 3 SETNAME b foo\r\nCLIENT GETNAME\r\nGET a\r\n",
        b"HELLO 3 AUTH x y foo\r\nHELLO 3 setname a auth default x setname b\r\nCLIENT GETNAME\r\n",
        b"HELLO 3 SETNAME me\r\nRESET\r\nGET a\r\nHELLO\r\nCLIENT GETNAME\r\n",
        b"INFO keyspace\r\nINFO nope\r\nINFO nope foo\r\nSET a 1\r\nINFO KEYSPACE\r\n",
        b"COMMAND INFO nope\r\nCOMMAND INFO nope foo\r\nCOMMAND DOCS nope\r\n",
        b"HELLO 2 AUTH default x\r\nHELLO 2 SETNAME\r\nHELLO 2 SETNAME 'a b'\r\nHELLO 2 SETNAME a AUTH\r\n",
        b"CLIENT GETNAME\r\nCLIENT SETNAME x\r\nCLIENT GETNAME\r\nCLIENT SETNAME ''\r\nCLIENT GETNAME\r\n",
        b"CLIENT SETNAME 'a b'\r\nCLIENT SETNAME\r\nCLIENT\r\nCLIENT nope\r\nCLIENT GETNAME x\r\n",
        b"CLIENT NO-EVICT on\r\nCLIENT NO-EVICT off\r\nCLIENT NO-EVICT x\r\nclient no-evict\r\n",
        b"CLIENT SETNAME x\r\nRESET\r\nCLIENT GETNAME\r\nRESET x\r\n",
        b"CONFIG GET save\r\nCONFIG GET appendonly\r\nCONFIG GET nope\r\nCONFIG GET\r\nCONFIG\r\n",
        b"CONFIG GET SAVE\r\nCONFIG GET appendonl?\r\nCONFIG GET databases\r\nCONFIG GET proto-max-bulk-len\r\n",
        b"CONFIG SET save ''\r\nCONFIG SET appendonly no\r\nCONFIG SET foo bar\r\nCONFIG SET foo\r\n",
        b"CONFIG SET save '' appendonly\r\nCONFIG RESETSTAT\r\nCONFIG REWRITE\r\nCONFIG nope\r\n",
        b"FUNCTION FLUSH\r\nFUNCTION FLUSH SYNC\r\nFUNCTION FLUSH x\r\nFUNCTION LIST\r\nFUNCTION\r\nFUNCTION x\r\n",
        b"COMMAND nope\r\nCOMMAND COUNT x\r\nCOMMAND INFO nope\r\nSHUTDOWN foo\r\n",
        &name,
        &names,
        &long,
        b"CLIENT \"a\\rb\\nc\"\r\nnope \"a\\rb\\nc\"\r\n",
        b"\"no\\r\\npe\" x\r\n\"no\\x00pe\" \"a\\x00b\" c\r\n",
    ]);
}
