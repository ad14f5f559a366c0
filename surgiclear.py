"""The front door: one command whose verbs only call into the rooms."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer

from engines.errors import EngineError
from engines.verbs import app as engines_app
from server.errors import SurgiclearError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Restores laparoscopic video. Research software, not a cleared medical device.",
)
app.add_typer(engines_app, name="engines")


@app.callback()
def _root() -> None:
    """Restores laparoscopic video. Research software, not a cleared medical device."""


@app.command()
def restore(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Video, picture, folder or URL.")],
    output: Annotated[Path, typer.Argument(help="Video, picture or folder to write.")],
    engine: Annotated[str | None, typer.Option(help="A bundle's name or path.")] = None,
    compare: Annotated[
        Literal["split", "side", "none"], typer.Option(help="Show raw beside restored.")
    ] = "none",
    report: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    kinds: Annotated[str, typer.Option(help="What to restore.")] = "smoke,fog,splash",
    strength: Annotated[float, typer.Option(help="0 (raw) to 1 (full repair).")] = 1.0,
    reference: Annotated[
        Path | None, typer.Option(help="A clear picture of the same scene.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="libav encoder, as NAME:KEY=VALUE,KEY=VALUE.")
    ] = None,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Take what can be read of a damaged video.")
    ] = False,
) -> int:
    """Restore a recording, a picture or a folder of pictures."""
    from rich.console import Console

    from server.choose import choose
    from server.restore import ended_by_signals, order_of
    from server.restore import restore as run

    order = order_of(
        source, output, kinds=kinds, strength=strength, compare=compare, reference=reference,
        encoder=encoder, salvage=salvage,
    )  # fmt: skip
    with ended_by_signals():
        done = run(order, lambda: choose(engine), Console(stderr=True), report)
    for note in done.notes:
        typer.echo(f"surgiclear: note: {note}", err=True)
    for failure in done.failed:
        typer.echo(f"surgiclear: {failure}", err=True)
    typer.echo(done.sentence())
    return 2 if done.failed else 0


@app.command()
def phantom(
    output: Annotated[Path, typer.Argument(help="Film to write, or a .png sheet of its frames.")],
    truth: Annotated[
        Path | None, typer.Option(help="Film of the same scene with nothing in the way.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT, usually 1280x720.")] = None,
    fps: Annotated[str | None, typer.Option(help="Frames a second, usually 25.")] = None,
    seconds: Annotated[str | None, typer.Option(help="Of one loop, usually 40.")] = None,
    seed: Annotated[str | None, typer.Option(help="Which scene.")] = None,
    episodes: Annotated[
        str | None, typer.Option(help="In order, as smoke,fog,smoke+splash; or none.")
    ] = None,
    level: Annotated[str | None, typer.Option(help="1-4: how much they cover.")] = None,
    splash: Annotated[str | None, typer.Option(help="blood, fat, bile or fluid.")] = None,
    loops: Annotated[str | None, typer.Option(help="How often the scene is played.")] = None,
) -> None:
    """Write the sample feed (source `phantom:`) to a file, with its exact truth."""
    from rich.console import Console

    from server.phantom.film import order
    from server.restore import ended_by_signals

    given = {
        "size": size, "fps": fps, "seconds": seconds, "seed": seed, "episodes": episodes,
        "level": level, "splash": splash, "loops": loops,
    }  # fmt: skip
    with ended_by_signals():
        notes = order(
            {k: v for k, v in given.items() if v is not None}, output, truth, Console(stderr=True)
        )
    for note in notes:
        typer.echo(f"surgiclear: note: {note}", err=True)


def main() -> None:
    """Runs the command: one line on stderr and exit 2 (user's mistake) or 1 (failure)."""
    debug = "--debug" in sys.argv
    argv = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        code = app(args=argv, standalone_mode=False)
    except (SurgiclearError, EngineError) as error:
        if debug:
            traceback.print_exc()
        typer.echo(f"surgiclear: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    except typer.TyperException as error:
        message = error.format_message()  # empty where the help was shown instead
        if message:
            typer.echo(f"surgiclear: {message.rstrip('.')}: see --help", err=True)
        raise SystemExit(2) from None
    except (typer.Abort, KeyboardInterrupt):
        raise SystemExit(130) from None
    raise SystemExit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
