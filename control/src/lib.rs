//! The daemon: Southbound DB, port claims, tunnels, host, API.
