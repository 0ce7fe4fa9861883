-- What holds a snapshot against retention, JSON; NULL: nothing does.
ALTER TABLE snapshots ADD COLUMN hold TEXT;
