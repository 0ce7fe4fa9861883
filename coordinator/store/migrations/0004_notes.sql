-- What operators wrote beside a run, or one of its tasks. Rows are only added; they go with their run.
CREATE TABLE notes (
    number INTEGER PRIMARY KEY,
    run    TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    task   TEXT REFERENCES tasks (id) ON DELETE CASCADE,
    at     INTEGER NOT NULL,
    by     TEXT NOT NULL,
    text   TEXT NOT NULL,
    request_id TEXT NOT NULL UNIQUE
) STRICT;
CREATE INDEX notes_by_run ON notes (run, number);
CREATE INDEX notes_by_task ON notes (task);
