//! Turns bytes into frames and frames into bytes.
