//! Mutual TLS: who is at the other end.
