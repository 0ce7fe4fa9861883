//! System tests: one binary, because linking is what costs. A file here is a group of cases.

mod crash;
mod damage;
mod doubt;
mod fixtures;
mod mistakes;
mod runner;
mod storage;
mod writer;
