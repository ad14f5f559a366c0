"""The reader: both sides alike, the same whatever the workers, and nothing decoded twice."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import trees

from trainer import dataset
from trainer.datasets.cache import Cache, PictureDamaged, decode
from trainer.datasets.item import Item
from trainer.datasets.reader import Reader, Shape

SHAPE = Shape(size=(24, 32), crop=(16, 16), flip=True)


def same_pairs(root: Path, count: int = 6) -> list[Item]:
    """Pairs whose two sides are the same picture: any difference is the reader's."""
    for n in range(count):
        for side in ("input", "gt"):
            trees.picture(root / side / f"{n}.png", n)
    return dataset.recognise(root).items


def test_both_sides_are_cut_and_turned_alike(tmp_path: Path) -> None:
    reader = Reader(same_pairs(tmp_path), SHAPE)
    seen = set()
    for epoch in range(8):
        reader.epoch = epoch
        for n in range(len(reader)):
            example = reader[n]
            assert example["input"].shape == (3, 16, 16)
            assert np.array_equal(example["input"], example["gt"])
            seen.add(example["gt"].tobytes())
    assert len(seen) > 40  # other cuts and turns each time
    again = Reader(same_pairs(tmp_path), SHAPE)
    assert np.array_equal(again[3]["gt"], Reader(same_pairs(tmp_path), SHAPE)[3]["gt"])


def test_the_cache_gives_what_decoding_gives_and_decodes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = same_pairs(tmp_path / "data")
    plain = Reader(items, SHAPE)
    want = [plain[n] for n in range(len(plain))]
    for run in range(2):
        reader = Reader(items, SHAPE, cache=tmp_path / "cache")
        for _ in range(2):
            for n, example in enumerate(want):
                assert np.array_equal(reader[n]["input"], example["input"])
        assert reader._cache is not None
        assert reader._cache.decoded == (12 if run == 0 else 0)
    # a changed file is decoded anew
    trees.picture(tmp_path / "data" / "gt" / "0.png", 77)
    changed = Reader(items, Shape(size=(24, 32)), cache=tmp_path / "cache")[0]["gt"]
    assert np.array_equal(changed.transpose(1, 2, 0), decode(tmp_path / "data" / "gt" / "0.png"))


def test_a_damaged_cache_entry_is_decoded_again(tmp_path: Path) -> None:
    path = trees.picture(tmp_path / "a.png", 1)
    first = Cache(tmp_path / "cache", [path], (24, 32))
    good = first.get(path).copy()
    (file,) = (tmp_path / "cache").glob("*.rgb")
    data = bytearray(file.read_bytes())
    data[100] ^= 255
    file.write_bytes(bytes(data))
    again = Cache(tmp_path / "cache", [path], (24, 32))
    assert np.array_equal(again.get(path), good) and again.decoded == 1
    with pytest.raises(ValueError, match="read-only"):
        again.get(path)[0, 0, 0] = 1


def test_a_large_jpeg_is_decoded_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trees.picture(tmp_path / "large.jpg", 2, (720, 1280))
    flags: list[int] = []
    real = cv2.imread

    def watched(name: str, flag: int) -> object:
        flags.append(flag)
        return real(name, flag)

    monkeypatch.setattr("cv2.imread", watched)
    small = decode(path, (144, 256))
    whole = cv2.resize(decode(path), (256, 144), interpolation=cv2.INTER_AREA)
    assert flags == [cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_COLOR]
    assert np.abs(small.astype(int) - whole.astype(int)).mean() < 2


def test_masks_are_cut_with_the_pictures(tmp_path: Path) -> None:
    items = [i for i in dataset.recognise(trees.lsvd(tmp_path)).items if i.split == "train"]
    example = Reader(items, Shape(size=(24, 32), crop=(16, 16)))[0]
    assert example["mask"].shape == (1, 16, 16)
    unshaped = Reader(items)[0]  # the mask is a quarter of the size
    assert unshaped["mask"].shape == (1, 24, 32) and unshaped["gt"].shape == (3, 24, 32)


def test_workers_change_nothing(tmp_path: Path) -> None:
    reader = Reader(same_pairs(tmp_path / "data"), SHAPE, cache=tmp_path / "cache")
    batches = [[b["gt"] for b in reader.loader(batch=2, workers=workers)] for workers in (0, 2)]
    assert len(batches[0]) == 3
    for one, other in zip(*batches, strict=True):
        assert one.shape == (2, 3, 16, 16) and bool((one == other).all())


def test_errors_name_the_file(tmp_path: Path) -> None:
    items = same_pairs(tmp_path, 2)
    (tmp_path / "gt" / "1.png").write_bytes(b"nothing")
    with pytest.raises(PictureDamaged, match=r"gt/1\.png"):
        Reader(items)[1]
    with pytest.raises(ValueError, match="does not fit"):
        Reader(items, Shape(crop=(64, 64)))[0]
    with pytest.raises(ValueError, match="no pair"):
        Reader([])
    with pytest.raises(ValueError, match="one size"):
        Reader(items, cache=tmp_path / "cache")
