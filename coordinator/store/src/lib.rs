//! The coordinator's memory: hosts, plans, runs, tasks, results and its audit log, in SQLite.
