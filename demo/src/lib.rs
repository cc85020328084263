//! ovn-xdp demo: two hypervisors in network namespaces.
