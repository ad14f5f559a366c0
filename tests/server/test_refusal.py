"""What network errors mean: words for each, and never libav's own, which hold the address."""

from __future__ import annotations

import errno

import av.error
import pytest

from server.refusal import WORDS, is_login, meaning

CANARY = "rtsp://u:canary@h/x"


@pytest.mark.parametrize(("kind", "words"), [(kind, words) for kind, words, _ in WORDS])
def test_each_kind_has_its_words(kind: type[Exception], words: str) -> None:
    code = {"ConnectionRefusedError": errno.ECONNREFUSED}.get(kind.__name__, 1)
    said = meaning(kind(code, "text", CANARY))
    assert said[0] == words
    assert "canary" not in "".join(said)


@pytest.mark.parametrize(
    "error",
    [
        OSError(5, "Input/output error", CANARY),
        ValueError(CANARY),
        av.error.BugError(1, "x", CANARY),
    ],
)
def test_others_have_some_and_no_address(error: Exception) -> None:
    said = meaning(error)
    assert said[0]
    assert said[1]
    assert "canary" not in "".join(said)


def test_a_wrong_password_is_known_as_one() -> None:
    assert is_login(av.error.HTTPUnauthorizedError(401, "x"))
    assert not is_login(av.error.HTTPForbiddenError(403, "x"))
