//! Append-only audit logs: capture, framing, hash chains, continuity
