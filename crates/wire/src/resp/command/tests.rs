use super::*;

type Words = Vec<Vec<u8>>;

/// What comes out of `bytes` in one piece, blanks left out, and why it stopped.
fn all(mut decoder: Commands, bytes: &[u8]) -> (Vec<Words>, Result<usize, Error>) {
    let (mut input, mut start, mut commands) = (bytes.to_vec(), 0, Vec::new());
    loop {
        match decoder.decode(&mut input[start..]) {
            Ok(Step::Frame { frame, used }) => {
                if !frame.is_blank() {
                    commands.push(frame.iter().map(<[u8]>::to_vec).collect());
                }
                start += used;
            }
            Ok(Step::Need(missing)) => return (commands, Ok(missing.get())),
            Err(error) => return (commands, Err(error)),
        }
    }
}

fn error_of(bytes: &[u8]) -> String {
    all(Commands::new(), bytes).1.expect_err("a protocol error").to_string()
}

#[test]
fn reads_arrays_and_inline_commands_in_a_row() {
    let (commands, left) =
        all(Commands::new(), b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\nPING\r\nset k \"v\\x41\"\nx");
    assert_eq!(commands.len(), 3);
    assert_eq!(commands[0], [b"GET", b"a\r\n"]);
    assert_eq!(commands[1], [b"PING"]);
    assert_eq!(commands[2], [&b"set"[..], b"k", b"vA"]);
    assert_eq!(left, Ok(1));
}

#[test]
fn the_parts_of_a_command() {
    let mut decoder = Commands::new();
    let mut input = b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$1\r\nv\r\n".to_vec();
    let used = input.len();
    let Ok(Step::Frame { frame: command, used: taken }) = decoder.decode(&mut input) else {
        panic!("a command");
    };
    assert_eq!((command.len(), taken), (3, used));
    assert_eq!(command.name(), Some(&b"SET"[..]));
    assert_eq!(command.get(1), Some(&b""[..]));
    assert_eq!(command.get(3), None);
    assert_eq!(command.iter().len(), 3);
    assert_eq!(format!("{command:?}"), r#"["SET", "", "v"]"#);
}

#[test]
fn bulk_terminators_are_not_looked_at() {
    let (commands, left) = all(Commands::new(), b"*1\rx$4\rxPINGxx*1\r\n$4\r\nPING\r\n");
    assert_eq!(commands, [[b"PING".to_vec()], [b"PING".to_vec()]]);
    assert_eq!(left, Ok(1));
}

#[test]
fn blank_requests_come_out_as_blank_commands() {
    for blank in ["\r\n", "\n", "  \t\r\n", "*0\r\n", "*-1\r\n", "*-10\r\n", "*-9999999999999\r\n"]
    {
        let mut decoder = Commands::new();
        let mut input = format!("{blank}PING\r\n").into_bytes();
        let Ok(Step::Frame { frame, used }) = decoder.decode(&mut input) else { panic!("a frame") };
        assert!(frame.is_blank() && frame.name().is_none(), "{blank:?}");
        assert_eq!(used, blank.len());
        let Ok(Step::Frame { frame, .. }) = decoder.decode(&mut input[used..]) else {
            panic!("a frame");
        };
        assert_eq!(frame.name(), Some(&b"PING"[..]));
    }
}

#[test]
fn an_empty_name_is_a_name() {
    assert_eq!(all(Commands::new(), b"\"\"\r\n*1\r\n$0\r\n\r\n").0, [[b""], [b""]]);
}

#[test]
fn the_texts_are_those_of_redis_server() {
    for line in ["\"a", "'a'b", "set k \"a\"b"] {
        let text = error_of(format!("{line}\r\n").as_bytes());
        assert_eq!(text, "Protocol error: unbalanced quotes in request");
    }
    for count in ["a", "+1", "01", " 1", "1 ", "", "-", "2147483648", "99999999999999999999"] {
        let text = error_of(format!("*{count}\r\n").as_bytes());
        assert_eq!(text, "Protocol error: invalid multibulk length", "{count:?}");
    }
    for length in ["a", "+4", "04", "-1", "", "536870913", "4 "] {
        let text = error_of(format!("*1\r\n${length}\r\n").as_bytes());
        assert_eq!(text, "Protocol error: invalid bulk length", "{length:?}");
    }
    assert_eq!(error_of(b"*1\r\nfoo\r\n"), "Protocol error: expected '$', got 'f'");
}

#[test]
fn the_reply_to_an_error_keeps_its_bytes() {
    let reply = |bytes: &[u8]| {
        let mut out = Vec::new();
        all(Commands::new(), bytes).1.unwrap_err().append_reply(&mut out);
        out
    };
    assert_eq!(reply(b"*1\r\n\xff\r\n"), b"-ERR Protocol error: expected '$', got '\xff'\r\n");
    assert_eq!(reply(b"*1\r\n\r\n"), b"-ERR Protocol error: expected '$', got ' '\r\n");
    assert_eq!(reply(b"*a\r\n"), b"-ERR Protocol error: invalid multibulk length\r\n");
}

#[test]
fn lines_have_a_limit() {
    let long = [b'a'; LINE_BYTES_MAX + 1];
    assert_eq!(error_of(&long), "Protocol error: too big inline request");
    assert!(all(Commands::new(), &long[1..]).1.is_ok());
    let longest = [&long[1..], b"\nPING\r\n"].concat();
    assert_eq!(all(Commands::new(), &longest).0.len(), 2);
    let line = |start: &[u8]| [start, &[b'1'; LINE_BYTES_MAX][..]].concat();
    assert_eq!(error_of(&line(b"*")), "Protocol error: too big mbulk count string");
    assert_eq!(error_of(&line(b"*1\r\n$")), "Protocol error: too big bulk count string");
    // As strchr sees it.
    assert!(all(Commands::new(), b"PING\0\r\nPING\r\n").0.is_empty());
    let hidden = [&b"PING\0\r\n"[..], &long].concat();
    assert_eq!(error_of(&hidden), "Protocol error: too big inline request");
}

#[test]
fn limits_can_be_lower() {
    let limited = || Commands::new().max_arguments(2).max_bulk(5).max_line(70);
    assert_eq!(all(limited(), b"*3\r\n").1, Err(Error::InvalidMultibulkLength));
    assert_eq!(all(limited(), b"*2\r\n$6\r\n").1, Err(Error::InvalidBulkLength));
    assert_eq!(all(limited(), b"*2\r\n$5\r\n").1, Ok(7));
    assert_eq!(all(limited(), &[b'a'; 71]).1, Err(Error::InlineTooLong));
}

#[test]
fn what_is_announced_is_asked_for_and_not_allocated() {
    let mut decoder = Commands::new();
    let mut input = b"*2147483647\r\n$536870912\r\nabc".to_vec();
    let step = decoder.decode(&mut input).unwrap();
    assert!(matches!(step, Step::Need(bytes) if bytes.get() == 536_870_914 - 3));
    assert_eq!(decoder.ranges.capacity(), 0);
}

#[test]
fn a_command_in_pieces_is_not_read_again() {
    let mut input = Vec::new();
    request(&mut input, &[b"MSET", b"a", b"1"]);
    let mut decoder = Commands::new();
    for end in 0..input.len() {
        assert!(matches!(decoder.decode(&mut input[..end]), Ok(Step::Need(_))));
        if end == 20 {
            // Behind the decoder's back: it would stumble if it looked again.
            input[..14].fill(b'?');
        }
    }
    let Ok(Step::Frame { frame, .. }) = decoder.decode(&mut input) else { panic!("a command") };
    assert_eq!(frame.iter().skip(1).collect::<Vec<_>>(), [b"a", b"1"]);
}

#[test]
fn what_is_known_of_a_cut_line_ends_with_its_command() {
    let mut decoder = Commands::new();
    assert!(matches!(decoder.decode(&mut b"*1".to_vec()), Ok(Step::Need(_))));
    let mut ping = b"*1\r\n$4\r\nPING\r\n".to_vec();
    assert!(matches!(decoder.decode(&mut ping), Ok(Step::Frame { .. })));
    assert!(matches!(decoder.decode(&mut b"\n".to_vec()), Ok(Step::Frame { used: 1, .. })));
}

#[test]
fn a_wide_command_does_not_keep_its_memory() {
    let mut decoder = Commands::new();
    let mut input = Vec::new();
    request(&mut input, &vec![&b"x"[..]; 5000]);
    let whole = decoder.decode(&mut input).unwrap();
    assert!(matches!(whole, Step::Frame { frame, .. } if frame.len() == 5000));
    assert!(matches!(decoder.decode(&mut b"PING\r\n".to_vec()), Ok(Step::Frame { .. })));
    assert!(decoder.ranges.capacity() <= RANGES_KEPT);
}

#[test]
fn an_error_stays() {
    let mut decoder = Commands::new();
    for input in [&b"*x\r\n"[..], b"PING\r\n", b""] {
        let error = decoder.decode(&mut input.to_vec()).unwrap_err();
        assert_eq!(error, Error::InvalidMultibulkLength);
    }
}
