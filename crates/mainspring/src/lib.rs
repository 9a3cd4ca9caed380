//! Event-loop networking: servers, clients and simulation on callback loops.
