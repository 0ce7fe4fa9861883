//! A small object in one sealed piece.
