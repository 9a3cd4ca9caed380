//! The event loop: connections, handlers, timers and servers over a driver.
