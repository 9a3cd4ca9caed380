//! The driver suite: one test per promise of the contract, for every driver.
//!
//! The functions are generic over the [`Harness`](crate::Harness) and named for the clause they
//! check. [`driver_suite!`](crate::driver_suite!) instantiates all of them.

pub mod accepting;
pub mod datagrams;
pub mod ending;
pub mod receiving;
pub mod sending;
pub mod signals;
pub mod starving;
pub mod story;
pub mod waking;

/// Instantiates the suite as a module of tests: `driver_suite!(ready, OsHarness<Ready>);`.
///
/// With a third argument, a function from a test body (`fn()`) to `()`, that function runs each
/// body, for instance once per seed.
#[macro_export]
macro_rules! driver_suite {
    ($name:ident, $harness:ty) => {
        $crate::driver_suite!($name, $harness, |body: fn()| body());
    };
    ($name:ident, $harness:ty, $run:expr) => {
        mod $name {
            use super::*;
            $crate::driver_suite! { @tests $harness, $run;
                story: d01_events_of_one_key_arrive_in_order
                    d01_a_peer_that_is_reset_early_still_has_one_story
                    d01_closed_is_last_even_with_data_waiting
                    d01_listeners_and_datagram_sockets_end_with_closed
                    d01_released_comes_in_place_of_closed
                    d01_a_new_tenant_hears_nothing_of_the_old
                    d01_orders_for_unknown_keys_do_nothing
                    d01_the_same_on_unix_streams
                    d02_lent_bytes_may_be_scribbled_on;
                receiving: d02_what_is_kept_stays_as_it_is
                    d02_what_is_kept_leaves_as_it_came
                    d03_nothing_before_recv_start
                    d03_recv_stop_bounds_what_still_comes
                    d03_stopping_and_starting_loses_nothing
                    d04_pause_from_data_stops_receiving
                    d04_pause_from_datagram_stops_receiving
                    d05_no_event_is_lost_to_budgets
                    d05_no_sleep_while_something_is_remembered
                    d05_accepts_beyond_the_budget_come_later
                    d05_a_flood_does_not_starve_the_others;
                sending: d06_done_means_gone
                    d06_send_waits_once_and_keeps_order
                    d06_shared_and_owned_chunks_keep_their_order
                    d06_a_send_while_connecting_waits_for_the_connection
                    d06_bytes_in_flight_land
                    d06_two_directions_do_not_disturb_each_other
                    d07_no_sent_without_waiting
                    d07_an_empty_outbox_is_done;
                accepting: d08_a_dropped_connection_is_closed
                    d08_an_accepted_connection_may_go_to_another_loop
                    d08_a_released_connection_may_go_to_another_loop
                    d08_accepted_tells_both_addresses
                    d08_nothing_is_accepted_after_close
                    d09_a_taken_address_is_an_error_and_leaves_nothing
                    d09_a_taken_unix_path_is_an_error;
                ending: d09_reset_is_failed_then_closed
                    d09_a_refused_connection_is_failed_then_closed
                    d09_a_send_to_a_reset_peer_is_failed_then_closed
                    d09_one_failure_leaves_the_others_alone
                    close_delivers_what_was_sent_and_ends_the_stream
                    abort_resets
                    shutdown_ends_one_direction_only
                    a_late_answer_follows_the_peers_eof;
                waking: d10_a_wake_before_poll_ends_it
                    d10_a_wake_from_elsewhere_ends_a_sleep
                    d10_wakes_coalesce
                    d10_a_waker_outlives_its_driver
                    d11_begin_comes_first_and_time_does_not_go_back
                    d11_a_timeout_is_slept_and_not_spun;
                datagrams: d13_datagrams_keep_boundaries_zero_length_included
                    d13_a_batch_arrives_whole_and_in_order
                    d13_replies_go_where_the_datagram_came_from
                    d13_a_datagram_too_long_is_dropped_alone
                    d13_a_connected_socket_hears_its_peer_only
                    d13_nothing_before_recv_start
                    multicast_needs_a_datagram_socket;
                signals: d14_a_signal_ends_a_sleep_and_is_told
                    d14_signals_of_a_kind_are_one_and_kinds_are_kept_apart
                    d14_each_driver_is_told
                    d14_what_cannot_be_caught_is_refused
                    d14_a_signal_does_no_harm_when_the_driver_is_gone;
            }
        }
    };
    (@tests $harness:ty, $run:expr; $($file:ident: $($test:ident)+;)+) => {
        $($(
            #[test]
            fn $test() {
                ($run)($crate::driver_suite::$file::$test::<$harness>);
            }
        )+)+
    };
}
