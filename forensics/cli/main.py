"""The door: the group of commands, and what becomes of every error."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from forensics import __version__
from forensics.errors import ForensicsError
from forensics.report.sanitize import sanitize

COMMANDS = ("analyze", "checkpoint", "demo", "explain", "render")
"""Each is a module of this package with a ``command``, loaded when it is asked for."""

USAGE, INTERNAL, INTERRUPTED = 2, 4, 130
FAILED_PIPE = 141
"""What a shell reports of a program that SIGPIPE ended (128 + 13): ``forensics ... | head``."""
_DEBUG = "forensics.debug"


class Door(click.Group):
    """Loads commands lazily and turns every error into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command; None when there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"forensics.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a ``ForensicsError`` or an internal error ends in one line."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except ForensicsError as error:
            self._trace(ctx)
            return complain(str(error), error.exit_code)
        except Exception as error:
            self._trace(ctx)
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return complain(
                f"internal error: {what} (add --debug for the traceback, and please report it)",
                INTERNAL,
            )

    @staticmethod
    def _trace(ctx: click.Context) -> None:
        if ctx.meta.get(_DEBUG):
            import traceback

            traceback.print_exc()

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line and leave with its exit code."""
        arguments = (args, prog_name or "forensics", complete_var)
        if not standalone_mode:
            return super().main(*arguments, standalone_mode=False, **extra)
        try:
            code = super().main(*arguments, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = USAGE
        except click.ClickException as error:
            code = complain(_advice(error), error.exit_code)
        except click.Abort:
            code = complain("interrupted", INTERRUPTED)
        except BrokenPipeError:
            _discard()
            code = FAILED_PIPE
        except OSError as error:
            # of the help; commands write through `emit`
            _discard()
            code = complain(f"cannot write to stdout: {error.strerror or error}", INTERNAL)
        sys.exit(code if isinstance(code, int) else 0)


def _discard() -> None:
    from forensics.cli.output import discard_stdout

    discard_stdout()


def complain(message: str, code: int) -> int:
    """Write one line to stderr and return the exit code."""
    click.echo(f"forensics: {sanitize(message.strip())}", err=True)
    return code


def _advice(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{message.rstrip('.')} (see `{error.ctx.command_path} --help`)"
    return message


def debug_option(command: click.Command) -> click.Command:
    """Add ``--debug`` to a command: errors show their traceback."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.meta[_DEBUG] = value

    option = click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show the traceback of an error.",
    )
    command.params.append(option)
    return command


@click.group(cls=Door, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="forensics")
def main() -> None:
    """Why a TensorFlow or Keras training run went wrong, told after the fact."""
