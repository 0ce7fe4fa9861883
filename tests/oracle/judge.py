"""Holds a restored copy against the ledger of the writer, with stock lancedb.

usage: judge.py RESTORED_DATABASE RESTORED_LOGS LEDGER --after OP --before OP [--exact]

--after   the last operation acknowledged when the snapshot began: nothing up to it may be missing
--before  the last operation begun when the snapshot had ended: nothing beyond it can be there
--exact   the snapshot claims one moment for everything: there must be one at which all of it was true together

Prints what it found as JSON; exits with 1 and the reasons when the copy is not what the ledger says.
"""
import argparse
import gzip
import json
import os
import sys

import lancedb

import ledger


def histories(path, last):
    """Per table and for the log: what was true from which operation on, until which."""
    tables, log, begun = {}, [], {}
    with open(path) as file:
        for line in file:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                break  # the line that is being written right now
            if entry["op"] > last + 40:
                break
            if entry.get("begin"):
                begun[entry["op"]] = entry
                continue
            if "table" in entry:
                tables.setdefault(entry["table"], []).append(entry)
            else:
                log.append(entry)
    return tables, log


def seen(ends):
    """(moment, moment, entry): an entry may be seen from the begin of its operation to the end of the following one.

    Operation n begins at moment 2n and ends at 2n+1; between them both its before and its after may be seen.
    """
    for entry, following in zip(ends, ends[1:] + [None]):
        yield 2 * entry["op"], 2 * following["op"] + 1 if following else float("inf"), entry


def read_table(database, name, problems):
    table = database.open_table(name)
    rows = table.to_arrow()
    ids, revisions = rows["id"].to_pylist(), rows["revision"].to_pylist()
    if len(set(ids)) != len(ids):
        problems.append(f"{name}: {len(ids) - len(set(ids))} ids twice")
    if rows["text"].to_pylist() != [ledger.text(i) for i in ids]:
        problems.append(f"{name}: a text is not the one that was written")
    if "vector" in rows.schema.names and rows["vector"].to_pylist() != [ledger.vector(i) for i in ids]:
        problems.append(f"{name}: a vector is not the one that was written")
    if table.count_rows() != len(ids):
        problems.append(f"{name}: count_rows says {table.count_rows()}, a scan {len(ids)}")
    for index in table.list_indices():
        if index.index_type == "FTS":
            table.search("billing", query_type="fts").limit(3).to_arrow()
    if "vector" in rows.schema.names and ids:
        table.search(ledger.vector(ids[0])).limit(3).to_arrow()
    return {"version": table.version, "rows": len(ids), "state": ledger.state(zip(ids, revisions))}


def match(found, ends):
    """When the table was as it was found; None stands for absent."""
    windows = []
    if found is None:
        windows.append((0, 2 * ends[0]["op"] + 1))
    for first, last, entry in seen(ends):
        if found is None and entry.get("absent"):
            windows.append((first, last))
        elif found and not entry.get("absent") and (entry["rows"], entry["state"]) == (found["rows"], found["state"]):
            windows.append((first, last))
    return windows


def match_log(last_record, ends):
    """When the log ended with that record: a batch of lines may be seen in part while it is being written."""
    windows = []
    before = -1
    for first, last, entry in seen(ends):
        if entry["last"] == last_record:
            windows.append((first, last))
        elif before < last_record < entry["last"]:
            windows.append((first, first + 1))
        before = entry["last"]
    return windows


def read_log(folder):
    """Sequence numbers over all segments, carried ones too; the chain must hold over the whole."""
    records, problems = {}, []
    names = [os.path.join(base, name) for base, _, names in os.walk(folder) for name in names if "audit.log" in name]
    for name in names:
        opened = gzip.open if name.endswith(".gz") else open
        with opened(name, "rb") as file:
            data = file.read()
        if data and not data.endswith(b"\n"):
            problems.append(f"{name} ends within a line")
        for line in data.splitlines():
            record = json.loads(line)
            records[record["seq"]] = record
    numbers = sorted(records)
    if not numbers:
        return None, None, ["the log is empty"]
    if numbers != list(range(numbers[0], numbers[-1] + 1)):
        missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
        problems.append(f"{len(missing)} log records are missing, the first is {missing[0]}")
    for number in numbers:
        record = records[number]
        if ledger.record_hash(record["prev_hash"], record) != record["hash"]:
            problems.append(f"log record {number} is not what was written")
            break
        if number - 1 in records and records[number - 1]["hash"] != record["prev_hash"]:
            problems.append(f"log record {number} does not follow {number - 1}")
            break
    return numbers[0], numbers[-1], problems


def judge(arguments):
    problems, windows, found = [], {}, {}
    tables, log = histories(arguments.ledger, arguments.before)
    database = lancedb.connect(arguments.database)
    present = {n[: -len(".lance")] for n in os.listdir(arguments.database) if n.endswith(".lance")}
    for name in sorted(present - set(tables)):
        problems.append(f"{name}: no such table was ever acknowledged")
    for name, ends in tables.items():
        found[name] = read_table(database, name, problems) if name in present else None
        windows[name] = match(found[name], ends)
        if not windows[name]:
            problems.append(f"{name}: {found[name]} was never acknowledged")
    first, last, log_problems = read_log(arguments.logs)
    problems += log_problems
    found["log"] = [first, last]
    if last is not None:
        windows["log"] = match_log(last, log)
        if not windows["log"]:
            problems.append(f"the log ends with record {last}, which was never acknowledged")
        if first != 0:
            problems.append(f"the log begins with record {first}")
    taken = [(2 * arguments.after + 1, 2 * arguments.before + 2)]
    for name, candidates in windows.items():
        if candidates and not meet([taken, candidates]):
            problems.append(f"{name}: as it was at moments {candidates[-3:]}, but the snapshot was taken at {taken}")
    together = meet([taken, *windows.values()])
    if arguments.exact and not problems and not together:
        problems.append(f"there is no moment at which all of this was true together: {windows}")
    return {"found": found, "moment": together, "problems": problems}


def meet(all_windows):
    """The stretches of time that lie in a window of each."""
    common = [(0, float("inf"))]
    for windows in all_windows:
        common = [(max(a, c), min(b, d)) for a, b in common for c, d in windows if max(a, c) < min(b, d)]
    return common


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("logs")
    parser.add_argument("ledger")
    parser.add_argument("--after", type=int, required=True)
    parser.add_argument("--before", type=int, required=True)
    parser.add_argument("--exact", action="store_true")
    result = judge(parser.parse_args())
    print(json.dumps(result, default=str))
    if result["problems"]:
        sys.exit("\n".join(result["problems"]))


if __name__ == "__main__":
    main()
