"""The tour's pictures: all of them shown, and drawn by their command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tour

from recae.models.textbook import TEXTBOOK

DOCS = Path(__file__).parents[1] / "docs"


def test_pictures_are_those_that_are_shown() -> None:
    page = (DOCS / "autoencoders.md").read_text("utf-8")
    shown = re.findall(r"!\[[^]]+\]\(tour/(\w+)\.png\)", page)
    assert sorted(shown) == sorted(tour.PICTURES)
    assert {path.stem for path in (DOCS / "tour").iterdir()} == set(shown)


def test_every_model_has_its_place_in_the_tour() -> None:
    page = (DOCS / "autoencoders.md").read_text("utf-8")
    sections = page.partition("## 1. ")[2]
    others = {"rbm", "pca", "ease", "denoising-ease", "mult-dae", "mult-vae", "recvae"}
    for name in set(TEXTBOOK) | others:
        assert f"`{name}`" in sections, name


def test_a_picture_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tour.main(["pca", "--out", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "pca.png").read_bytes().startswith(b"\x89PNG")
    assert tour.main(["pka"]) == 2
    assert "no picture is called 'pka'" in capsys.readouterr().err
