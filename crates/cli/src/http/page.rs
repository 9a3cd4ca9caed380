//! The page and its heads, made once a second.

use mainspring::wire::http1::ResponseHead;
use std::time::{Duration, Instant, SystemTime};

/// The answers to all requests, whole, with the `Date` of the present second.
///
/// They are made again by the first request of a second, so that an idle server is not woken for
/// its clock.
pub(super) struct Page {
    body: Vec<u8>,
    /// What the clocks said at the start; the loop's clock tells the time from then on.
    anchor: Option<(Instant, Duration)>,
    /// From when on the answers have an old date.
    stale_from: Option<Instant>,
    unix_seconds: u64,
    answers: [Answer; 3],
}

/// What an answer says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// Nothing: in HTTP/1.1 it stays open.
    KeepAlive,
    /// That it stays open, as HTTP/1.0 has to be told.
    KeepAliveOld,
    /// That it is closed.
    Close,
}

#[derive(Default)]
struct Answer {
    bytes: Vec<u8>,
    head_bytes: usize,
}

impl Page {
    pub(super) fn new(body: Vec<u8>) -> Self {
        let answers = Default::default();
        Self { body, anchor: None, stale_from: None, unix_seconds: 0, answers }
    }

    /// Ties the loop's clock, which says `now`, to the calendar.
    pub(super) fn start(&mut self, now: Instant) {
        #[expect(
            clippy::disallowed_methods,
            reason = "read once: the loop's clock has no calendar"
        )]
        let calendar = SystemTime::now();
        let since_1970 = calendar.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.anchor = Some((now, since_1970));
        self.refresh(now);
    }

    /// Makes the answers again if a second has begun.
    #[inline]
    pub(super) fn refresh(&mut self, now: Instant) {
        if self.stale_from.is_none_or(|stale_from| now >= stale_from) {
            self.make(now);
        }
    }

    #[inline(never)]
    fn make(&mut self, now: Instant) {
        let Some((start, since_1970)) = self.anchor else { return };
        let time = since_1970 + now.saturating_duration_since(start);
        self.unix_seconds = time.as_secs();
        let next = Duration::from_secs(1) - Duration::from_nanos(time.subsec_nanos().into());
        self.stale_from = Some(now + next);
        for persistence in [Persistence::KeepAlive, Persistence::KeepAliveOld, Persistence::Close] {
            let answer = &mut self.answers[persistence as usize];
            answer.bytes.clear();
            let head = ResponseHead::new(&mut answer.bytes, 200).field("server", b"mainspring");
            let head = head.date(time.as_secs()).field("content-type", b"text/plain");
            let head = match persistence {
                Persistence::KeepAlive => head,
                Persistence::KeepAliveOld => head.field("connection", b"keep-alive"),
                Persistence::Close => head.close(),
            };
            head.length(self.body.len() as u64).end();
            answer.head_bytes = answer.bytes.len();
            answer.bytes.extend_from_slice(&self.body);
        }
    }

    /// The bytes to send; without the page for HEAD.
    pub(super) fn answer(&self, persistence: Persistence, is_head: bool) -> &[u8] {
        let answer = &self.answers[persistence as usize];
        if is_head { &answer.bytes[..answer.head_bytes] } else { &answer.bytes }
    }

    /// The time of the last refresh.
    pub(super) fn unix_seconds(&self) -> u64 {
        self.unix_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: &Page) -> String {
        String::from_utf8(page.answer(Persistence::KeepAlive, false).to_vec()).unwrap()
    }

    #[test]
    fn the_date_changes_with_the_second_and_not_before() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let mut page = Page::new(b"x".to_vec());
        page.anchor = Some((start, Duration::from_millis(784_111_777_250)));
        page.refresh(start);
        assert!(text(&page).contains("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
        page.refresh(start + Duration::from_millis(749));
        assert!(text(&page).contains("08:49:37 GMT"));
        page.refresh(start + Duration::from_millis(750));
        assert!(text(&page).contains("08:49:38 GMT"));
        page.refresh(start + Duration::from_secs(7200));
        assert!(text(&page).contains("10:49:37 GMT"));
    }

    #[test]
    fn the_answer_to_head_is_the_head_of_the_answer_to_get() {
        let mut page = Page::new(b"Hello".to_vec());
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        page.start(Instant::now());
        for persistence in [Persistence::KeepAlive, Persistence::KeepAliveOld, Persistence::Close] {
            let head = page.answer(persistence, true).to_vec();
            let whole = page.answer(persistence, false);
            assert_eq!(whole.strip_prefix(&*head), Some(&b"Hello"[..]));
            assert!(head.ends_with(b"content-length: 5\r\n\r\n"));
        }
    }
}
