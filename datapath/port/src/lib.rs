//! AF_XDP sockets, the trunk, the NIC, and the eBPF programs that feed them.
