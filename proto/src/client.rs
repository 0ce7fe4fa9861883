//! Channels and clients of the services.
