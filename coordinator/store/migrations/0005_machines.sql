-- Whether a host came in by a token that wants an approval, and has none yet.
ALTER TABLE hosts ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
-- Which machine carries the name: one more with each replacement.
ALTER TABLE hosts ADD COLUMN machine INTEGER NOT NULL DEFAULT 1;
-- Since when the machine that takes the place of a lost one is waited for.
ALTER TABLE hosts ADD COLUMN awaited INTEGER;
ALTER TABLE tokens ADD COLUMN needs_approval INTEGER NOT NULL DEFAULT 0;
