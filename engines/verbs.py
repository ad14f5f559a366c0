"""`surgiclear engines ...`: bundles listed, shown, verified, signed, exported and built."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from engines.bundle import Bundle
from engines.bundle import sign as sign_bundle
from engines.errors import ExportRefused
from engines.manifest import Port
from engines.sign import keygen as make_keys
from engines.sign import read_private, read_trusted
from engines.store import USER_FOLDER, Store
from models.trained import trained

KEYS = Path.home() / ".config" / "surgiclear" / "keys"

app = typer.Typer(no_args_is_help=True, help="Engine bundles: list, verify, sign, export, build.")

Folder = Annotated[
    Path, typer.Option("--folder", envvar="SURGICLEAR_ENGINES", help="Where your bundles are.")
]
Keys = Annotated[
    Path,
    typer.Option(
        "--keys", envvar="SURGICLEAR_KEYS", help="Folder of public keys (*.pub) to trust."
    ),
]
Strict = Annotated[
    bool, typer.Option("--require-signature", help="Refuse what no trusted key has signed.")
]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Name = Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle's name or folder.")]


def _store(folder: Path, keys: Path, strict: bool) -> Store:
    named = keys != KEYS or keys.is_dir()  # the default folder need not be there
    trusted = read_trusted(keys) if named else ()
    return Store(user=folder, require_signature=strict, trusted_keys=trusted)


def _signed(bundle: Bundle) -> str:
    if bundle.signer is not None:
        return f"signed by {bundle.signer.owner or bundle.signer.id}"
    key = bundle.manifest.key_id
    return f"signed by {key}, which is not trusted" if key else "not signed"


def _port(port: Port) -> str:
    sizes = " x ".join(str(side) for side in port.shape)
    return f"{port.name}: {port.layout} = {sizes}, {port.dtype} {port.range[0]:g}-{port.range[1]:g}"


def _facts(bundle: Bundle) -> dict[str, Any]:
    return {
        **asdict(bundle.manifest),
        "sha256": bundle.sha256,
        "signer": bundle.signer.id if bundle.signer else None,
        "folder": str(bundle.folder),
    }


@app.command("list")
def list_(
    folder: Folder = USER_FOLDER, keys: Keys = KEYS, strict: Strict = False, as_json: Json = False
) -> None:
    """Every bundle there is; those that are refused with the reason."""
    found = _store(folder, keys, strict).all()
    if as_json:
        rows = [
            _facts(f.bundle) if f.bundle else {"folder": str(f.folder), "refused": str(f.refusal)}
            for f in found
        ]
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table("name", "version", "repairs", "network", "precision", "signature", "from")
    for f in found:
        where = "yours" if f.folder.parent == folder else "package"
        if f.bundle is None:
            table.add_row(f.folder.name, "refused", "", "", "", str(f.refusal), where)
            continue
        m = f.bundle.manifest
        kinds = ", ".join(m.kinds)
        row = m.name, m.version, kinds, m.architecture, m.precision, _signed(f.bundle)
        table.add_row(*row, where)
    Console().print(table if found else "There are no engine bundles.")


@app.command()
def show(
    name: Name, folder: Folder = USER_FOLDER, keys: Keys = KEYS, as_json: Json = False
) -> None:
    """What one bundle claims of itself, once its files have been verified."""
    bundle = _store(folder, keys, False).find(name)
    if as_json:
        typer.echo(json.dumps(_facts(bundle), indent=1))
        return
    m = bundle.manifest
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    rows: dict[str, str] = {
        "name": f"{m.name} {m.version}",
        "repairs": ", ".join(m.kinds),
        "network": f"{m.architecture}, {m.precision}, opset {m.opset}, {bundle.facts.nodes} nodes",
        "in": "\n".join(_port(p) for p in m.inputs),
        "out": "\n".join(_port(p) for p in m.outputs),
        "remembers": m.temporal_state or "nothing between frames",
        "parameters": ", ".join(f"{k} = {v}" for k, v in m.parameters.items()) or "none",
        "gates": "\n".join(
            f"{g.name} {g.figure:g} {g.unit} (at {g.sense} {g.bound:g}) {g.data}" for g in m.gates
        )
        or "none",
        "trained on": m.training_data or "not said",
        "licence": m.licence,
        "made": f"{m.created} by: {m.command}",
        "signature": _signed(bundle),
        "files": "\n".join(f"{e.name} {e.size} bytes {e.sha256[:16]}" for e in m.files),
        "sha256": bundle.sha256,
        "folder": str(bundle.folder),
    }
    for label, text in rows.items():
        table.add_row(label, text)
    Console().print(table)


@app.command()
def verify(
    name: Name,
    folder: Folder = USER_FOLDER,
    keys: Keys = KEYS,
    strict: Strict = False,
    provider: Annotated[str, typer.Option(help="cpu, cuda or tensorrt.")] = "cpu",
) -> None:
    """Checks every byte, the signature and the self-test. Exit 0 only if all hold."""
    from engines.onnxrt import PROVIDERS, OnnxRuntime, Options
    from engines.verify import selftest

    chosen = next((p for p in PROVIDERS if p == provider), None)
    if chosen is None:
        raise typer.BadParameter(f"{provider!r} is none of {', '.join(PROVIDERS)}")
    bundle = _store(folder, keys, strict).find(name)
    m = bundle.manifest
    typer.echo(f"{m.name} {m.version}: {len(m.files)} files as listed, {_signed(bundle)}")
    engine = OnnxRuntime(bundle, Options(provider=chosen))
    try:
        for difference in selftest(engine, bundle.vector):
            typer.echo(
                f"self-test on {engine.info.provider}: {difference.output} off by at most"
                f" {difference.largest:.3g}, allowed {bundle.vector.tolerance:.3g}"
            )
    finally:
        engine.close()


@app.command()
def keygen(
    out: Annotated[Path, typer.Option(help="Folder for the two files.")] = Path(),
    name: Annotated[str, typer.Option(help="NAME.key and NAME.pub are made.")] = "surgiclear",
    owner: Annotated[str, typer.Option(help="Who signs with it; kept in the .pub.")] = "",
    not_after: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The key's last day.")
    ] = None,
) -> None:
    """Makes a key that signs (keep it) and one that checks (give it away)."""
    public = make_keys(out, name, owner=owner, not_after=not_after.date() if not_after else None)
    typer.echo(f"{out / name}.key signs: keep it secret. {out / name}.pub checks: give it away.")
    typer.echo(f"key id {public.id}")


@app.command()
def sign(
    name: Name,
    key: Annotated[Path, typer.Option("--key", help="Private key file.")],
    folder: Folder = USER_FOLDER,
    keys: Keys = KEYS,
) -> None:
    """Signs a bundle in its place, once it has been verified."""
    bundle = sign_bundle(_store(folder, keys, False).find(name), read_private(key))
    typer.echo(f"{bundle.manifest.name} {bundle.manifest.version} {_signed(bundle)}")


@app.command()
def activate(
    name: Name,
    folder: Folder = USER_FOLDER,
    keys: Keys = KEYS,
    strict: Strict = False,
    gates: Annotated[
        Path | None, typer.Option(help="TOML file of the figures that are asked for.")
    ] = None,
) -> None:
    """Puts a version in use, if it passes: from then on, older ones of its name are refused."""
    from engines.gates import check, read_gates
    from engines.onnxrt import load

    store = _store(folder, keys, strict)
    bundle = store.find(name)
    if gates is not None:
        check(bundle.manifest, read_gates(gates))
    load(bundle).close()  # the self-test
    store.activate(bundle)
    typer.echo(f"{bundle.manifest.name} {bundle.manifest.version} is in use; older are refused")


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Tells what is going on: one changing line on a terminal, plain lines with times in a log."""
    console = Console(stderr=True)
    started = time.monotonic()

    def stamped(text: str) -> str:
        return f"{time.monotonic() - started:6.1f} s  {text}"

    if console.is_terminal:
        with console.status("starting") as status:
            yield lambda text: status.update(stamped(text))
        return
    last = [""]

    def tell(text: str) -> None:
        if text != last[0]:
            typer.echo(stamped(text), err=True)
        last[0] = text

    yield tell


def sides(text: str) -> tuple[int, int]:
    """ "1280x720" as h w."""
    w, _, h = text.lower().partition("x")
    if not (w.isdigit() and h.isdigit() and 16 <= int(w) <= 8192 and 16 <= int(h) <= 8192):
        raise typer.BadParameter(f"{text!r} is no size: say 1280x720, 16 to 8192 a side")
    return int(h), int(w)


def _pictures(folder: Path | None) -> list[Any]:
    """Up to eight pictures of a folder, h w 3."""
    if folder is None:
        return []
    import numpy as np
    from PIL import Image

    suffixes = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in suffixes)
    if not paths:
        raise typer.BadParameter(f"no pictures in {folder}")
    chosen = paths[:: max(1, len(paths) // 8)][:8]
    return [np.asarray(Image.open(path).convert("RGB")) for path in chosen]


@app.command("export")
def export_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A network; see surgiclear models.")],
    size: Annotated[str, typer.Option(help="The video's size, as 1280x720.")],
    out: Annotated[Path, typer.Option(help="Folder that gets the bundle.")] = USER_FOLDER,
    precision: Annotated[Literal["fp32", "fp16", "bf16"], typer.Option()] = "fp32",
    weights: Annotated[
        Path | None,
        typer.Option(help="Checkpoint, or `trained`: what ships. Random without."),
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Of the network.")] = None,
    frames: Annotated[
        Path | None, typer.Option(help="Folder of real pictures for ranges and the FP16 gate.")
    ] = None,
    kinds: Annotated[str, typer.Option(help="What it restores.")] = "smoke",
    version: Annotated[str, typer.Option(help="Of the bundle, MAJOR.MINOR.PATCH.")] = "0.1.0",
    trained_on: Annotated[str, typer.Option(help="Of the weights, for the card.")] = "",
    key: Annotated[
        Path | None, typer.Option("--key", help="Private key file to sign with.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
    contract: Annotated[
        Literal["rgb", "nv12", "float", "referred"],
        typer.Option(
            help="In and out: 8-bit RGB, decoder planes (stays on a GPU), float RGB, 8-bit RGB "
            "beside a clear reference."
        ),
    ] = "rgb",
) -> None:
    """Makes a bundle of a network for one size, proven against torch."""
    try:
        from engines.zoo import Order, make
    except ImportError as error:
        raise ExportRefused(
            f"export needs torch and onnx ({error})", "install the extra `train`"
        ) from error
    if weights == Path("trained"):
        try:
            weights = trained(name)
        except FileNotFoundError as error:
            raise ExportRefused(str(error), "name a checkpoint with --weights") from error
        trained_on = trained_on or f"see models/trained/{name}.md"
    order = Order(
        name=name,
        size=sides(size),
        precision=precision,
        variant=variant,
        weights=weights,
        training_data=trained_on,
        kinds=tuple(kinds.split(",")),
        version=version,
        frames=_pictures(frames),
        contract=contract,
    )
    signer = read_private(key) if key else None
    command = " ".join(["surgiclear", *sys.argv[1:]])
    with _progress() as progress:
        made = make(order, out, key=signer, overwrite=overwrite, progress=progress, command=command)
    for gate in made.bundle.manifest.gates:
        typer.echo(f"{gate.name}: {gate.figure:.4g} {gate.unit} (at {gate.sense} {gate.bound:g})")
    typer.echo(f"{made.bundle.manifest.name} in {made.bundle.folder}, {_signed(made.bundle)}")


@app.command()
def build(
    name: Name,
    target: Annotated[str, typer.Option("--for", help="sm89 (RTX 4090), smNN, native or cpu.")],
    folder: Folder = USER_FOLDER,
    keys: Keys = KEYS,
    strict: Strict = False,
    again: Annotated[bool, typer.Option("--again", help="Even if the cache has it.")] = False,
) -> None:
    """Builds a bundle's TensorRT plan into the cache, so that nothing is built during a case."""
    from engines.build import build as build_it

    bundle = _store(folder, keys, strict).find(name)
    if target == "cpu":
        from engines.onnxrt import load

        load(bundle).close()
        typer.echo(f"{bundle.manifest.name}: nothing to build for the CPU; the self-test passes")
        return
    with _progress() as progress:
        result = build_it(bundle, target, progress=progress, again=again)
    for warning in result.warnings[:5]:
        typer.echo(f"surgiclear: note: {warning[:200]}", err=True)
    how = "in the cache already" if result.cached else f"built in {result.seconds:.1f} s"
    typer.echo(
        f"{bundle.manifest.name} for {result.key.capability}: {result.size / 1e6:.1f} MB, {how},"
        f" {result.key.runtime}, {result.path}"
    )


@app.command()
def int8(
    pictures: Annotated[Path, typer.Argument(help="Folder of real pictures, searched whole.")],
    name: Annotated[str, typer.Option(help="Of veil's kind: maps, not frames.")] = "veil",
    count: Annotated[int, typer.Option(min=4, help="Pictures; half of them calibrate.")] = 96,
    folder: Folder = USER_FOLDER,
    keys: Keys = KEYS,
) -> None:
    """What eight bits would give the embedded default on this CPU; nothing is written."""
    import numpy as np
    from PIL import Image

    from engines.int8 import compare
    from engines.picture import Rgb
    from engines.veil import small_rgb

    bundle = _store(folder, keys, False).find(name)
    suffixes = {".png", ".jpg", ".jpeg"}
    paths = sorted(p for p in pictures.rglob("*") if p.suffix.lower() in suffixes)
    if len(paths) < 4:
        raise typer.BadParameter(f"fewer than 4 pictures in {pictures}")
    chosen = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[:count]]
    feeds = []
    for path in chosen:
        image = small_rgb(Rgb(np.asarray(Image.open(path).convert("RGB"))))[None]
        known = np.zeros((1, 1, *image.shape[2:]), np.float32)
        feeds.append({"image": image, "reference": np.zeros_like(image), "known": known})
    half = len(feeds) // 2
    outcome = compare(bundle.model, feeds[:half], feeds[half:], bundle.vector.tolerance)
    typer.echo(f"{bundle.manifest.name} {bundle.manifest.version}: {outcome.line()}")


@app.command()
def survey(
    sizes: Annotated[str, typer.Option("--size", help="One or more, as 93x67,1280x720.")],
    out: Annotated[Path, typer.Option(help="JSON file of rows; a survey is taken up again.")],
    nets: Annotated[str, typer.Option(help="Networks, by comma; all without.")] = "",
    target: Annotated[str, typer.Option("--for", help="Compute capability of the plans.")] = "sm89",
    limit_s: Annotated[float, typer.Option("--limit", help="Seconds for each network.")] = 1800,
    trace_only: Annotated[
        bool, typer.Option("--trace-only", help="Export and build, but compare nothing (720p).")
    ] = False,
) -> None:
    """How far every network gets: export, difference to torch, FP16, plans. Hours for all."""
    from engines.survey import Task, markdown
    from engines.survey import survey as run
    from models import RESTORERS

    names = nets.split(",") if nets else list(RESTORERS)
    unknown = sorted(set(names) - set(RESTORERS))
    if unknown:
        raise typer.BadParameter(f"no network is named {unknown[0]!r}: {', '.join(RESTORERS)}")
    tasks = [
        Task(name, sides(size), target, not trace_only)
        for size in sizes.split(",")
        for name in names
    ]
    with _progress() as progress:
        rows = run(tasks, out, limit_s, progress)
    typer.echo(markdown(rows))
