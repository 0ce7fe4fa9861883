//! System tests: one binary, because linking is what costs. A file here is a group of cases.

mod fixtures;
mod runner;
mod storage;
