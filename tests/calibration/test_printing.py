"""Real printing conditions: their tables, ICC profiles, and what they do to colours."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageCms
from support import printer_profile

from calibration.colour.colour_map import ColourMap, print_from_dict
from calibration.colour.colour_space import srgb_to_linear
from calibration.colour.printing_condition import (
    ALIASES,
    HELD_BACK,
    PAPERS,
    PrintingCondition,
    condition_names,
    held_back_conditions,
    lattice,
    load_condition,
    nearest_condition,
    training_conditions,
)
from calibration.common.errors import InputError

COLOURS = np.random.default_rng(0).random((200, 3))


def test_shipped_conditions_are_plausible_prints() -> None:
    assert set(PAPERS) == set(condition_names()) and set(ALIASES.values()) <= set(condition_names())
    assert {one.name for one in held_back_conditions()} == set(HELD_BACK)
    assert not {one.name for one in training_conditions()} & set(HELD_BACK)
    for condition in (*training_conditions(), *held_back_conditions()):
        assert (condition.white > 0.55).all() and (condition.white < 1.0).all()
        assert (condition.black < 0.1).all() and condition.table.min() > -0.01
        assert condition.reflectance(np.ones(3)) == pytest.approx(condition.white)
        red = condition.table[-1, 0, 0]
        assert red[0] > 3 * red[1] and red[0] > 3 * red[2]  # red stays red


def test_paper_decides_how_far_colours_move() -> None:
    """Newsprint and uncoated paper cannot show what coated paper can."""
    median = {name: float(np.median(load_condition(name).shift(COLOURS))) for name in ALIASES}
    assert median["coated"] < median["uncoated"] - 2 < median["newspaper"]


def test_a_table_is_read_at_and_between_its_entries() -> None:
    condition = load_condition("coated")
    assert np.allclose(condition.reflectance(lattice()), condition.table.clip(0), atol=1e-6)
    between = condition.reflectance(np.array([[0.5 / 16, 0.0, 0.0]]))[0]
    assert between == pytest.approx((condition.table[0, 0, 0] + condition.table[1, 0, 0]).clip(0) / 2, abs=1e-6)
    identity = PrintingCondition.identity()
    assert identity.shift(COLOURS).max() < 0.5  # of interpolation alone
    half = identity.blended(condition, 0.5)
    assert half.white == pytest.approx((1 + condition.white) / 2)


def test_the_nearest_condition_is_named() -> None:
    truth = load_condition("iso-uncoated-v1", "relative")
    condition, distance = nearest_condition(COLOURS, truth.soft_proof(COLOURS))
    assert condition is truth and distance == 0
    unprinted, distance = nearest_condition(COLOURS, COLOURS)
    assert PAPERS[unprinted.name] == "coated" and distance > 2


def test_conditions_are_written_down_by_name_and_others_with_their_table() -> None:
    shipped = load_condition("newspaper")
    assert print_from_dict(shipped.to_dict()) is shipped and "table" not in shipped.to_dict()
    elsewhere = pickle.loads(pickle.dumps(shipped))  # in another process
    assert elsewhere == shipped and elsewhere.to_dict() == shipped.to_dict()
    mixed = shipped.blended(load_condition("coated"), 0.25)
    again = print_from_dict(mixed.to_dict())
    assert isinstance(again, PrintingCondition) and np.allclose(again.table, mixed.table, atol=1e-5)
    assert again == print_from_dict(mixed.to_dict()) != shipped
    fitted = ColourMap("linear", 1, ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    assert print_from_dict(fitted.to_dict()) == fitted
    with pytest.raises(InputError, match="has 3 numbers, not 14739"):
        print_from_dict(mixed.to_dict() | {"table": [1, 2, 3]})


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown printing condition 'newspapr'; did you mean 'newspaper'"):
        load_condition("newspapr")
    with pytest.raises(InputError, match="unknown rendering intent of ifra-26-newspaper 'perceptual'"):
        load_condition("newspaper", "perceptual")


def test_tables_in_files(tmp_path: Path) -> None:
    table = load_condition("coated").table
    np.savez_compressed(tmp_path / "Some press-relative.npz", linear_srgb=table)
    read = PrintingCondition.load_npz(tmp_path / "Some press-relative.npz")
    assert (read.name, read.intent) == ("Some press", "relative") and np.array_equal(read.table, table)
    np.savez_compressed(tmp_path / "bad-relative.npz", linear_srgb=table[:3])
    with pytest.raises(InputError, match="17 x 17 x 17 x 3"):
        PrintingCondition.load_npz(tmp_path / "bad-relative.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(InputError, match="is no table of a printing condition"):
        PrintingCondition.load_npz(tmp_path / "text.npz")
    with pytest.raises(InputError, match="no file"):
        PrintingCondition.load_npz(tmp_path / "none.npz")


def test_an_icc_profile_of_a_printer_gives_its_colours(tmp_path: Path) -> None:
    """A profile of class prtr whose colours are sRGB's own: what comes out has to be what went in."""
    (tmp_path / "screen.icc").write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    printer_profile(tmp_path / "printer.icc")
    condition = PrintingCondition.from_icc(tmp_path / "printer.icc", "relative")
    assert condition.name == "printer"
    assert np.abs(condition.table - srgb_to_linear(lattice())).max() < 0.03  # Lab of eight bits
    assert np.median(condition.shift(COLOURS)) < 1.0
    with pytest.raises(InputError, match="class 'mntr' and space 'RGB'; expected a printer's"):
        PrintingCondition.from_icc(tmp_path / "screen.icc")
    damaged = bytearray((tmp_path / "printer.icc").read_bytes())
    damaged[16:20] = b"\xff\xfe\xfd\xfc"  # its colour space
    (tmp_path / "damaged.icc").write_bytes(damaged)
    with pytest.raises(InputError, match="damaged"):
        PrintingCondition.from_icc(tmp_path / "damaged.icc")
    with pytest.raises(InputError, match="the paper of printing condition 'night' reflects no light"):
        PrintingCondition("night", "relative", np.zeros_like(condition.table))
    (tmp_path / "text.icc").write_text("no profile")
    with pytest.raises(InputError, match="is no ICC profile that can be read"):
        PrintingCondition.from_icc(tmp_path / "text.icc")
    with pytest.raises(InputError, match="unknown rendering intent 'absolute'"):
        PrintingCondition.from_icc(tmp_path / "printer.icc", "absolute")
