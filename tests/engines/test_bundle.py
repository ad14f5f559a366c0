"""A bundle is written whole or not at all, read once, and used only as it was verified."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import make_key, tiny_bundle, tiny_fields, tiny_files, tiny_vector

from engines.bundle import Vector, read, sign, write
from engines.errors import (
    BundleMissing,
    ContentWrong,
    ListingWrong,
    ManifestInvalid,
    ModelInvalid,
    SignatureWrong,
)
from engines.onnxrt import load


def test_what_is_written_is_read(tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys", "lab")
    made = tiny_bundle(tmp_path / "tiny", key, parameters={"t_min": 0.05, "offset": [1.0, 2.0]})
    bundle = read(tmp_path / "tiny", require_signature=True, trusted_keys=(key.public,))
    assert bundle.manifest == made.manifest
    assert bundle.signer == key.public
    assert bundle.model == tiny_files()["model.onnx"]
    assert bundle.manifest.numbers("offset") == (1.0, 2.0)
    assert bundle.manifest.numbers("t_min") == (0.05,)
    assert bundle.manifest.numbers("absent") == ()
    np.testing.assert_array_equal(
        bundle.vector.outputs["restored"], tiny_vector().outputs["restored"]
    )
    assert sorted(p.name for p in (tmp_path / "tiny").iterdir()) == [
        "CARD.md", "manifest.json", "manifest.sig", "model.onnx", "selftest.npz",
    ]  # fmt: skip


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = tiny_bundle(tmp_path / "one"), tiny_bundle(tmp_path / "two")
    assert one.sha256 == two.sha256


def test_the_opset_is_the_models_where_none_is_given(tmp_path: Path) -> None:
    fields = tiny_fields()
    del fields["opset"]
    assert write(tmp_path / "t", fields, tiny_files(), tiny_vector()).manifest.opset == 20


def test_a_refused_bundle_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid):
        tiny_bundle(tmp_path / "tiny", opset=19)
    frame = tiny_vector().inputs["frame"]
    with pytest.raises(ManifestInvalid):
        write(tmp_path / "tiny", tiny_fields(), tiny_files(), Vector({"frame": frame}, {}, 0))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "tiny")
    with pytest.raises(ListingWrong, match="exists"):
        tiny_bundle(tmp_path / "tiny", version="2.0.0")
    assert read(tmp_path / "tiny").manifest.version == "1.0.0"
    fields = tiny_fields(version="2.0.0")
    write(tmp_path / "tiny", fields, tiny_files(), tiny_vector(), overwrite=True)
    assert read(tmp_path / "tiny").manifest.version == "2.0.0"
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_the_old_bundle_is_put_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle(tmp_path / "tiny")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.startswith(".tiny-") and Path(target).name == "tiny":
            raise OSError("no space")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path / "tiny", tiny_fields(version="2.0.0"), tiny_files(), tiny_vector(),
              overwrite=True)  # fmt: skip
    assert read(tmp_path / "tiny").manifest.version == "1.0.0"
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_every_file_is_opened_once_and_under_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle(tmp_path / "tiny")
    opened: list[tuple[str, bool]] = []
    real = os.open

    def recording(path: Any, flags: int, *rest: Any, dir_fd: int | None = None) -> int:
        opened.append((str(path), dir_fd is not None))
        return real(path, flags, *rest, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", recording)
    read(tmp_path / "tiny")
    assert opened[0] == (str(tmp_path / "tiny"), False)
    assert sorted(opened[1:]) == [
        ("CARD.md", True), ("manifest.json", True), ("model.onnx", True), ("selftest.npz", True),
    ]  # fmt: skip


def test_a_swap_after_the_check_changes_nothing(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny")
    (tmp_path / "tiny" / "model.onnx").write_bytes(b"swapped")
    engine = load(read_again := bundle)
    frame = tiny_vector().inputs["frame"]
    np.testing.assert_array_equal(
        engine.run({"frame": frame})["restored"], read_again.vector.outputs["restored"]
    )
    with pytest.raises(ContentWrong):
        read(tmp_path / "tiny")


def test_a_file_that_grows_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle(tmp_path / "tiny")
    real = os.fstat

    def growing(handle: int) -> os.stat_result:
        status = real(handle)
        with (tmp_path / "tiny" / "CARD.md").open("ab") as file:
            file.write(b"more")
        return status

    monkeypatch.setattr(os, "fstat", growing)
    with pytest.raises(ContentWrong):
        read(tmp_path / "tiny")


def test_hard_links_are_for_package_installers_only(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "tiny")
    os.link(tmp_path / "tiny" / "model.onnx", tmp_path / "second-name")
    with pytest.raises(ListingWrong, match="second name"):
        read(tmp_path / "tiny")
    assert read(tmp_path / "tiny", allow_hard_links=True).manifest.name == "tiny"
    (tmp_path / "second-name").write_bytes(b"through the other name")
    with pytest.raises(ContentWrong):
        read(tmp_path / "tiny", allow_hard_links=True)


def test_signatures_count_where_they_are_asked_for(tmp_path: Path) -> None:
    lab, other = make_key(tmp_path / "keys", "lab"), make_key(tmp_path / "keys", "other")
    bundle = tiny_bundle(tmp_path / "tiny")
    assert bundle.signer is None
    with pytest.raises(SignatureWrong):
        read(tmp_path / "tiny", require_signature=True, trusted_keys=(lab.public,))
    signed = sign(bundle, lab)
    assert signed.signer == lab.public
    assert signed.manifest.files == bundle.manifest.files
    # a stranger's signature is no signature, but no reason to refuse where none is asked for
    assert read(tmp_path / "tiny", trusted_keys=(other.public,)).signer is None
    with pytest.raises(SignatureWrong):
        read(tmp_path / "tiny", require_signature=True, trusted_keys=(other.public,))
    # a trusted key's broken signature always is
    (tmp_path / "tiny" / "manifest.sig").write_bytes(bytes(64))
    with pytest.raises(SignatureWrong):
        read(tmp_path / "tiny", trusted_keys=(lab.public,))
    again = sign(signed, other)
    assert again.signer == other.public


def test_no_bundle_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing) as caught:
        read(tmp_path / "nothing")
    assert caught.value.exit_code == 2
    shutil.copyfile(__file__, tmp_path / "file")
    with pytest.raises(ListingWrong):
        read(tmp_path / "file")
