//! `drctl` from outside: help texts, results, exit codes, watches. Every command runs in a folder and an environment
//! of its own, against a coordinator in this process that answers over real mutual TLS what a test tells it to.

mod certificates;
mod coordinator;
mod errors;
mod help;
mod machine;
mod output;
mod plans;
mod samples;
mod watch;
