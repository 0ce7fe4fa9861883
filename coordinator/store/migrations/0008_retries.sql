-- How often a run was tried again after it had ended, and when it was last.
ALTER TABLE runs ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN retried INTEGER;
