//! What the tests stand on: the driver suite, simulated servers, scripted peers.
