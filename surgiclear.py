"""The front door: one command whose verbs only call into the rooms."""

from __future__ import annotations

import sys
import traceback

import click
import typer

from server.errors import SurgiclearError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Restores laparoscopic video. Research software, not a cleared medical device.",
)


@app.callback()
def _root() -> None:
    """Restores laparoscopic video. Research software, not a cleared medical device."""


def main() -> None:
    """Runs the command: one line on stderr and exit 2 (user's mistake) or 1 (failure)."""
    debug = "--debug" in sys.argv
    argv = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        code = app(args=argv, standalone_mode=False)
    except SurgiclearError as error:
        if debug:
            traceback.print_exc()
        typer.echo(f"surgiclear: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(2) from None
    except (click.Abort, KeyboardInterrupt):
        raise SystemExit(130) from None
    raise SystemExit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
