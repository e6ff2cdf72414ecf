"""The group `walcore`: finds the commands, and turns whatever they raise into one line and an exit status."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final

import click

from walcore.cli import DAMAGE, FAILURE, INTERRUPTED, LOCKED, OK, PIPE_CLOSED
from walcore.cli.damage import show_damage
from walcore.cli.output import talk, tell
from walcore.errors import CorruptionError, IncompleteError, WalDamageWarning, WalError, WalLockedError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = ("demo", "load", "info", "cat", "find", "verify", "repair", "recover", "export", "purge")
# Which extra brings a module that may be missing.
EXTRAS: Final = {"rich": "cli", "pyarrow": "arrow", "pyoxigraph": "rdf", "brickschema": "demo"}


class Commands(click.Group):
    """Imports a command when it is asked for, and the libraries a command needs when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order in which one needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Imports the command's file."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"walcore.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> int:
        """Runs the command; returns its exit status, whatever it raises but click's own."""
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except KeyboardInterrupt:
            talk("interrupted")
            return INTERRUPTED
        except BrokenPipeError:
            return PIPE_CLOSED
        except Exception as error:  # noqa: BLE001 - the last place where an error can get its status
            return _failed(error, debug=bool(ctx.params.get("debug")))
        return int(status or OK)


def _failed(error: Exception, *, debug: bool) -> int:
    """Says what went wrong; an error that nobody foresaw, or any with --debug, comes with its traceback."""
    status = FAILURE
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing in EXTRAS:
        text = f"this needs {missing}: pip install 'walcore[{EXTRAS[missing]}]'"
    elif isinstance(error, (WalError, OSError)):
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, WalLockedError):
            status = LOCKED
        elif isinstance(error, IncompleteError):
            status = show_damage(error.report)
            text = f"{text.partition(';')[0]}: `walcore verify` tells more, `walcore recover` what can be read"
        elif isinstance(error, CorruptionError):
            status = DAMAGE
    else:
        text, debug = f"this is a fault of walcore itself, please report it: {error!r}", True
    if debug:
        import traceback

        traceback.print_exception(error)
    talk(text)
    return status


def _refused(error: click.ClickException) -> int:
    """Says what click doesn't like in its own words, but as every other error; help that was not asked for is shown."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        tell(error.format_message())
        return error.exit_code
    talk(" ".join(error.format_message().split()))
    if not isinstance(error, click.UsageError):
        return FAILURE
    if error.ctx is not None:
        tell(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.")
    return error.exit_code


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from walcore._core.encode import crc32c_backend
    from walcore._version import __version__
    from walcore.format import FORMAT_VERSION

    python = ".".join(map(str, sys.version_info[:3]))
    click.echo(f"walcore {__version__} (format {FORMAT_VERSION}, CRC-32C by {crc32c_backend()}, Python {python})")
    ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 ok, 1 damage found, 2 usage, 3 the log is locked, 4 any other failure, 130 interrupted.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
              help="Show version, format and CRC back end.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Show tracebacks, and what the library logs.")
def walcore(debug: bool) -> None:
    """The write-ahead log of a value store: what was minted is never lost.

    Data goes to stdout, talk to stderr; --json gives one JSON object a line.

    \b
    Start here:
      walcore demo                          the whole story on real RDF, in seconds
      walcore load data.ttl --wal store/wal
      walcore info store/wal
    """
    warnings.simplefilter("ignore", WalDamageWarning)  # commands print the report themselves
    if debug:
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs one command line; returns its exit status."""
    return _written(_run(argv))


def _written(status: int) -> int:
    """The status once all output is written: what the interpreter finds out at its end it tells in its own way."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError as error:
            # What is left in the buffer must not be tried again at the interpreter's end.
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), stream.fileno())
            if stream is sys.stdout and status == OK:
                status = PIPE_CLOSED if isinstance(error, BrokenPipeError) else _failed(error, debug=False)
    return status


def _run(argv: Sequence[str] | None) -> int:
    if sys.stdout is None:  # `>&-`; a file opened meanwhile could have its descriptor
        talk("stdout is closed")
        return FAILURE
    arguments: dict[str, Any] = {} if argv is None else {"args": list(argv)}
    try:
        return int(walcore.main(prog_name="walcore", standalone_mode=False, **arguments) or OK)
    except click.ClickException as error:
        return _refused(error)
    except (click.Abort, KeyboardInterrupt):
        talk("interrupted")
        return INTERRUPTED
    except SystemExit:  # click, when nobody reads its help any more
        return PIPE_CLOSED
    except OSError as error:  # help or version that can't be written
        return _failed(error, debug=False)
