-- Whether a source's problem is damage that work found in it; else it can not be read at all.
ALTER TABLE sources ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;
