use super::*;

/// Calls `check` with the head of `text`, where lines end with LF to be read easily.
fn with_head<R>(text: &str, check: impl FnOnce(Head<'_>, usize) -> R) -> Result<R, Error> {
    let mut input = text.replace('\n', "\r\n").into_bytes();
    let mut heads = Heads::new();
    match heads.decode(&mut input)? {
        Step::Frame { frame, used } => Ok(check(frame, used)),
        Step::Need(_) => panic!("a whole head: {text}"),
    }
}

fn body_of(fields: &str) -> Result<Body, Error> {
    with_head(&format!("POST / HTTP/1.1\nHost: a\n{fields}\n\n"), |head, _| head.body())
}

#[test]
fn the_example_of_the_specification() {
    // RFC 9112, 2.1 and RFC 9110, 1.
    let text = "GET /hello.txt HTTP/1.1\nUser-Agent: curl/7.64.1\nHost: www.example.com\n\
                Accept-Language: en, mi\nempty:\npadded: \t a b \t\n\n";
    with_head(&format!("{text}rest"), |head, used| {
        assert_eq!(head.method(), b"GET");
        assert_eq!(head.target(), b"/hello.txt");
        assert_eq!(head.version(), 1);
        assert_eq!(head.header("accept-language"), Some(&b"en, mi"[..]));
        assert_eq!(head.header("EMPTY"), Some(&b""[..]));
        assert_eq!(head.header("padded"), Some(&b"a b"[..]));
        assert_eq!(head.header("accept"), None);
        assert_eq!(head.iter().next().unwrap().name, b"User-Agent");
        assert_eq!(head.iter().count(), 5);
        assert_eq!((head.body(), head.content_length()), (Body::None, None));
        assert!(head.keep_alive() && !head.expects_continue());
        assert_eq!(used, text.replace('\n', "\r\n").len());
    })
    .unwrap();
}

#[test]
fn empty_lines_in_front_are_skipped_and_used() {
    let seen = with_head("\n\nGET / HTTP/1.1\nHost: a\n\n", |head, used| {
        (head.target().to_vec(), head.header("host").map(<[u8]>::to_vec), used)
    });
    assert_eq!(seen, Ok((b"/".to_vec(), Some(b"a".to_vec()), 31)));
}

#[test]
fn connections_persist_as_the_version_says() {
    let keep_alive = |text: &str| with_head(text, |head, _| head.keep_alive()).unwrap();
    assert!(keep_alive("GET / HTTP/1.1\nHost: a\n\n"));
    assert!(!keep_alive("GET / HTTP/1.1\nHost: a\nConnection: upgrade, Close\n\n"));
    assert!(!keep_alive("GET / HTTP/1.0\n\n"));
    assert!(keep_alive("GET / HTTP/1.0\nConnection: Keep-Alive\n\n"));
}

#[test]
fn bodies_are_framed_without_doubt() {
    assert_eq!(body_of("Content-Length: 42"), Ok(Body::Length(42)));
    assert_eq!(body_of("Content-Length: 7\nContent-Length: 7, 7"), Ok(Body::Length(7)));
    assert_eq!(body_of("content-length: 18446744073709551615"), Ok(Body::Length(u64::MAX)));
    assert_eq!(body_of("Transfer-Encoding: Chunked"), Ok(Body::Chunked));
    assert_eq!(body_of("Content-Length: 7\nContent-Length: 8"), Err(Error::ContentLengthConflict));
    assert_eq!(body_of("Content-Length: 7, 8"), Err(Error::ContentLengthConflict));
    for bad in ["+7", "-7", "0x7", "7 7", "", "7,", "18446744073709551616", "7a"] {
        let fields = format!("Content-Length: {bad}");
        assert_eq!(body_of(&fields), Err(Error::ContentLengthInvalid), "{bad}");
    }
    let both = "Content-Length: 7\nTransfer-Encoding: chunked";
    assert_eq!(body_of(both), Err(Error::LengthAndCoding));
    for bad in ["gzip", "chunked, gzip", "chunked, chunked", "xchunked", "", "chunked,", "identity"]
    {
        let fields = format!("Transfer-Encoding: {bad}");
        assert_eq!(body_of(&fields), Err(Error::TransferEncodingInvalid), "{bad}");
    }
    let two = "Transfer-Encoding: chunked\nTransfer-Encoding: chunked";
    assert_eq!(body_of(two), Err(Error::TransferEncodingInvalid));
    assert_eq!(body_of("Transfer-Encoding: gzip, chunked"), Err(Error::TransferCodingUnknown));
    let old = with_head("POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n", |_, _| ());
    assert_eq!(old, Err(Error::TransferEncodingInvalid));
}

#[test]
fn expectations_are_for_bodies() {
    let expects = |fields: &str| {
        let text = format!("POST / HTTP/1.1\nHost: a\nExpect: 100-Continue\n{fields}\n");
        with_head(&text, |head, _| head.expects_continue()).unwrap()
    };
    assert!(expects("Content-Length: 3\n"));
    assert!(!expects(""));
}

#[test]
fn what_is_no_head_has_its_error_and_status() {
    let cases = [
        ("GET /\n\n", Error::RequestLine, 400),
        ("GET  / HTTP/1.1\n\n", Error::RequestLine, 400),
        ("GET / HTTP/1.1 \n\n", Error::RequestLine, 400),
        (" GET / HTTP/1.1\n\n", Error::RequestLine, 400),
        ("G@T / HTTP/1.1\n\n", Error::RequestLine, 400),
        ("GET / HTTX/1.1\n\n", Error::RequestLine, 400),
        ("GET / http/1.1\n\n", Error::RequestLine, 400),
        ("GET / HTTP/1.10\n\n", Error::RequestLine, 400),
        ("PRI * HTTP/2.0\n\n", Error::VersionUnsupported, 505),
        ("PRI  * HTTP/2.0\n\n", Error::RequestLine, 400),
        ("PRI * HTTP/a.0\n\n", Error::RequestLine, 400),
        ("GET / HTTP/1.1\n\n", Error::HostMissing, 400),
        ("GET / HTTP/1.1\nHost: a\nHost: a\n\n", Error::HostInvalid, 400),
        ("GET / HTTP/1.1\nHost: a/b\n\n", Error::HostInvalid, 400),
        ("GET / HTTP/1.1\nHost: a b\n\n", Error::HostInvalid, 400),
        ("GET / HTTP/1.1\nHost : a\n\n", Error::FieldLine, 400),
        ("GET / HTTP/1.1\nHost\n\n", Error::FieldLine, 400),
        ("GET / HTTP/1.1\n: a\n\n", Error::FieldLine, 400),
        ("GET / HTTP/1.1\nHost: a\0b\n\n", Error::FieldLine, 400),
        ("GET / HTTP/1.1\nHost: a\rb\n\n", Error::FieldLine, 400),
        ("GET / HTTP/1.1\nHost: a\nX: b\n c\n\n", Error::FoldedLine, 400),
        ("GET / HTTP/1.1\n Host: a\n\n", Error::FoldedLine, 400),
    ];
    for (text, error, status) in cases {
        assert_eq!(with_head(text, |_, _| ()), Err(error), "{text:?}");
        assert_eq!(error.status(), status);
    }
    let bare = Heads::new().decode(&mut b"GET / HTTP/1.1\nHost".to_vec()).unwrap_err();
    assert_eq!(bare, Error::BareLf);
}

#[test]
fn limits_hold_and_errors_stay() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut heads = Heads::new().max_bytes(head.len());
    assert!(matches!(heads.decode(&mut head.to_vec()), Ok(Step::Frame { .. })));
    assert!(matches!(heads.decode(&mut head[..26].to_vec()), Ok(Step::Need(_))));
    let mut heads = Heads::new().max_bytes(head.len() - 1);
    assert_eq!(heads.decode(&mut head.to_vec()).unwrap_err(), Error::HeadTooLong);
    assert_eq!(heads.decode(&mut b"GET".to_vec()).unwrap_err(), Error::HeadTooLong);
    let long = Heads::new().decode(&mut [b'a'; 16 * 1024]).unwrap_err();
    assert_eq!((long, long.status()), (Error::TargetTooLong, 414));
    let fields = |count: usize| {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(count - 1));
        Heads::new().decode(&mut text.into_bytes()).map(|_| ())
    };
    assert_eq!(fields(64), Ok(()));
    assert_eq!(fields(65), Err(Error::TooManyFields));
    assert_eq!(Error::TooManyFields.status(), 431);
}

#[test]
fn the_first_line_that_is_wrong_decides_as_soon_as_it_has_come() {
    let early = b"GET  / HTTP/1.1\r\nHost: a\nX";
    for end in 0..early.len() {
        let outcome = Heads::new().decode(&mut early[..end].to_vec()).map(|_| ());
        let expected = if end < 17 { Ok(()) } else { Err(Error::RequestLine) };
        assert_eq!(outcome, expected, "{end} bytes");
    }
}

#[test]
fn a_line_in_pieces_is_not_read_again() {
    let mut input = b"GET / HTTP/1.1\r\nHost: a\r\nX: 123456\r\n\r\n".to_vec();
    let mut heads = Heads::new();
    for end in 0..input.len() {
        assert!(matches!(heads.decode(&mut input[..end]), Ok(Step::Need(_))));
        if end == 30 {
            // Behind the decoder's back: it would stumble if it looked again.
            input[..25].fill(b'\n');
        }
    }
    let Ok(Step::Frame { frame, .. }) = heads.decode(&mut input) else { panic!("a head") };
    assert_eq!((frame.method(), frame.header("x")), (&b"\n\n\n"[..], Some(&b"123456"[..])));
}

/// What the judge, who is laxer about line ends, makes of a head: its parts.
fn judged(input: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut table = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut table);
    let Ok(httparse::Status::Complete(used)) = request.parse(input) else { return None };
    let mut parts = vec![used.to_string().into_bytes(), vec![request.version?]];
    parts.extend([request.method?.as_bytes().to_vec(), request.path?.as_bytes().to_vec()]);
    for field in request.headers.iter() {
        parts.extend([field.name.as_bytes().to_vec(), field.value.to_vec()]);
    }
    Some(parts)
}

fn ours(input: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Error> {
    let mut input = input.to_vec();
    let mut heads = Heads::new();
    let Step::Frame { frame, used } = heads.decode(&mut input)? else { return Ok(None) };
    let mut parts = vec![used.to_string().into_bytes(), vec![frame.version()]];
    parts.extend([frame.method().to_vec(), frame.target().to_vec()]);
    for field in frame.iter() {
        parts.extend([field.name.to_vec(), field.value.to_vec()]);
    }
    Ok(Some(parts))
}

#[test]
fn another_parser_reads_the_same_heads() {
    let heads: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /a?b=c%20d HTTP/1.0\r\nUser-Agent: \t x y \t \r\nX-Empty:\r\nY:  \t\r\n\r\n",
        b"\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nAccept: text/plain, */*\r\n\r\n",
        b"M-SEARCH /caf\xc3\xa9 HTTP/1.1\r\nhost:a.example\r\nX: \xff\xfe~\r\nLonger-Name-9: z\r\n\r\n",
    ];
    let seed = 20_261_121;
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..200_000 {
        let mut input = random.choice(heads).unwrap().to_vec();
        for _ in 0..random.usize(..3) {
            let at = random.usize(..input.len());
            let byte = match random.usize(..3) {
                0 => random.u8(..),
                _ => *random.choice(b"\r\n\t :/HT1.0\x7f\0\x80").unwrap(),
            };
            match random.usize(..3) {
                0 => input[at] = byte,
                1 => input.insert(at, byte),
                _ => drop(input.remove(at)),
            }
        }
        let (judged, ours) = (judged(&input), ours(&input));
        let what = format!("seed {seed}, round {round}: {}", input.escape_ascii());
        match ours {
            Ok(Some(parts)) => {
                accepted += 1;
                assert_eq!(judged.as_ref(), Some(&parts), "{what}");
            }
            Ok(None) => assert_eq!(judged, None, "{what}"),
            Err(Error::RequestLine | Error::VersionUnsupported | Error::FieldLine) => {
                refused += 1;
                assert_eq!(judged, None, "{what}");
            }
            // What it does not judge: bare line ends, what fields mean.
            Err(_) => {}
        }
    }
    assert!(accepted > 20_000 && refused > 20_000, "{accepted} accepted, {refused} refused");
}
