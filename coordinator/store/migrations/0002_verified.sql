-- How much of a host's repository was verified within the last thirty days; unset: its agent never said.
ALTER TABLE inventories ADD COLUMN pack_bytes INTEGER;
ALTER TABLE inventories ADD COLUMN verified_bytes INTEGER;
