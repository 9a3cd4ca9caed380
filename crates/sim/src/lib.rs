//! A driver with a seed: network, clock and faults in memory.
