//! The kernel as a deliverer of bytes: sockets behind one driver contract.
