//! The bar on stderr.

use super::plan::{Plan, Until};
use super::tally::Board;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(100);

/// A bar that moves until it is dropped. Without a terminal there is none.
pub(super) struct Progress {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub(super) fn show(plan: &Plan, board: &Arc<Board>, wanted: bool) -> Self {
        let bar = match plan.until {
            Until::Sends(sends) => ProgressBar::new(sends.saturating_mul(plan.clients as u64)),
            Until::Over(time) => ProgressBar::new(time.as_millis() as u64),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        if !wanted || bar.is_hidden() {
            return Self { end: None, thread: None };
        }
        let text = "{bar:40} {percent:>3} %  {elapsed}  {msg}";
        bar.set_style(ProgressStyle::with_template(text).expect("a template"));
        let (end, ended) = channel();
        let (board, by_time) = (board.clone(), matches!(plan.until, Until::Over(_)));
        let thread = std::thread::spawn(move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let success = board.success();
                let time = bar.elapsed().as_millis() as u64;
                bar.set_position(if by_time { time } else { success });
                bar.set_message(format!("{success} answers"));
            }
            bar.finish_and_clear();
        });
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // What a bar dies of does not matter.
            let _ = thread.join();
        }
    }
}
