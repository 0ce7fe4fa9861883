//! Traces, logs and the metrics endpoint of the daemons and the command line.
