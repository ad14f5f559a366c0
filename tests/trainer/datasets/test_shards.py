"""Shards give back what went in, each example once, divided among workers."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import trees

from trainer import dataset
from trainer.datasets.cache import decode
from trainer.datasets.reader import Shape
from trainer.datasets.shards import Shards, write


def test_every_example_comes_back_once_whoever_reads(tmp_path: Path) -> None:
    found = dataset.recognise(trees.surgclean(tmp_path / "data"))
    paths = write(found, found.items, tmp_path / "shards", per_shard=5)
    assert [p.name for p in paths] == [f"{n:06d}.tar" for n in range(4)]
    shards = Shards(tuple(paths))
    by_name = {item.name: item for item in found.items}
    for parts in (1, 3):
        names = []
        for part in range(parts):
            for example, facts in shards.examples(part=part, parts=parts, mixed=2):
                item = by_name[str(facts["name"])]
                assert item.degraded is not None
                want = decode(item.degraded).transpose(2, 0, 1)
                assert np.array_equal(example["input"], want)
                assert (facts["level"], facts["kind"]) == (item.level, item.kind)
                names.append(item.name)
        assert sorted(names) == sorted(by_name)


def test_order_is_by_seed_and_epoch(tmp_path: Path) -> None:
    found = dataset.recognise(trees.surgclean(tmp_path / "data"))
    paths = tuple(write(found, found.items, tmp_path / "shards"))

    def names(seed: int, epoch: int) -> list[str]:
        shards = Shards(paths, Shape(crop=(8, 8)), seed)
        return [str(facts["name"]) for _, facts in shards.examples(epoch, mixed=4)]

    assert names(0, 0) == names(0, 0) != names(0, 1) != names(1, 0)


def test_members_are_named_as_webdataset_expects(tmp_path: Path) -> None:
    found = dataset.recognise(trees.lsvd(tmp_path / "data"))
    (path,) = write(found, found.items[:1], tmp_path / "shards")
    with tarfile.open(path) as tar:
        assert tar.getnames() == [f"00000000.{end}" for end in
                                  ("input.png", "gt.png", "mask.png", "json")]  # fmt: skip


def test_shards_are_not_mixed_with_others(tmp_path: Path) -> None:
    found = dataset.recognise(trees.pair_folders(tmp_path / "data"))
    write(found, found.items, tmp_path / "shards")
    with pytest.raises(FileExistsError):
        write(found, found.items, tmp_path / "shards")
    with pytest.raises(ValueError, match="no picture"):
        write(found, [], tmp_path / "empty")
    with pytest.raises(ValueError, match="packed already"):
        write(dataset.recognise(tmp_path / "shards"), found.items, tmp_path / "again")


def test_only_pairs_are_read_in_a_row(tmp_path: Path) -> None:
    found = dataset.recognise(trees.scenes(tmp_path / "data"))
    paths = write(found, found.items, tmp_path / "shards", per_shard=4)
    names = {str(facts["name"]) for _, facts in Shards(tuple(paths)).examples()}
    assert (
        names
        == {item.name for item in found.items if item.paired}
        < {item.name for item in found.items}
    )
