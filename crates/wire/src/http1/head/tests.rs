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
