"""Reads a LanceDB directory with stock lancedb and prints what it finds, as JSON.

usage: read.py DATABASE [--ledger] [--golden FACTS]

Per table: version, rows, columns, and the sorted ids' SHA-256 where a column `id` exists. With --golden the exact
answers of facts.json are asked of the copy with numpy, and of its index with a recall.
"""
import argparse
import hashlib
import json
import os

import lancedb
import numpy as np


def scan(table):
    """All live rows, in batches of the table's own choice."""
    return table.to_arrow()


def ids_hash(ids):
    text = "\n".join(str(i) for i in sorted(ids))
    return hashlib.sha256(text.encode()).hexdigest()


def describe(table):
    rows = scan(table)
    found = {"version": table.version, "rows": rows.num_rows, "columns": rows.schema.names}
    if rows.num_rows != table.count_rows():
        raise SystemExit(f"{table.name}: a scan gives {rows.num_rows} rows, count_rows {table.count_rows()}")
    if "id" in rows.schema.names:
        found["ids"] = ids_hash(rows["id"].to_pylist())
    return found, rows


def golden(table, rows, facts):
    """How many of the exact answers are still exact, and the recall of the table's own index."""
    ids = np.array(rows["id"].to_pylist())
    matrix = np.stack(rows["vector"].to_numpy(zero_copy_only=False))
    matrix = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    position = {int(i): n for n, i in enumerate(ids)}
    exact, asked, recall = 0, 0, []
    for question in facts["golden"]:
        # The question's own row may be among the deleted: then nothing here can ask it.
        if question["vector_row"] not in position:
            continue
        asked += 1
        vector = matrix[position[question["vector_row"]]]
        distances = 1 - matrix @ vector
        top = np.argsort(distances, kind="stable")[:10]
        same = [int(i) for i in ids[top]] == question["exact_top10"]
        near = np.allclose(distances[top], question["distances"], atol=1e-5)
        exact += bool(same and near)
        answer = table.search(vector).metric("cosine").limit(10).to_arrow()["id"].to_pylist()
        recall.append(len(set(answer) & set(question["exact_top10"])) / 10)
    return {"asked": asked, "exact": exact, "recall": sum(recall) / max(len(recall), 1)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("--golden")
    arguments = parser.parse_args()
    if not os.path.isdir(arguments.database):
        raise SystemExit(f"{arguments.database} is not a folder")  # connect() would make one
    database = lancedb.connect(arguments.database)
    result = {"lancedb": lancedb.__version__, "tables": {}}
    names = sorted(name[: -len(".lance")] for name in os.listdir(arguments.database) if name.endswith(".lance"))
    for name in names:
        table = database.open_table(name)
        result["tables"][name], rows = describe(table)
        if name == "memory" and arguments.golden:
            with open(arguments.golden) as file:
                result["golden"] = golden(table, rows, json.load(file))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
