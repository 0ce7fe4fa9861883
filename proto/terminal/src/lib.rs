//! What the binaries print: tables, progress, errors.
