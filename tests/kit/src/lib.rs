//! Hosts, workloads, clusters, captures: the parts that tests and the demo are built of.
