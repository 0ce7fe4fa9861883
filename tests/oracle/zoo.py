"""One table of every kind that an application may have: types, vectors, indices, shapes.

usage: zoo.py DATABASE make | churn
"""

import datetime
import decimal
import sys

import lancedb
import numpy
import pyarrow

ROWS = 400
IDS = list(range(ROWS))
RANDOM = numpy.random.default_rng(1)


def vectors(dimensions, kind=numpy.float32, rows=ROWS):
    values = (RANDOM.random((rows, dimensions)) * 100).astype(kind)
    return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.ravel()), dimensions)


def scalars():
    """A column of each type that LanceDB takes."""
    day = datetime.date(2020, 1, 1)
    plain = {
        "int8": pyarrow.array([i % 100 for i in IDS], pyarrow.int8()),
        "uint64": pyarrow.array([2**63 + i for i in IDS], pyarrow.uint64()),
        "float16": pyarrow.array(numpy.arange(ROWS, dtype=numpy.float16)),
        "float32": pyarrow.array([float("nan") if i % 7 == 0 else i / 3 for i in IDS], pyarrow.float32()),
        "zeros": pyarrow.array([-0.0 if i % 2 else 0.0 for i in IDS], pyarrow.float64()),
        "bool": pyarrow.array([i % 2 == 0 if i % 5 else None for i in IDS]),
        "text": pyarrow.array([f"é{i}" if i % 3 else None for i in IDS]),
        "large_text": pyarrow.array([f"x{i}" * 3 for i in IDS], pyarrow.large_string()),
        "binary": pyarrow.array([bytes([i % 256]) * (i % 9) for i in IDS]),
        "large_binary": pyarrow.array([b"z" * i for i in IDS], pyarrow.large_binary()),
        "fixed_binary": pyarrow.array([bytes([i % 256]) * 8 for i in IDS], pyarrow.binary(8)),
        "decimal": pyarrow.array([decimal.Decimal(f"{i}.125") for i in IDS], pyarrow.decimal128(20, 5)),
        "decimal256": pyarrow.array([decimal.Decimal(f"{i}.5") for i in IDS], pyarrow.decimal256(50, 2)),
        "date": pyarrow.array([day + datetime.timedelta(days=i) for i in IDS]),
        "time": pyarrow.array(IDS, pyarrow.time64("ns")),
        "timestamp": pyarrow.array(IDS, pyarrow.timestamp("ms", tz="Europe/Berlin")),
        "duration": pyarrow.array(IDS, pyarrow.duration("us")),
        "dictionary": pyarrow.array([f"k{i % 5}" for i in IDS]).dictionary_encode(),
        "list": pyarrow.array([[i] * (i % 4) if i % 6 else None for i in IDS], pyarrow.list_(pyarrow.int32())),
        "large_list": pyarrow.array([["a"] * (i % 3) for i in IDS], pyarrow.large_list(pyarrow.string())),
        "struct": pyarrow.array([{"a": i, "b": {"c": str(i)}} if i % 4 else None for i in IDS]),
        "structs": pyarrow.array([[{"a": i, "b": None if i % 2 else "x"}] * (i % 3) for i in IDS]),
        "nothing": pyarrow.nulls(ROWS),
        "few_vectors": pyarrow.array(
            [[1.0, 2.0] if i % 3 else None for i in IDS], pyarrow.list_(pyarrow.float32(), 2)
        ),
    }
    return {name: {"id": IDS, name: column} for name, column in plain.items()}


def make(database):
    for name, columns in scalars().items():
        database.create_table(f"type_{name}", pyarrow.table(columns)).delete("id % 11 = 3")
    for kind in ("float16", "float32", "float64", "uint8", "int8"):
        columns = {"id": IDS, "vector": vectors(16, kind)}
        table = database.create_table(f"vector_{kind}", pyarrow.table(columns))
        metric = "hamming" if kind == "uint8" else "l2"
        if kind != "int8":  # LanceDB stores those and builds no index on them
            table.create_index(metric=metric, index_type="IVF_FLAT", num_partitions=4)
    kinds = ("IVF_PQ", "IVF_SQ", "IVF_RQ", "IVF_HNSW_SQ", "IVF_HNSW_PQ", "IVF_HNSW_FLAT")
    for kind, metric in zip(kinds, ("cosine", "dot", "l2") * 2):
        table = database.create_table(
            f"index_{kind.lower()}", pyarrow.table({"id": IDS, "vector": vectors(32)})
        )
        table.create_index(metric=metric, index_type=kind, num_partitions=2)
        table.add(pyarrow.table({"id": range(1000, 1050), "vector": vectors(32, rows=50)}))
    several = [[list(map(float, RANDOM.random(16))) for _ in range(1 + i % 3)] for i in IDS]
    several = pyarrow.array(several, pyarrow.list_(pyarrow.list_(pyarrow.float32(), 16)))
    table = database.create_table("multivector", pyarrow.table({"id": IDS, "vector": several}))
    table.create_index(metric="cosine", index_type="IVF_PQ", num_partitions=2, num_sub_vectors=4)
    searched(database)
    shapes(database)


def searched(database):
    """Every scalar index, and full text with positions."""
    columns = {
        "id": IDS,
        "word": [f"s{i % 40}" for i in IDS],
        "tags": [[f"t{i % 3}", f"u{i % 5}"] for i in IDS],
        "text": [f"the quick brown fox {i} jumps" if i % 4 else None for i in IDS],
    }
    table = database.create_table("searched", pyarrow.table(columns))
    for column, kind in (("id", "BTREE"), ("word", "BITMAP"), ("tags", "LABEL_LIST")):
        table.create_scalar_index(column, index_type=kind)
    table.create_fts_index("text", use_tantivy=False, with_position=True)


def shapes(database):
    """Tables that were changed, emptied, tagged, or are odd in size."""
    table = database.create_table(
        "evolved", pyarrow.table({"id": IDS, "a": IDS, "b": [str(i) for i in IDS], "vector": vectors(8)})
    )
    table.add_columns({"c": "a * 2"})
    table.drop_columns(["b"])
    table.alter_columns({"path": "a", "rename": "renamed"})
    new = {"id": range(350, 450), "renamed": range(100), "vector": vectors(8, rows=100), "c": [1] * 100}
    merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    merge.execute(pyarrow.table(new))
    database.create_table("empty", schema=pyarrow.schema([("id", pyarrow.int64())]))
    database.create_table("emptied", pyarrow.table({"id": IDS})).delete("id >= 0")
    table = database.create_table("tagged", pyarrow.table({"id": [1]}))
    table.tags.create("first", 1)
    table.add(pyarrow.table({"id": [2]}))
    table.restore(1)
    stable = {"new_table_enable_stable_row_ids": "true"}
    columns = pyarrow.table({"id": IDS, "vector": vectors(8)})
    table = database.create_table("stable", columns, storage_options=stable)
    table.update(where="id = 100", values={"id": 1000})
    table.create_index(metric="l2", index_type="IVF_FLAT", num_partitions=2)
    alike = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array([1.0] * 8 * ROWS, pyarrow.float32()), 8)
    table = database.create_table("alike", pyarrow.table({"id": IDS, "vector": alike}))
    table.create_index(metric="l2", index_type="IVF_FLAT", num_partitions=2)
    database.create_table("wide", pyarrow.table({f"c{i}": range(5) for i in range(300)}))
    database.create_table("a.b-c_D", pyarrow.table({"a b": [1, 2], "Ü": [3, 4], "select": [5, 6]}))


def churn(database):
    """Some rows of every table go."""
    for name in database.table_names(limit=1000):
        table = database.open_table(name)
        if "id" in table.schema.names:
            table.delete("id % 37 = 5")


if __name__ == "__main__":
    {"make": make, "churn": churn}[sys.argv[2]](lancedb.connect(sys.argv[1]))
