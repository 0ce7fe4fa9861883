use super::*;

fn body(encoded: Bytes) -> Bytes {
    let length = u32::from_le_bytes(encoded[..4].try_into().unwrap());
    assert_eq!(length as usize, encoded.len() - 4);
    encoded.slice(4..)
}

#[test]
fn requests_round_trip() {
    let requests = [
        Request::Stat {
            path: "t.lance/data/a.lance".into(),
        },
        Request::List {
            prefix: String::new(),
            after: String::new(),
        },
        Request::List {
            prefix: "t.lance/".into(),
            after: "t.lance/data/z".into(),
        },
        Request::Read {
            path: "ü/ß".into(),
            start: 7,
            end: 7 + MAX_READ,
        },
    ];
    for (id, request) in requests.into_iter().enumerate() {
        let decoded = Request::decode(body(request.encode(id as u64))).unwrap();
        assert_eq!(decoded, (id as u64, request));
    }
}

#[test]
fn responses_round_trip() {
    let listed = |n: u64| Listed {
        path: format!("a/{n}"),
        len: n,
        etag: format!("{n:x}"),
    };
    let responses = [
        Response::Stat {
            len: u64::MAX,
            etag: "e".into(),
        },
        Response::List {
            entries: (0..50).map(listed).collect(),
            more: true,
        },
        Response::Read(Bytes::from_static(b"abc")),
        Response::NotFound,
        Response::Damaged("chunk 3".into()),
        Response::Unavailable("timeout".into()),
    ];
    for response in responses {
        assert_eq!(Response::decode(body(response.encode(9))).unwrap(), (9, response));
    }
}

#[test]
fn paths_that_could_leave_the_tree_are_refused() {
    for path in [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "./a",
        "a/",
        "a\0b",
    ] {
        let frame = body(Request::Stat { path: path.into() }.encode(1));
        assert!(
            matches!(Request::decode(frame), Err(Malformed::Path(_))),
            "{path:?}"
        );
    }
    for prefix in ["/", "a", "../", "a/../"] {
        let frame = body(
            Request::List {
                prefix: prefix.into(),
                after: String::new(),
            }
            .encode(1),
        );
        assert!(
            matches!(Request::decode(frame), Err(Malformed::Path(_))),
            "{prefix:?}"
        );
    }
}

#[test]
fn ranges_are_bounded() {
    for (start, end) in [(0, 0), (5, 4), (0, MAX_READ + 1), (0, u64::MAX)] {
        let frame = body(
            Request::Read {
                path: "a".into(),
                start,
                end,
            }
            .encode(1),
        );
        assert_eq!(Request::decode(frame), Err(Malformed::Range { start, end }));
    }
}

#[test]
fn every_cut_of_a_frame_is_an_error_or_a_shorter_text_and_never_a_panic() {
    let entries = vec![Listed {
        path: "a/b".into(),
        len: 3,
        etag: "e".into(),
    }];
    let frames = [
        body(Response::List { entries, more: false }.encode(1)),
        body(
            Response::Stat {
                len: 1,
                etag: String::new(),
            }
            .encode(1),
        ),
        body(
            Request::Read {
                path: "a".into(),
                start: 0,
                end: 1,
            }
            .encode(1),
        ),
    ];
    for frame in frames {
        for cut in 0..frame.len() {
            let _ = Response::decode(frame.slice(..cut));
            let _ = Request::decode(frame.slice(..cut));
        }
        for position in 0..frame.len() {
            for flip in [0xff, 0x80, 0x01] {
                let mut bytes = frame.to_vec();
                bytes[position] ^= flip;
                let _ = Response::decode(bytes.clone().into());
                let _ = Request::decode(bytes.into());
            }
        }
    }
}

#[test]
fn a_frame_length_is_bounded() {
    assert!(check_length(8, MAX_REQUEST).is_err());
    assert!(check_length(u32::MAX, MAX_REQUEST).is_err());
    assert_eq!(check_length(9, MAX_REQUEST), Ok(9));
}

#[test]
fn a_job_of_another_protocol_is_refused() {
    let mut frame = body(encode_job(b"{}").unwrap()).to_vec();
    assert_eq!(decode_job(Bytes::from(frame.clone())).unwrap(), "{}");
    frame[0] = 99;
    assert_eq!(decode_job(frame.into()), Err(Malformed::Protocol(99)));
}

#[test]
fn a_refusal_is_shortened_at_a_character() {
    let long = "é".repeat(MAX_TEXT);
    let (_, response) = Response::decode(body(Response::Damaged(long).encode(1))).unwrap();
    assert!(matches!(response, Response::Damaged(why) if why.len() == MAX_TEXT));
}
