-- The list of hosts that should be there, as it was handed over last. Their labels are those of the hosts.
CREATE TABLE expected (
    host  TEXT PRIMARY KEY,
    -- Since when it is in the list without a break.
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE expected_import (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at  INTEGER NOT NULL,
    by  TEXT NOT NULL
) STRICT;
