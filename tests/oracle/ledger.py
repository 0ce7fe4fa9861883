"""What the busy writer promises and the judge holds against a restored copy.

The ledger is a file of JSON lines. Operation `op` begins with {"op", "begin", ...} before anything happens and ends
with {"op", "end", ...} once LanceDB has acknowledged it; operations never overlap. An end says what is true from
then on of the one thing that the operation touched: a table's version, row count and state, or the log's last line.

A table's state is the sum of hashes of (id, revision) over its live rows: independent of order and of compaction.
"""
import hashlib

DIMENSIONS = 16
MODULUS = 1 << 128


def row_hash(row_id, revision):
    digest = hashlib.blake2b(f"{row_id}:{revision}".encode(), digest_size=16).digest()
    return int.from_bytes(digest, "big")


def state(rows):
    """The state of a table whose live rows are the pairs (id, revision)."""
    return f"{sum(row_hash(i, r) for i, r in rows) % MODULUS:032x}"


def text(row_id):
    """Text is a function of the id, so that a reader knows what it should find."""
    words = ("billing", "cache", "ticket", "staging", "planner", "export", "handover", "limiter")
    return " ".join(words[(row_id * k + k) % len(words)] for k in range(1, 9)) + f" OPS-{row_id}"


def vector(row_id):
    """So are vectors; every value is exact in 32 bits."""
    return [((row_id * 31 + j * 17) % 1021) / 1024 for j in range(DIMENSIONS)]


def record_hash(previous, record):
    import json

    body = {key: record[key] for key in record if key not in ("prev_hash", "hash")}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256((previous + canonical).encode()).hexdigest()
