"""Damage artefacts: their bytes, and the values in JSON, TOML, CSV, SQLite, PDF, zip and safetensors files."""

import copy
import csv
import io
import json
import random
import sqlite3
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

_EXTREMES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**70),
    10**400,
    0.5,
    -0.0,
    1e-320,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
    "",
    "x",
    "1",
    "nan",
    "../..",
    "\x00",
    "\ud800",
    "é" * 10_000,
    [],
    [1],
    [[]],
    [None, None],
    ["a", "b", "c"],
    {},
    {"a": 1},
    {"": None},
)
_STORED: tuple[Any, ...] = (
    None, 0, -1, 2**62, 0.5, 1e308, float("inf"), "", "x", "1", "inf", "nan", "[]", "{}", "[1]", "[[1]]", '{"a":1}', "null",
    "[[null,null]]", "[[1,2,3,4,5,6]]", '[["a","b"]]', '[["a",1e999,0,0,0,0]]', b"", b"\x00\xff", b"5", "patch", "[" * 5000,
)  # fmt: skip
_TEXTS = ("", "x", "nan", "inf", "-inf", "1e999", "1.5", "-1", "9" * 5000, "\x00", "None", "[]", '"', "é", " 1 ", "1_0")


def mutate(file: Path, form: str, rng: random.Random) -> str:
    """Damage a file, in a way that its form allows three times out of four; return how, in words."""
    own = _FORMS.get(form)
    if own is None or rng.random() < 0.25:
        return _bytes(file, rng)
    return own(file, rng)


def _bytes(file: Path, rng: random.Random) -> str:
    data = bytearray(file.read_bytes())
    size = len(data)
    begin = rng.randrange(size + 1)
    length = min(size - begin, int(10 ** rng.uniform(0, 4)))
    how = rng.choice(("flip", "cut", "repeat", "zero", "remove", "insert", "empty"))
    if how == "flip":
        for _ in range(rng.choice((1, 3, 30))):
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif how == "cut":
        del data[begin:]
    elif how == "repeat":
        data[begin:begin] = data[begin : begin + length] * rng.choice((1, 2, 9))
    elif how == "zero":
        data[begin : begin + length] = bytes(length)
    elif how == "remove":
        del data[begin : begin + length]
    elif how == "insert":
        data[begin:begin] = rng.randbytes(length)
    elif rng.random() < 0.8:
        return _bytes(file, rng)
    else:
        data.clear()
    _replace(file, bytes(data))
    return f"bytes: {how} at {begin} of {size}"


def _replace(file: Path, data: bytes) -> None:
    """Write a file anew: it may be a link to the original."""
    file.unlink()
    file.write_bytes(data)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the containers in a value with each of their keys."""
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _place(value: Any, rng: random.Random) -> tuple[Any, Any]:
    """Choose a place, each depth alike, because most of a file's values are deep in a few long lists."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = rng.choice(keys)
        inner = value[key]
        if not (isinstance(inner, (dict, list)) and inner) or rng.random() < 0.3:
            return value, key
        value = inner


def change_value(value: Any, rng: random.Random, extremes: tuple[Any, ...] = _EXTREMES) -> str:
    """Change one to three places in JSON-like containers; return how, in words."""
    words = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not value:
            break
        holder, key = _place(value, rng)
        how = rng.choice(("swap", "swap", "swap", "swap", "remove", "extend", "deepen", "same kind"))
        if how == "remove":
            del holder[key]
        elif how == "extend" and isinstance(holder[key], list):
            holder[key] = (holder[key] * rng.choice((2, 1000)))[:100_000]
        elif how == "extend" and isinstance(holder[key], dict):
            holder[key]["unknown"] = rng.choice(extremes)
        elif how == "deepen":
            holder[key] = [holder[key]] if rng.random() < 0.7 else {"a": holder[key]}
        elif how == "same kind" and isinstance(holder[key], (int, float)):
            holder[key] = rng.choice([extreme for extreme in extremes if type(extreme) in (int, float)])
        else:
            how = "swap"
            holder[key] = copy.deepcopy(rng.choice(extremes))
        now = "nothing" if how == "remove" else repr(holder[key])[:60]
        words.append(f"{key}: {how} {now}")
    return "; ".join(words)


def _json(file: Path, rng: random.Random) -> str:
    value = json.loads(file.read_text(encoding="utf-8"))
    if rng.random() < 0.03:
        text = rng.choice(('{"a":' * 100_000, "[" * 100_000, "null", "[]", "{}", "1", '"x"', "1" * 5000))
        _replace(file, text.encode())
        return f"json: {text[:20]}"
    words = change_value(value, rng)
    _replace(file, json.dumps(value).encode("utf-8", "surrogatepass"))
    return f"json: {words}"


def _toml(file: Path, rng: random.Random) -> str:
    import tomllib

    value = tomllib.loads(file.read_text(encoding="utf-8"))
    plain = tuple(extreme for extreme in _EXTREMES if extreme is not None and extreme != "\ud800")
    words = change_value(value, rng, plain)
    lines = [f"{json.dumps(key)} = {_toml_value(inner)}" for key, inner in value.items()]
    _replace(file, "\n".join(lines).encode())
    return f"toml: {words}"


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _csv(file: Path, rng: random.Random) -> str:
    rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"))))
    row, column = rng.randrange(len(rows)), rng.randrange(len(rows[0]))
    how = rng.choice(("cell", "cell", "cell", "cell", "column", "heading", "row", "longer", "shorter"))
    text = rng.choice(_TEXTS)
    if how == "cell":
        rows[max(1, row)][column] = text
    elif how == "column":
        for cells in rows:
            del cells[column]
    elif how == "heading":
        rows[0][column] = rng.choice((text, rows[0][0]))
    elif how == "row":
        rows.insert(row, list(rows[row]))
    elif how == "longer":
        rows[row].append(text)
    else:
        del rows[row][column:]
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    _replace(file, stream.getvalue().encode())
    return f"csv: {how} at {row}, {column}: {text[:20]!r}"


def _sqlite(file: Path, rng: random.Random) -> str:
    _replace(file, file.read_bytes())
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("PRAGMA journal_mode=DELETE")
        table = rng.choice(("frames", "frames", "frames", "frames", "events"))
        columns = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
        if table == "events" and not database.execute("SELECT count(*) FROM events").fetchone()[0]:
            kinds = ("lost", "back", "step", "done", "skip", "mark", "region", "continued")
            values = [(rng.random(), rng.choice(kinds), rng.choice(("1: x", "1", "words"))) for _ in range(6)]
            database.executemany("INSERT INTO events (time_s, kind, words) VALUES (?, ?, ?)", values)
        column = rng.choice(columns)
        how = rng.choice(("value", "value", "value", "value", "column", "drop", "rename", "rows", "schema"))
        value = rng.choice(_STORED)
        with suppress(sqlite3.IntegrityError, sqlite3.OperationalError):
            if how == "value":
                key = "number" if table == "events" else "frame"
                database.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (value, rng.randrange(1, 9)))
            elif how == "column":
                database.execute(f"UPDATE {table} SET {column} = ?", (value,))
            elif how == "drop":
                database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
            elif how == "rename":
                database.execute(f"ALTER TABLE {table} RENAME TO {rng.choice(('other', 'x y'))}")
            elif how == "rows":
                database.execute(f"DELETE FROM {table} WHERE {rng.choice(('1', 'frame > 1', 'frame % 2'))}")
            else:
                database.execute(f"PRAGMA user_version={rng.choice((-1, 0, 1, 4, 6, 2**31 - 1))}")
    return f"sqlite: {how} of {table}.{column}: {str(value)[:40]!r}"


def _pdf(file: Path, rng: random.Random) -> str:
    """Change the layout that a sheet carries; offsets behind it are wrong then, which PDFium mends."""
    data = file.read_bytes()
    begin = data.index(b"/Keywords (") + len(b"/Keywords (")
    end = begin
    while data[end] != ord(")") or data[end - 1] == ord("\\"):
        end += 1
    raw = data[begin:end].replace(b"\\(", b"(").replace(b"\\)", b")").replace(b"\\\\", b"\\")
    layout = json.loads(raw)
    words = change_value(layout, rng)
    text = json.dumps(layout).encode()
    escaped = text.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    _replace(file, data[:begin] + escaped + data[end:])
    return f"pdf: {words}"


_HUGE = {"i": 2**60, "u": 255}
_TENSORS: dict[str, Callable[[Any], Any]] = {
    "empty": lambda value: value.ravel()[:0],
    "float": lambda value: value.astype("float64"),
    "other size": lambda value: value.reshape(-1).repeat(2),
    "huge values": lambda value: value * 0 + value.dtype.type(_HUGE.get(value.dtype.kind, "nan")),
    "flat": lambda value: value.ravel(),
}


def _safetensors(file: Path, rng: random.Random) -> str:
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    if rng.random() < 0.5:
        tensors = dict(load(data))
        name = rng.choice(list(tensors))
        how = rng.choice(("remove", "rename", *_TENSORS))
        value = tensors.pop(name)
        if how == "rename":
            tensors["other"] = value
        elif how != "remove":
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tensors[name] = np.asarray(_TENSORS[how](value))  # arithmetic makes a number of an array without sides
        _replace(file, save(tensors))
        return f"safetensors: {name}: {how}"
    words = change_value(header, rng)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    _replace(file, struct.pack("<Q", len(text)) + text + body)
    return f"safetensors: header {words}"


def _zip(file: Path, rng: random.Random) -> str:
    how = rng.choice(tuple(_MEMBERS))
    with zipfile.ZipFile(file) as source:
        infos = source.infolist()
        kept_infos = infos if rng.random() < 0.5 else rng.sample(infos, max(1, len(infos) // 2))
        members = [(copy.copy(info), source.read(info)) for info in kept_infos]
    packed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for info, data in members:
            archive.writestr(info.filename, data)
        _MEMBERS[how](archive, rng, infos)
    _replace(file, packed.getvalue())
    return f"zip: {how}"


def _linked(archive: zipfile.ZipFile, _: random.Random, __: Any) -> None:
    info = zipfile.ZipInfo("runs/run/link")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    archive.writestr(info, "/etc/passwd")


def _bomb(archive: zipfile.ZipFile, rng: random.Random, _: Any) -> None:
    for number in range(rng.choice((1, 8))):
        with archive.open(zipfile.ZipInfo(f"runs/run/zero{number}.bin"), "w", force_zip64=True) as stream:
            for _ in range(rng.choice((32, 256))):
                stream.write(bytes(2**20))


def _member(name: str, data: bytes = b"x") -> Callable[[zipfile.ZipFile, random.Random, Any], None]:
    return lambda archive, rng, infos: archive.writestr(zipfile.ZipInfo(name), data)


_MEMBERS: dict[str, Callable[[zipfile.ZipFile, random.Random, Any], None]] = {
    "nothing": lambda archive, rng, infos: None,
    "above": _member("../out.txt"),
    "above within": _member("runs/../../out.txt"),
    "absolute": _member("/tmp/torture-out.txt"),
    "long name": _member(f"runs/run/{'n' * 300}"),
    "deep name": _member("runs/run/" + "d/" * 3000 + "x"),
    "empty name": _member(""),
    "backslashes": _member("runs\\..\\..\\out.txt"),
    "device": _member("C:/runs/run/x"),
    "NUL": _member("runs/run/a\x00b"),
    "not text": _member("runs/run/\ufffd\u202e"),
    "folder": _member("runs/run/", b""),
    "file for a folder": _member("runs/run/checkpoint"),
    "folder for a file": _member("runs/run/run.json/x"),
    "short": _member("runs/x"),
    "twice": lambda archive, rng, infos: archive.writestr(rng.choice(infos).filename, b"again"),
    "database": lambda archive, rng, infos: archive.writestr("runs/run/session.db", rng.randbytes(100)),
    "link": _linked,
    "bomb": _bomb,
    "many": lambda archive, rng, infos: [archive.writestr(f"runs/run/{i}", b"") for i in range(5000)] and None,
}
_FORMS: dict[str, Callable[[Path, random.Random], str]] = {
    "json": _json,
    "toml": _toml,
    "csv": _csv,
    "sqlite": _sqlite,
    "pdf": _pdf,
    "safetensors": _safetensors,
    "zip": _zip,
}
