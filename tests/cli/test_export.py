"""export: what stands in the Parquet file, of sound and of damaged logs."""

from __future__ import annotations

import json
import os
import sys

import pytest
from arrows import pyarrow, records

import walcore
from walcore.config import DEFAULT_FILE_MODE

parquet = pytest.importorskip("pyarrow.parquet")


def written(target):
    """The records in the file, and how many row groups it has."""
    file = parquet.ParquetFile(target)
    assert all(not field.nullable for field in file.schema_arrow)
    return records(file.read().cast(pyarrow.schema(walcore.read_arrow("."))).to_batches()), file.num_row_groups


@pytest.fixture
def values(tmp_path):
    """A log whose batches of 3 have different datatypes."""
    with walcore.open(tmp_path / "wal") as wal:
        wal.log_mint_many((n, "L", f"é{n}", f"urn:{n // 3}", "", -n) for n in range(10))
    return tmp_path / "wal"


def test_the_file_holds_every_record(run, values, tmp_path, monkeypatch):
    monkeypatch.setattr("walcore.cli.export.GROUP_ROWS", 3)
    target = tmp_path / "values.parquet"
    done = run("export", values, "--parquet", target)
    assert (done.status, done.out, done.err) == (0, "", f"walcore: 10 records written to {target}\n")
    assert written(target) == (list(walcore.read(values)), 4)


def test_the_file_is_on_disk_before_it_has_its_name(run, values, tmp_path, monkeypatch):
    target = tmp_path / "values.parquet"
    target.write_text("from before")
    synced = []

    def fsync(fd):
        synced.append((os.fstat(fd).st_ino, os.fstat(fd).st_size, target.read_bytes()))

    monkeypatch.setattr("walcore.cli.files.os.fsync", fsync)
    assert run("export", values, "--parquet", target).status == 0
    assert synced == [(target.stat().st_ino, target.stat().st_size, b"from before")]


@pytest.mark.parametrize("length", [8, 247])
def test_strangers_may_not_read_the_file_and_its_name_may_be_long(run, values, tmp_path, length):
    target = tmp_path / ("x" * length + ".parquet")
    assert run("export", values, "--parquet", target).status == 0
    assert target.stat().st_mode & 0o777 & ~DEFAULT_FILE_MODE == 0
    assert len(written(target)[0]) == 10
    assert sorted(tmp_path.iterdir()) == [values, target]


def test_an_empty_log_is_a_file_without_rows(run, tmp_path):
    walcore.open(tmp_path / "wal").close()
    assert run("export", tmp_path / "wal", "--parquet", tmp_path / "f").status == 0
    assert written(tmp_path / "f")[0] == []


def test_a_lone_surrogate_writes_nothing_unless_it_may_be_replaced(run, log, tmp_path):
    target = tmp_path / "values.parquet"
    target.write_text("from before")
    done = run("export", log, "--parquet", target)
    assert done.status == 4
    assert done.err.startswith("walcore: LSN 3: lexical holds a lone surrogate")
    assert target.read_text() == "from before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["values.parquet", "wal"]
    assert run("export", log, "--parquet", target, "--surrogates", "replace").status == 0
    assert written(target)[0][2].lexical == 'line\n"two"\ufffd'


def test_damage_is_told_and_the_rest_is_written(run, damaged, tmp_path):
    options = ("export", damaged, "--parquet", tmp_path / "f", "--surrogates", "replace")
    done = run(*options, "--json", "--mode", "salvage")
    assert done.status == 1
    told, fault = map(json.loads, done.lines)
    expected = {"what": "export", "directory": str(damaged), "output": str(tmp_path / "f"), "records": 4}
    assert told == expected | {"complete": False}
    assert (fault["what"], fault["lsn_before"], fault["lsn_after"]) == ("fault", 3, 5)
    assert [one.lsn for one in written(tmp_path / "f")[0]] == [1, 2, 3, 5]
    assert "values may be missing" in run(*options).err
    assert [one.lsn for one in written(tmp_path / "f")[0]] == [1, 2, 3]
    assert run(*options, "--mode", "strict").status == 1
    assert [one.lsn for one in written(tmp_path / "f")[0]] == [1, 2, 3]


def test_without_pyarrow_the_extra_is_named(run, values, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    done = run("export", values, "--parquet", tmp_path / "f")
    assert done.status == 4
    assert "arrow" in done.err
    assert not (tmp_path / "f").exists()


def test_an_error_of_reading_names_what_was_read(run, values, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("walcore.system.calls.preadv", refuse)
    done = run("export", values, "--parquet", tmp_path / "values.parquet")
    assert done.status == 4
    assert "wal-0.v1" in done.err
    assert "parquet" not in done.err
