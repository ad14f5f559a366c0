"""Packed data sets: the items, pictures and samples of the folder; what is wrong is named."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path

import pytest
import torch
import trees
from rich.console import Console
from safetensors.torch import load_file
from torch import nn
from training import FAST, Noisy

import models
from trainer import dataset
from trainer.datasets.cache import Cache, PictureDamaged, decode
from trainer.datasets.item import Item
from trainer.datasets.members import INDEX, ShardDamaged, content, opened, place_of
from trainer.datasets.shards import write
from trainer.feed.clips import Clips, clips
from trainer.feed.crops import Crops
from trainer.feed.data import Data, read
from trainer.feed.mixed import Mixed, truthful
from trainer.feed.pairs import Kept, shots
from trainer.feed.pools import Pools, pools
from trainer.fit.checkpoint import LAST
from trainer.fit.stream import Source, Stream
from trainer.tasks.recipes import RECIPES, surgclean
from trainer.tasks.restore import Restore
from trainer.tasks.run import run

Make = Callable[[Path], Path]
LAYOUTS: tuple[Make, ...] = (
    trees.surgclean, trees.desmokedata, trees.lsvd, trees.desmoke_lap, trees.see_through_smoke,
    trees.scenes, trees.pair_halves, trees.clip_folders, trees.pair_folders,
)  # fmt: skip


def pack(root: Path, out: Path, per_shard: int = 5) -> Path:
    found = dataset.recognise(root)
    write(found, found.items, out, per_shard=per_shard)
    return out


def moved(item: Item, before: Path, now: Path) -> Item:
    """The item as it would be in another folder."""

    def at(path: Path | None) -> Path | None:
        return None if path is None else now / path.relative_to(before)

    return replace(item, degraded=at(item.degraded), clear=at(item.clear), mask=at(item.mask))


@pytest.mark.parametrize("make", LAYOUTS)
def test_a_packed_data_set_has_the_items_and_bytes_of_its_folder(
    make: Make, tmp_path: Path
) -> None:
    found = dataset.recognise(make(tmp_path / "with spaces"))
    shards = pack(found.root, tmp_path / "shards")
    again = dataset.recognise(shards)
    assert again.items == [moved(i, found.root, shards) for i in found.items]
    assert (again.dataset, again.assumed) == (found.dataset, found.assumed) and again.packed
    assert read(shards).offers == tuple(n for n in read(found.root).offers if n != "scenes")
    for item, other in zip(found.items, again.items, strict=True):
        for path, inside in zip(item.files, other.files, strict=True):
            assert content(inside) == path.read_bytes()
            assert (decode(inside) == decode(path)).all()
    report = dataset.check(shards)
    before = dataset.check(found.root)
    assert report.counts == before.counts and report.sizes == before.sizes
    problems = {p.what for p in before.problems if p.path.is_file()}
    assert {p.what.partition(":")[0] for p in report.problems} <= {
        what.partition(":")[0] for what in problems
    }
    assert any("packed in" in line for line in report.lines())


def crops(data: Data) -> Source:
    return Crops(Kept(shots(data)[0]), (16, 16), whole=0.3)


def mixed(data: Data) -> Source:
    clear = truthful(data.root)
    assert clear
    return Mixed(Crops(Kept(shots(data)[0]), (16, 16)), clear, 0.5)


def whole_clips(data: Data) -> Source:
    return Clips(clips(data, 3)[0], 48, 3)


def unpaired(data: Data) -> Source:
    return Pools(*pools(data), 16)


@pytest.mark.parametrize(
    ("make", "source"),
    [
        (trees.surgclean, crops),
        (trees.see_through_smoke, crops),
        (trees.scenes, mixed),
        (trees.lsvd, whole_clips),
        (trees.scenes, whole_clips),
        (trees.clip_folders, whole_clips),
        (trees.desmoke_lap, unpaired),
        (trees.surgclean, unpaired),
    ],
)
def test_sample_n_is_that_of_the_folder(
    make: Make, source: Callable[[Data], Source], tmp_path: Path
) -> None:
    root = make(tmp_path / "data")
    shards = pack(root, tmp_path / "shards", 4)
    here, there = Stream(source(read(root)), 3), Stream(source(read(shards)), 3)
    for number in range(24):
        want, got = here[number], there[number]
        assert want.keys() == got.keys()
        assert all(torch.equal(want[key], got[key]) for key in want), number


def test_a_run_on_shards_is_the_run_on_the_folder_resumed_and_with_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh(_: object) -> nn.Module:
        return Noisy(0.0)

    monkeypatch.setattr(models, "load", fresh)
    root = trees.surgclean(tmp_path / "data")
    shards = pack(root, tmp_path / "shards")
    base = surgclean("focalnet")
    job = Restore(net="focalnet", size=16, optimiser=FAST)

    def train(data: Path, out: str, steps: int, workers: int, resume: bool = False) -> Path:
        plan = replace(base.plan, steps=steps, batch=2, workers=workers, threads=1)
        run(
            replace(base, job=job, plan=plan), read(data), tmp_path / out, resume=resume,
            dry=False, console=Console(file=StringIO()),
        )  # fmt: skip
        return tmp_path / out / base.name / LAST

    want = load_file(train(root, "folder", 4, 0))
    train(shards, "shards", 2, 1)
    shutil.rmtree(root)  # nothing of it is needed any more
    got = load_file(train(shards, "shards", 4, 1, resume=True))
    assert all(torch.equal(want[key], got[key]) for key in want)


def test_veil_is_not_trained_from_shards(tmp_path: Path) -> None:
    shards = pack(trees.scenes(tmp_path / "data"), tmp_path / "shards")
    with pytest.raises(ValueError, match=r"is scenes in shards, which holds no clean/.* for veil"):
        run(RECIPES["veil"](), read(shards), tmp_path, resume=False, dry=False,
            console=Console(file=StringIO()))  # fmt: skip


@pytest.mark.parametrize("leads", ["/etc/outside.png", "a/../../outside.png"])
def test_no_shard_names_a_picture_outside_of_its_folder(tmp_path: Path, leads: str) -> None:
    shards = pack(trees.lsvd(tmp_path / "data"), tmp_path / "shards")
    told = json.loads((shards / INDEX).read_text())
    told["samples"][0]["files"]["input"][0] = leads
    (shards / INDEX).write_text(json.dumps(told))
    with pytest.raises(ShardDamaged, match=r"outside\.png, which lies outside of it"):
        dataset.recognise(shards)


def test_the_index_is_made_anew_where_it_is_missing(tmp_path: Path) -> None:
    shards = pack(trees.lsvd(tmp_path / "data"), tmp_path / "shards")
    items = dataset.recognise(shards).items
    text = (shards / INDEX).read_text()
    (shards / INDEX).unlink()
    assert dataset.recognise(shards).items == items
    assert (shards / INDEX).read_text() == text
    (shards / INDEX).write_text("{}")
    with pytest.raises(ValueError, match=r"shards\.json is no index of shards: delete it"):
        dataset.recognise(shards)


def test_an_index_that_cannot_be_kept_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = pack(trees.lsvd(tmp_path / "data"), tmp_path / "shards")
    (shards / INDEX).unlink()

    def refused(self: Path, text: str) -> int:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "write_text", refused)
    with pytest.raises(ValueError, match="cannot be written"):
        opened(shards)


def cut(tar: Path, share: float) -> None:
    data = tar.read_bytes()
    tar.write_bytes(data[: int(share * len(data))])


def test_a_truncated_shard_is_named_with_the_member_that_is_lost(tmp_path: Path) -> None:
    root = trees.surgclean(tmp_path / "data")
    shards = pack(root, tmp_path / "shards", 9)
    cut(shards / "000001.tar", 0.3)
    found = dataset.recognise(shards)
    assert [str(p) for p in found.problems if "000001.tar" in str(p.path)]
    lost = next(p for p in shots(read(shards))[0] if _lost(p.degraded)).degraded
    place = place_of(lost)
    assert place is not None
    with pytest.raises(PictureDamaged, match=rf"000001\.tar is truncated.*{place.member}"):
        decode(lost)
    with pytest.raises(PictureDamaged, match=r"000001\.tar"):
        dataset.load(lost)
    report = dataset.check(shards)
    wrong = {p.path for p in report.problems}
    assert lost in wrong and shards / "000001.tar" in wrong and not report.sound
    (tmp_path / "check.json").write_text(report.as_json())
    left = read(shards, without=tmp_path / "check.json")
    assert 9 <= len(left.items) < 18 and not any(_lost(f) for i in left.items for f in i.files)
    (shards / INDEX).unlink()
    with pytest.raises(ShardDamaged, match=r"000001\.tar is (damaged at|truncated)"):
        dataset.recognise(shards)


def _lost(path: Path) -> bool:
    place = place_of(path)
    assert place is not None
    return place.tar.stat().st_size < place.offset + place.size


def test_an_altered_member_is_named(tmp_path: Path) -> None:
    root = trees.surgclean(tmp_path / "data")
    shards = pack(root, tmp_path / "shards")
    victim = shots(read(shards))[0][0].clear
    place = place_of(victim)
    assert place is not None
    data = bytearray(place.tar.read_bytes())
    data[place.offset + place.size - 20] ^= 1
    place.tar.write_bytes(bytes(data))
    with pytest.raises(PictureDamaged, match=rf"{place.tar.name} was altered: {place.member}"):
        decode(victim)
    problems = {p.path: p.what for p in dataset.check(shards).problems}
    assert list(problems) == [victim] and place.member in problems[victim]
    with pytest.raises(PictureDamaged) as caught:
        run(surgclean("fourmer"), read(shards), tmp_path / "runs", resume=False, dry=False,
            console=Console(file=StringIO()))  # fmt: skip
    assert place.member in str(caught.value) and "--without check.json" in str(caught.value)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shards = pack(trees.surgclean(tmp_path / "data"), tmp_path / "shards")
    (shards / "000002.tar").unlink()
    assert "000002.tar: is missing" in str(dataset.recognise(shards).problems[0])
    gone = next(i for i in opened(shards).samples if i["shard"] == "000002.tar")
    with pytest.raises(PictureDamaged, match=r"000002\.tar cannot be read .*\.input\.png"):
        decode(shards / gone["files"]["input"][0])
    (shards / INDEX).unlink()
    with pytest.raises(ShardDamaged, match=r"000002\.tar is truncated or missing: 0 of 5"):
        dataset.recognise(shards)


def test_shards_of_another_make_are_said(tmp_path: Path) -> None:
    def tar(name: str, facts: bytes) -> None:
        (tmp_path / "shards").mkdir(exist_ok=True)
        with tarfile.open(tmp_path / "shards" / "000000.tar", "w") as file:
            for member, data in ((name, b"x"), ("00000000.json", facts)):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                file.addfile(info, BytesIO(data))

    tar("00000000.input.png", json.dumps({"name": "a"}).encode())
    with pytest.raises(ValueError, match=r"00000000\.json does not say where .* pack"):
        dataset.recognise(tmp_path / "shards")
    tar("photo.png", b"{}")
    with pytest.raises(ValueError, match="is no data set"):
        dataset.recognise(tmp_path / "shards")
    (tmp_path / "shards" / "000000.tar").write_bytes(b"no tar")
    with pytest.raises(ValueError, match="is no data set"):
        dataset.recognise(tmp_path / "shards")


def test_the_cache_of_decoded_pictures_takes_members(tmp_path: Path) -> None:
    root = trees.lsvd(tmp_path / "data")
    shards = pack(root, tmp_path / "shards")
    paths = [i.degraded for i in dataset.recognise(shards).items if i.degraded is not None]
    cache = Cache(tmp_path / "cache", paths, (24, 32))
    assert (cache.get(paths[3]) == decode(root / paths[3].relative_to(shards))).all()
    assert Cache(tmp_path / "cache", paths, (24, 32)).get(paths[3]).shape == (24, 32, 3)
    assert len(list((tmp_path / "cache").glob("*.rgb"))) == 1


def test_what_is_nowhere_is_still_not_there(tmp_path: Path) -> None:
    shards = pack(trees.pair_folders(tmp_path / "data"), tmp_path / "shards")
    for path in (shards / "input" / "z.png", tmp_path / "z.png"):
        assert place_of(path) is None
        with pytest.raises(FileNotFoundError):
            content(path)
