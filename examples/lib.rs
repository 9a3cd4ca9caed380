//! Servers of under two hundred lines, each with its test.
