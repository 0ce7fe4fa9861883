"""Writes a database and an audit log at full speed and keeps a ledger of what was acknowledged.

usage: writer.py FOLDER [--seed N] [--operations N]

FOLDER/rocketship-db   memory (vectors, three indices, never dropped), context (no vectors), sessions (dropped and
                       created again and again)
FOLDER/logs/audit.log  chained JSON lines; rotated to audit.log.1, audit.log.2.gz, …
FOLDER/ledger.jsonl    see ledger.py

Compaction removes every older version at once, which is the worst that an application can do to a copy under way.
Prints `ready` when everything exists, then goes on until standard input closes.
"""
import argparse
import datetime
import gzip
import json
import os
import random
import select
import shutil
import sys

import lancedb
import pyarrow as pa

import ledger

SCHEMA = pa.schema([
    ("id", pa.int64()), ("revision", pa.int64()), ("text", pa.string()),
    ("vector", pa.list_(pa.float32(), ledger.DIMENSIONS)),
])
PLAIN = pa.schema([("id", pa.int64()), ("revision", pa.int64()), ("text", pa.string())])
KEEP_SEGMENTS = 40


class Ledger:
    def __init__(self, path):
        self.file = open(path, "w")
        self.op = 0

    def begin(self, **what):
        self.op += 1
        self.write({"op": self.op, "begin": True, **what})

    def end(self, **what):
        self.write({"op": self.op, "end": True, **what})

    def write(self, line):
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()


class Table:
    """One table, its model in memory and its operations."""

    def __init__(self, writer, name, schema):
        self.writer, self.name, self.schema = writer, name, schema
        self.rows, self.sum, self.table, self.next_id = {}, 0, None, 0

    def batch(self, ids, revision):
        columns = [pa.array(ids, pa.int64()), pa.array([revision] * len(ids), pa.int64()),
                   pa.array([ledger.text(i) for i in ids])]
        if "vector" in self.schema.names:
            columns.append(pa.array([ledger.vector(i) for i in ids], self.schema.field("vector").type))
        return pa.table(columns, schema=self.schema)

    def fresh_ids(self, count):
        ids = list(range(self.next_id, self.next_id + count))
        self.next_id += count
        return ids

    def put(self, row_id, revision):
        self.remove(row_id)
        self.rows[row_id] = revision
        self.sum += ledger.row_hash(row_id, revision)

    def remove(self, row_id):
        if row_id in self.rows:
            self.sum -= ledger.row_hash(row_id, self.rows.pop(row_id))

    def operate(self, what, act, model=lambda: None):
        """Runs one operation, brings the model up to date and acknowledges."""
        book = self.writer.book
        book.begin(table=self.name, what=what)
        act()
        model()
        if self.table is None:
            book.end(table=self.name, absent=True)
        else:
            book.end(table=self.name, version=self.table.version, rows=len(self.rows),
                     state=f"{self.sum % ledger.MODULUS:032x}")

    def create(self):
        ids, revision = self.fresh_ids(60), self.writer.book.op + 1

        def act():
            self.table = self.writer.database.create_table(self.name, self.batch(ids, revision))

        def model():
            self.rows, self.sum = {}, 0
            for i in ids:
                self.put(i, revision)

        self.operate("create", act, model)

    def drop(self):
        def act():
            self.writer.database.drop_table(self.name)
            self.table, self.rows, self.sum = None, {}, 0

        self.operate("drop", act)

    def add(self):
        ids, revision = self.fresh_ids(self.writer.chance.randrange(1, 60)), self.writer.book.op + 1
        self.operate("add", lambda: self.table.add(self.batch(ids, revision)),
                     lambda: [self.put(i, revision) for i in ids])

    def update(self):
        divisor, revision = self.writer.chance.randrange(5, 40), self.writer.book.op + 1
        hit = [i for i in self.rows if i % divisor == 1]
        self.operate("update", lambda: self.table.update(where=f"id % {divisor} = 1", values={"revision": revision}),
                     lambda: [self.put(i, revision) for i in hit])

    def delete(self):
        divisor = self.writer.chance.randrange(20, 60)
        hit = [i for i in self.rows if i % divisor == 2]
        self.operate("delete", lambda: self.table.delete(f"id % {divisor} = 2"),
                     lambda: [self.remove(i) for i in hit])

    def merge(self):
        ids = self.writer.chance.sample(sorted(self.rows), min(10, len(self.rows))) + self.fresh_ids(5)
        revision = self.writer.book.op + 1

        def act():
            merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(self.batch(ids, revision))

        self.operate("merge", act, lambda: [self.put(i, revision) for i in ids])

    def compact(self):
        age = datetime.timedelta(0)
        self.operate("compact", lambda: self.table.optimize(cleanup_older_than=age, delete_unverified=True))

    def index(self):
        kind = self.writer.chance.randrange(3)

        def act():
            if kind == 0 and "vector" in self.schema.names and len(self.rows) >= 300:
                self.table.create_index(metric="l2", num_partitions=2, num_sub_vectors=4, vector_column_name="vector")
            elif kind == 1:
                self.table.create_fts_index("text", replace=True)
            else:
                self.table.create_scalar_index("id", replace=True)

        self.operate("index", act)


class Log:
    """The audit log and its rotation."""

    def __init__(self, writer, folder):
        self.writer, self.folder = writer, folder
        self.path = os.path.join(folder, "audit.log")
        self.sequence, self.previous, self.in_segment = 0, "0" * 64, 0
        os.makedirs(folder, exist_ok=True)

    def append(self):
        self.writer.book.begin(log=True)
        with open(self.path, "ab") as file:
            for _ in range(self.writer.chance.randrange(1, 8)):
                record = {"seq": self.sequence, "ts": f"2026-03-01T00:00:00.{self.sequence % 1000:03}Z",
                          "actor": f"agent-{self.sequence % 40}", "detail": ledger.text(self.sequence)}
                digest = ledger.record_hash(self.previous, record)
                record["prev_hash"], record["hash"] = self.previous, digest
                file.write((json.dumps(record, separators=(",", ":")) + "\n").encode())
                self.previous, self.sequence, self.in_segment = digest, self.sequence + 1, self.in_segment + 1
        self.writer.book.end(log=True, last=self.sequence - 1)
        if self.in_segment >= 300:
            self.rotate()

    def rotate(self):
        """As logrotate does with compress and delaycompress: number n+1 takes n's place, from the top."""
        self.writer.book.begin(log=True, what="rotate")
        for number in range(KEEP_SEGMENTS, 1, -1):
            old, new = self.segment(number), self.segment(number + 1)
            if os.path.exists(old):
                os.rename(old, new)
        first = os.path.join(self.folder, "audit.log.1")
        if os.path.exists(first):
            with open(first, "rb") as plain, gzip.open(self.segment(2) + ".tmp", "wb") as packed:
                shutil.copyfileobj(plain, packed)
            os.rename(self.segment(2) + ".tmp", self.segment(2))
            os.remove(first)
        os.rename(self.path, first)
        open(self.path, "ab").close()
        self.in_segment = 0
        self.writer.book.end(log=True, last=self.sequence - 1)

    def segment(self, number):
        return os.path.join(self.folder, f"audit.log.{number}.gz")


class Writer:
    def __init__(self, folder, seed):
        os.makedirs(folder, exist_ok=True)
        self.chance = random.Random(seed)
        self.book = Ledger(os.path.join(folder, "ledger.jsonl"))
        self.database = lancedb.connect(os.path.join(folder, "rocketship-db"))
        self.memory = Table(self, "memory", SCHEMA)
        self.context = Table(self, "context", PLAIN)
        self.sessions = Table(self, "sessions", SCHEMA)
        self.tables = [self.memory, self.context, self.sessions]
        self.log = Log(self, os.path.join(folder, "logs"))

    def set_up(self):
        for table in self.tables:
            table.create()
        for _ in range(8):
            self.memory.add()
        self.memory.index()
        self.log.append()

    def step(self):
        table = self.chance.choice([self.memory, self.memory, self.context, self.sessions])
        if table is self.sessions and table.table is None:
            table.create()
        elif table is self.sessions and self.chance.random() < 0.25:
            table.drop()
        else:
            acts = [table.add] * 6 + [table.update, table.delete, table.merge] * 2 + [table.compact] * 3 + [table.index]
            self.chance.choice(acts)()
        self.log.append()


def wanted():
    """Until standard input closes."""
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return not readable or bool(os.read(sys.stdin.fileno(), 1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operations", type=int, default=1_000_000)
    arguments = parser.parse_args()
    writer = Writer(arguments.folder, arguments.seed)
    writer.set_up()
    print("ready", flush=True)
    while writer.book.op < arguments.operations and wanted():
        writer.step()
    print(json.dumps({"operations": writer.book.op, "log_records": writer.log.sequence}), flush=True)


if __name__ == "__main__":
    main()
