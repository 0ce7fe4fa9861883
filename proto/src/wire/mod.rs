//! Between the generated messages and the domain model: receivers validate once, senders can not fail.
