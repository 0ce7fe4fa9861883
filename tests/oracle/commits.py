"""Commits one step at a time: what a test wants to stand between two snapshots.

usage: commits.py DATABASE make | compact | forget | clone
"""

import sys

import lancedb
import numpy
import pyarrow

DIMENSIONS = 16


def rows(ids):
    random = numpy.random.default_rng(ids.start)
    vectors = random.random((len(ids), DIMENSIONS), dtype=numpy.float32)
    return pyarrow.table(
        {
            "id": pyarrow.array(ids, pyarrow.int64()),
            "text": [f"row {i}" if i % 5 else None for i in ids],
            "vector": pyarrow.FixedSizeListArray.from_arrays(vectors.ravel(), DIMENSIONS),
        }
    )


def make(database):
    """Five fragments of 400 rows."""
    table = database.create_table("memory", rows(range(400)))
    for start in range(400, 2000, 400):
        table.add(rows(range(start, start + 400)))


def compact(database):
    """One fragment of them all; then another comes, and three rows go."""
    table = database.open_table("memory")
    table.optimize()
    table.add(rows(range(2000, 2100)))
    table.delete("id in (7, 800, 1999)")


def forget(database):
    """Four rows more of the one fragment, and one of the other."""
    database.open_table("memory").delete("id in (8, 9, 10, 11, 2050)")


def clone(database):
    """A table that refers to the files of one in another database."""
    elsewhere = f"{database.uri}-elsewhere"
    lancedb.connect(elsewhere).create_table("memory", rows(range(100)))
    database.clone_table("cloned", f"{elsewhere}/memory.lance", is_shallow=True)


if __name__ == "__main__":
    steps = {step.__name__: step for step in (make, compact, forget, clone)}
    steps[sys.argv[2]](lancedb.connect(sys.argv[1]))
