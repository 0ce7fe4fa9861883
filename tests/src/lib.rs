//! System tests, test servers and benches
