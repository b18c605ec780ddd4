"""Small real things that many tests share."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from support import CATEGORIES, ColourNet, CommandResult, colour_photographs

import cli
from physpatch.data.photographs import Photographs
from physpatch.records.patch_file import Patch
from physpatch.victims.protocol import Preprocessing, Victim, WeightsInfo, freeze


@pytest.fixture
def tiny_victim() -> Victim:
    """A classifier of four colours on 32 px squares."""
    network = freeze(ColourNet(), 32)
    preprocessing = Preprocessing(32, 36, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Victim(
        "tiny", "classify", CATEGORIES, preprocessing, network, network.norm, WeightsInfo("made here", "0" * 64)
    )


@pytest.fixture
def photographs() -> Photographs:
    """Sixteen squares large enough for random crops of the tiny victim's input."""
    return colour_photographs(16, 36)


@pytest.fixture
def held_out() -> Photographs:
    """Forty squares at the tiny victim's input size."""
    return colour_photographs(40, 32, seed=1)


@pytest.fixture
def patch() -> Patch:
    """A 10x10 patch of saturated random colours, aimed at class 2 of the tiny victim."""
    cells = np.random.default_rng(7).integers(0, 200, (10, 10, 3), dtype=np.uint8)
    return Patch(cells, {"index": 2, "name": CATEGORIES[2]}, {"made": "for a test"})


@pytest.fixture
def sheet_pdf(tmp_path: Path, patch: Patch) -> Path:
    """The patch on A4 at 10 cm with a grey and a random control."""
    from printouts import print_sheets

    out = tmp_path / "sheet.pdf"
    print_sheets(patch, 100, out, controls=("grey", "random"))
    return out


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Run the command line in this process."""

    def run(*arguments: object) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["physpatch", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        streams = capsys.readouterr()
        return CommandResult(int(exit_.value.code or 0), streams.out, streams.err)

    return run


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    """Torch's thread count is global; keep it the same for every test, whatever ran before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
