"""What every command has in common: exit status, which stream gets what, and how soon it is there."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from commands import COMMAND, environment, run_alone, spawn

import walcore
from walcore.cli import app
from walcore.cli.app import COMMANDS


def test_a_sound_log_is_status_0(log):
    assert run_alone("verify", log).status == 0


def test_damage_is_status_1_and_named_on_stderr(damaged):
    for words in (("cat", damaged), ("recover", damaged, "-o", "-"), ("verify", damaged)):
        done = run_alone(*words)
        assert done.status == 1, words
    assert "corrupt_frame" in run_alone("cat", damaged).err


@pytest.mark.parametrize(
    "words",
    [("nonsense",), ("cat",), ("cat", "/no/such/directory"), ("find", "x", "--wal", "."), ("cat", ".", "--kind", "Q")],
)
def test_a_wrong_call_is_status_2(run, words):
    done = run(*words)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("walcore: ")
    assert "\nUsage: walcore" in done.err
    assert "Error:" not in done.err


def test_without_a_command_the_help_lists_them_in_the_order_of_need_and_goes_to_stderr(run):
    done = run()
    assert (done.status, done.out) == (2, "")
    assert "walcore: " not in done.err
    listed = done.err.partition("Commands:")[2].split("\n\n")[0]
    assert re.findall(r"^  (\w+)  ", listed, re.MULTILINE) == list(COMMANDS)
    assert run("--help").out == done.err


def test_a_wrong_call_that_belongs_to_no_command_is_named_without_its_usage(capsys):
    assert app._refused(click.UsageError("not like\n   this")) == 2
    assert capsys.readouterr() == ("", "walcore: not like this\n")


def test_a_locked_log_is_status_3_and_the_holder_is_named(log, turtle):
    with walcore.open(log):
        done = run_alone("load", turtle, "--wal", log)
        assert run_alone("cat", log).status == 0  # readers need no lock
    assert done.status == 3
    assert re.search(r"^walcore: .*\d+", done.err)
    assert "Traceback" not in done.err


def test_any_other_failure_is_status_4_in_one_line(run, log, turtle, tmp_path):
    done = run("load", turtle, "--wal", tmp_path / "no" / "such")
    assert (done.status, done.out) == (4, "")
    assert done.err.count("\n") == 1
    assert str(tmp_path / "no") in done.err
    assert run("find", 99, "--wal", log).status == 4


def test_a_fault_of_walcore_itself_shows_its_traceback_and_is_status_4(run, log, monkeypatch):
    monkeypatch.setattr("walcore.search.find", lambda *_: 1 / 0)
    done = run("find", 1, "--wal", log)
    assert done.status == 4
    assert "Traceback" in done.err


def test_debug_shows_the_traceback_of_an_error(run, turtle, tmp_path):
    done = run("--debug", "load", turtle, "--wal", tmp_path / "no" / "such")
    assert done.status == 4
    assert "FileNotFoundError" in done.err


def test_an_interrupt_is_status_130(tmp_path):
    with spawn("load", "-", "--wal", tmp_path / "wal") as process:
        assert process.stdin
        process.stdin.write(b'{"kind":"I","lexical":"x"}\n')
        process.stdin.flush()
        time.sleep(1)  # it waits for the end of its stdin by now
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"walcore: interrupted\n")


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path):
    with walcore.open(tmp_path / "wal") as wal:
        wal.log_mint_many(range(1, 20_001), "L", "x" * 100)
    with spawn("cat", tmp_path / "wal", stdin=subprocess.DEVNULL) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("words", [("--help",), ("verify",), ("info",), ("cat",), ("info", "--json")])
def test_output_that_nobody_reads_is_no_damage(log, words):
    reading, writing = os.pipe()
    os.close(reading)
    with spawn(*words, *([] if words == ("--help",) else [log]), stdout=writing) as process:
        os.close(writing)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")


@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("cat", "--help"), ("cat",), ("info",), ("verify",), ("find", "1")]
)
def test_a_full_disk_behind_stdout_is_one_line_and_status_4(log, words):
    with (
        Path("/dev/full").open("wb") as full,
        spawn(*words, *([] if "--" in words[-1] else [log]), stdout=full) as process,
    ):
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert re.fullmatch(rb"walcore: .*No space left on device\n", err)


@pytest.mark.parametrize(("words", "status"), [(("nonsense",), 2), (("find", "77"), 4), (("cat",), 0)])
def test_a_full_disk_behind_stderr_leaves_the_status(log, words, status):
    with Path("/dev/full").open("wb") as full, spawn(*words, log, stderr=full) as process:
        process.communicate(timeout=60)
    assert process.returncode == status


def test_a_closed_stdout_is_one_line_and_status_4(log):
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "cat", str(log)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, "walcore: stdout is closed\n")


def test_a_missing_extra_is_one_sentence_with_the_command(log):
    hide = "import sys; sys.modules['{}'] = None; from walcore.cli import main; sys.exit(main(sys.argv[1:]))"
    for module, words, extra in (("click", ["--help"], "cli"), ("rich", ["verify", log], "cli")):
        command = [sys.executable, "-P", "-c", hide.format(module), *words]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 4, module
        assert f"pip install 'walcore[{extra}]'" in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_version_names_format_and_crc(run):
    done = run("--version")
    assert done.status == 0
    assert re.fullmatch(
        rf"walcore {re.escape(walcore.__version__)} \(format 1, CRC-32C by \S+, Python [\d.]+\)\n", done.out
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(run, name):
    done = run(name, "--help")
    assert done.status == 0
    assert f"\n    walcore {name}" in done.out


def test_help_imports_nothing_that_is_slow():
    code = "import sys; from walcore.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert not {"rich", "pyoxigraph", "isal", "crc32c", "asyncio", "brickschema"} & set(done.stderr.split())


def test_talk_never_goes_to_stdout(run, log, tmp_path):
    done = run("recover", log, "-o", tmp_path / "values")
    assert done.out == ""
    assert "5 values" in done.err


@pytest.mark.parametrize("command", ["info", "cat", "verify"])
def test_json_is_one_object_a_line(run, log, command):
    done = run(command, log, "--json")
    assert done.status == 0
    assert all(isinstance(json.loads(line), dict) for line in done.lines)


def test_the_directory_goes_by_argument_option_or_variable_but_not_twice(run, log, monkeypatch):
    expected = run("cat", log).out
    assert run("cat", "--wal", log).out == expected
    assert run("cat", log, "--wal", log).status == 2
    monkeypatch.setenv("WALCORE_WAL", str(log))
    assert run("cat").out == expected


class Unwritable:
    """A stream that is open on a file, and whose buffer can't be written."""

    def __init__(self, fd, error):
        self.fd, self.error = fd, error

    def fileno(self):
        return self.fd

    def write(self, text):
        return len(text)

    def flush(self):
        raise self.error


@pytest.mark.parametrize(
    ("stream", "error", "status", "becomes"),
    [
        ("stdout", OSError(errno.ENOSPC, "No space left on device"), 0, 4),
        ("stdout", OSError(errno.ENOSPC, "No space left on device"), 1, 1),
        ("stdout", BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, 141),
        ("stdout", BrokenPipeError(errno.EPIPE, "Broken pipe"), 2, 2),
        ("stderr", OSError(errno.ENOSPC, "No space left on device"), 0, 0),
        ("stderr", OSError(errno.ENOSPC, "No space left on device"), 3, 3),
    ],
)
def test_what_is_left_in_a_buffer_at_the_end_is_told_once_and_thrown_away(
    tmp_path, monkeypatch, stream, error, status, becomes
):
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    try:
        monkeypatch.setattr(f"sys.{stream}", Unwritable(fd, error))
        assert app._written(status) == becomes
        assert os.fstat(fd).st_rdev == Path(os.devnull).stat().st_rdev
        os.write(fd, b"goes nowhere")
    finally:
        os.close(fd)


def test_a_stream_that_is_closed_is_passed_over(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert app._written(3) == 3


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["cat", "--help"]])
@pytest.mark.parametrize(
    ("error", "status"), [(OSError(errno.ENOSPC, "No space left on device"), 4), (KeyboardInterrupt(), 130)]
)
def test_help_that_can_not_be_written_is_a_failure(run, monkeypatch, words, error, status):
    def fail(text=None, *_, err=False, **__):
        if not err:
            raise error
        sys.stderr.write(f"{text}\n")

    monkeypatch.setattr("click.echo", fail)
    monkeypatch.setattr("click.Context.get_help", fail)
    done = run(*words)
    assert done.status == status
    said = "walcore: interrupted" if status == 130 else "walcore: [Errno 28] No space left on device"
    assert done.err.strip() == said


def test_where_click_is_missing_one_sentence_says_so_and_any_other_lack_is_a_fault(run, monkeypatch):
    monkeypatch.delitem(sys.modules, "walcore.cli.app")
    monkeypatch.setitem(sys.modules, "click", None)
    done = run("--help")
    assert (done.status, done.out) == (4, "")
    assert done.err == "walcore: the command line needs click and rich: pip install 'walcore[cli]'\n"
    monkeypatch.setitem(sys.modules, "walcore.cli.app", None)
    with pytest.raises(ModuleNotFoundError):
        run("--help")


def test_an_interrupt_while_the_commands_are_imported_is_status_130(run, monkeypatch):
    class Interrupted:
        def find_spec(self, name, *_):
            if name == "walcore.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "walcore.cli.app")
    monkeypatch.setattr("sys.meta_path", [Interrupted(), *sys.meta_path])
    assert run("--help").status == 130
