-- Moments are microseconds since 1970 UTC, lengths of time are microseconds, lists and maps are JSON.

-- One row for each start of a coordinator on this store.
CREATE TABLE epochs (
    epoch   INTEGER PRIMARY KEY,
    started INTEGER NOT NULL,
    version TEXT NOT NULL
) STRICT;

CREATE TABLE hosts (
    host                 TEXT PRIMARY KEY,
    state                TEXT NOT NULL CHECK (state IN ('expected', 'enrolled', 'revoked', 'retired')),
    labels               TEXT NOT NULL DEFAULT '{}',
    created              INTEGER NOT NULL,
    enrolled             INTEGER,
    last_seen            INTEGER,
    incarnation          TEXT,
    version              TEXT,
    protocol             INTEGER,
    capabilities         TEXT NOT NULL DEFAULT '[]',
    allow                TEXT NOT NULL DEFAULT '{"drills":[],"restore_into":[],"hooks":[],"failover":false}',
    repository           TEXT,
    repository_encrypted INTEGER NOT NULL DEFAULT 0,
    probes               TEXT NOT NULL DEFAULT '[]',
    suspended            TEXT,
    clock_skew           INTEGER,
    certificate_serial   TEXT,
    certificate_expires  INTEGER,
    -- Why it is revoked or retired.
    reason               TEXT,
    -- When what the agent remembers was filed; until then it is asked for.
    history_filed        INTEGER,
    -- The store was recovered from a copy: nothing is handed out before what the agent remembers is filed.
    recalled             INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE inventories (
    host              TEXT PRIMARY KEY REFERENCES hosts (host) ON DELETE CASCADE,
    received          INTEGER NOT NULL,
    snapshots_problem TEXT,
    stored_bytes      INTEGER NOT NULL,
    -- Bytes of all sources in the newest snapshot that is not suspect.
    newest_bytes      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE sources (
    host       TEXT NOT NULL REFERENCES hosts (host) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    path       TEXT NOT NULL,
    problem    TEXT,
    configured INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    PRIMARY KEY (host, name, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    host    TEXT NOT NULL REFERENCES hosts (host) ON DELETE CASCADE,
    id      TEXT NOT NULL,
    cut     INTEGER NOT NULL,
    exact   INTEGER NOT NULL,
    suspect TEXT,
    reason  TEXT,
    bytes   INTEGER NOT NULL,
    sources TEXT NOT NULL,
    PRIMARY KEY (host, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshots_by_cut ON snapshots (host, cut);

-- What the snapshots of a source say together, so that no pass has to read them all.
CREATE TABLE cuts (
    host      TEXT NOT NULL REFERENCES hosts (host) ON DELETE CASCADE,
    source    TEXT NOT NULL,
    first_cut INTEGER NOT NULL,
    last_cut  INTEGER NOT NULL,
    worst_gap INTEGER NOT NULL,
    snapshots INTEGER NOT NULL,
    PRIMARY KEY (host, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id          TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL UNIQUE,
    host        TEXT,
    labels      TEXT NOT NULL,
    created     INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    expires     INTEGER NOT NULL,
    withdrawn   INTEGER,
    used        INTEGER,
    used_by     TEXT,
    -- The public key that it was redeemed for: the same agent may ask again if the answer got lost.
    used_key    TEXT
) STRICT;

CREATE TABLE certificates (
    serial     TEXT PRIMARY KEY,
    identity   TEXT NOT NULL,
    host       TEXT,
    issued     INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    revoked    INTEGER,
    reason     TEXT
) STRICT;
CREATE INDEX certificates_by_identity ON certificates (identity);

CREATE TABLE plans (
    name       TEXT PRIMARY KEY,
    text       TEXT NOT NULL,
    hash       TEXT NOT NULL,
    enabled    INTEGER NOT NULL,
    applied    INTEGER NOT NULL,
    applied_by TEXT NOT NULL,
    -- Since when its slots are started; the watchdog counts from here.
    since      INTEGER NOT NULL,
    -- Slots up to here are dealt with.
    cursor     INTEGER NOT NULL
) STRICT;

-- Every text that was ever in force: runs and verdicts name its hash.
CREATE TABLE plan_texts (
    hash    TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    text    TEXT NOT NULL,
    applied INTEGER NOT NULL
) STRICT;

CREATE TABLE runs (
    id           TEXT PRIMARY KEY,
    plan         TEXT,
    plan_hash    TEXT,
    slot         INTEGER,
    work         TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('pending', 'running', 'cancelling', 'passed', 'failed',
                                                'inconclusive', 'partial', 'cancelled')),
    origin       TEXT NOT NULL CHECK (origin IN ('schedule', 'operator', 'agent', 'recovered')),
    requested_by TEXT NOT NULL,
    reason       TEXT NOT NULL DEFAULT '',
    request_id   TEXT UNIQUE,
    created      INTEGER NOT NULL,
    started      INTEGER,
    finished     INTEGER,
    explanation  TEXT NOT NULL DEFAULT '',
    traceparent  TEXT,
    rollout      TEXT NOT NULL,
    excluded     TEXT NOT NULL DEFAULT '[]',
    UNIQUE (plan, slot)
) STRICT;
CREATE INDEX runs_active ON runs (state) WHERE state IN ('pending', 'running', 'cancelling');
CREATE INDEX runs_finished ON runs (finished);

CREATE TABLE tasks (
    id             TEXT PRIMARY KEY,
    run            TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    plan           TEXT,
    slot           INTEGER,
    -- The host that is rehearsed or protected, and the one that does the work.
    host           TEXT NOT NULL,
    agent          TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('queued', 'offered', 'running', 'passed', 'failed',
                                                  'inconclusive', 'partial', 'refused', 'cancelled', 'expired',
                                                  'lost')),
    -- Fence: epoch is 0 until the task is handed out.
    epoch          INTEGER NOT NULL DEFAULT 0,
    attempt        INTEGER NOT NULL DEFAULT 1,
    retries        INTEGER NOT NULL,
    wave           INTEGER NOT NULL,
    work           TEXT NOT NULL,
    cause          TEXT NOT NULL DEFAULT '',
    explanation    TEXT NOT NULL DEFAULT '',
    not_before     INTEGER NOT NULL,
    start_by       INTEGER,
    allowance      INTEGER NOT NULL,
    queued         INTEGER NOT NULL,
    offered        INTEGER,
    started        INTEGER,
    finished       INTEGER,
    deadline       INTEGER,
    cancel_reason  TEXT,
    -- When its agent came back without it; it may still send the result.
    missing_since  INTEGER,
    proof          TEXT,
    time_to_usable INTEGER,
    rpo            INTEGER,
    UNIQUE (plan, slot, host),
    UNIQUE (run, host)
) STRICT;
CREATE INDEX tasks_open ON tasks (state) WHERE state IN ('queued', 'offered', 'running');
CREATE INDEX tasks_by_agent ON tasks (agent, state);
CREATE INDEX tasks_by_host ON tasks (host, queued);

CREATE TABLE task_events (
    number  INTEGER PRIMARY KEY,
    task    TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    run     TEXT NOT NULL,
    at      INTEGER NOT NULL,
    state   TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX task_events_by_run ON task_events (run, number);
CREATE INDEX task_events_by_task ON task_events (task);

-- What a task measured, as its agent wrote it; the newest attempt's.
CREATE TABLE documents (
    task     TEXT PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
    kind     TEXT NOT NULL,
    attempt  INTEGER NOT NULL,
    received INTEGER NOT NULL,
    document BLOB NOT NULL
) STRICT;

-- What drills said of single sources: what objectives are measured by. It outlives its task.
CREATE TABLE proofs (
    task           TEXT NOT NULL,
    host           TEXT NOT NULL,
    source         TEXT NOT NULL,
    kind           TEXT NOT NULL,
    verdict        TEXT NOT NULL,
    proof          TEXT NOT NULL,
    at             INTEGER NOT NULL,
    time_to_usable INTEGER,
    rpo            INTEGER,
    snapshot       TEXT,
    PRIMARY KEY (task, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX proofs_by_source ON proofs (host, source, at);

CREATE TABLE suspensions (
    id       TEXT PRIMARY KEY,
    scope    TEXT NOT NULL,
    reason   TEXT NOT NULL,
    by       TEXT NOT NULL,
    created  INTEGER NOT NULL,
    until    INTEGER NOT NULL,
    ended    INTEGER,
    ended_by TEXT
) STRICT;

CREATE TABLE reconcilers (
    name         TEXT PRIMARY KEY,
    first_seen   INTEGER NOT NULL,
    last_success INTEGER,
    last_failure INTEGER,
    last_error   TEXT NOT NULL DEFAULT '',
    status       TEXT NOT NULL DEFAULT ''
) STRICT;

-- Each entry's hash covers the entry and the hash of the one before.
CREATE TABLE audit (
    number  INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    details TEXT NOT NULL,
    hash    TEXT NOT NULL
) STRICT;

-- Where the chain begins and ends, so that entries missing at either end are missed.
CREATE TABLE audit_bounds (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    before_first INTEGER NOT NULL,
    before_hash  TEXT NOT NULL,
    last         INTEGER NOT NULL,
    last_hash    TEXT NOT NULL
) STRICT;
