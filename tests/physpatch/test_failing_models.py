"""Networks of a user's own that load, and fail later: one line says which model, in which call, and what to do."""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from model_files import PLAIN, AllBoxes, OneApart, save_program
from support import CATEGORIES, DETECTED, HELPERS, ColourNet, save_squares
from torch import nn

from calibration.common.errors import InputError, lacks_memory
from physpatch.evaluation.grad_cam import grad_cam
from physpatch.victims.detector import Detector
from physpatch.victims.networks.outputs import FixedBatch
from physpatch.victims.protocol import Victim
from physpatch.victims.registry import load_victim

OWN_MODELS = """
from support import ColourNet
from physpatch import Victim


class Few(ColourNet):
    # Takes one or two images, as it is tried, and no more.
    def forward(self, images):
        if len(images) > 2:
            raise IndexError(f"no place for {len(images)}")
        return super().forward(images)


class Dropped(ColourNet):
    def forward(self, images):
        return super().forward(images)[:2]


def few(): return Few()
def dropped(): return Dropped()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with models of one's own, and photographs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(HELPERS)])
    Path("late_models.py").write_text(OWN_MODELS)
    Path("labels.txt").write_text("\n".join(CATEGORIES))
    for name in ("few", "dropped"):
        Path(f"{name}.toml").write_text(f'model = "late_models:{name}"\nlabels = "labels.txt"\n{PLAIN}')
    Path("squares").mkdir()
    save_squares(Path("squares"))
    return tmp_path


def test_a_network_that_fails_later_says_in_which_call_in_every_command(folder: Path, command, few_views: int) -> None:
    own = ("--trust-weights", "--data", "squares")
    batch = ("--steps", "2", "--batch", "4", "--grid", "3x3", "--no-eot", "--recognised", "0", "--target", "blue thing")
    done = command("train", "--model", "few.toml", *own, *batch, "--out", "refused")
    place = f"({folder}/late_models.py, line 10)"
    done.assert_refused("model few fails on images (", ", 3, 32, 32): IndexError: no place for", place, "dynamic batch")
    done = command("models", "--check", "few.toml", *own)
    done.assert_refused("model few fails on images (", "IndexError: no place for", place)
    Path("fine.toml").write_text(Path("few.toml").read_text().replace("late_models:few", "support:ColourNet"))
    done = command("train", "--model", "fine.toml", *own, *batch, "--out", "run")
    assert done.code == 0, done.err
    done = command("evaluate", "run", "--model", "few.toml", *own)
    done.assert_refused("model few fails on images (", "IndexError: no place for", place)
    done = command("evaluate", "run", "--model", "dropped.toml", *own)
    done.assert_refused("model dropped answers ", "images with (2, 4); expected a row of logits for each")


def test_a_network_of_one_number_says_how_to_make_it_two_classes(folder: Path, command) -> None:
    Path("late_models.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x): return x.mean((2, 3))[:, :1]\n"
        "def make(): return Net()\n"
    )
    done = command("models", "--check", "late_models:make")
    done.assert_refused("answers with one number for an image; expected a logit per class", "torch.cat([-x / 2, x / 2]")
    logit = torch.tensor([[0.7], [-3.0]])
    torch.testing.assert_close(torch.cat([-logit / 2, logit / 2], dim=1).softmax(dim=1)[:, 1:], logit.sigmoid())


def test_a_lack_of_memory_is_no_fault_of_the_network(tiny_victim: Victim) -> None:
    class Large(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(RuntimeError, match="out of memory"):
        replace(tiny_victim, module=Large()).scores(torch.rand(1, 3, 32, 32))
    assert lacks_memory(MemoryError()) and not lacks_memory(RuntimeError("wrong memory_format"))


class OneAtOnce(ColourNet):
    """Traced, it keeps the batch of one that it was traced with."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(images)).relu().mean(dim=(2, 3)).view(1, -1))


class TwoAtOnce(ColourNet):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(images)).relu().mean(dim=(2, 3)).view(2, -1))


def scores(victim: Victim, count: int) -> torch.Tensor:
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return victim.confidences(victim.scores(images))


def test_files_for_so_many_images_at_once_are_shown_no_more(folder: Path, command) -> None:
    network = ColourNet().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(OneAtOnce().eval(), torch.rand(1, 3, 32, 32)).save("one.torchscript")
        torch.jit.trace(TwoAtOnce().eval(), torch.rand(2, 3, 32, 32)).save("two.torchscript")
    shapes = ({0: torch.export.Dim("batch", min=1, max=3)},)
    torch.export.save(torch.export.export(network, (torch.rand(2, 3, 32, 32),), dynamic_shapes=shapes), "most.pt2")
    save_program(network, Path("four.onnx"), 32, 4, dynamic=False)
    Path("own.toml").write_text(f'model = "support:ColourNet"\nlabels = "labels.txt"\n{PLAIN}')
    truth = scores(load_victim("own.toml", trust=True, say=lambda _: None), 7)
    for name, size, filled, words in (
        ("one.torchscript", 1, True, "one image at once; batches are divided"),
        ("most.pt2", 3, False, "at most 3 images at once; larger batches are divided"),
        ("four.onnx", 4, True, "exactly 4 images at once; batches are divided, and the last part is filled up with"),
    ):
        Path("model.toml").write_text(f'model = "{name}"\nlabels = "labels.txt"\n{PLAIN}')
        victim = load_victim("model.toml")
        limits = [(part.size, part.filled) for part in victim.module.modules() if isinstance(part, FixedBatch)]
        assert limits == [(size, filled)]
        torch.testing.assert_close(scores(victim, 7), truth, atol=1e-4, rtol=1e-3)
        if victim.explains:
            images = torch.rand(5, 3, 32, 32)
            with grad_cam(victim) as cam:
                together, alone = cam(images, [0] * 5), [cam(image, [0]) for image in images.split(1)]
            torch.testing.assert_close(torch.from_numpy(together), torch.cat([*map(torch.from_numpy, alone)]))
        done = command("models", "--check", "model.toml", "--data", "squares", "--json", "found.json")
        assert done.code == 0, done.err
        found = {f["what"]: f["words"] for f in json.loads(Path("found.json").read_text())["findings"]}
        assert found["batch"].startswith(words)
    Path("model.toml").write_text(f'model = "two.torchscript"\nlabels = "labels.txt"\n{PLAIN}')
    with pytest.raises(InputError, match=r"RuntimeError: addmm: mat1 and mat2 .*; if it takes a fixed number at once"):
        load_victim("model.toml")


def test_a_detector_for_one_image_at_once_is_shown_one(folder: Path) -> None:
    """A function says nothing of how many it takes."""
    Path("late_models.py").write_text("from model_files import OneApart\ndef one():\n    return OneApart()\n")
    Path("detected.txt").write_text("\n".join(DETECTED))
    Path("one.toml").write_text(
        'model = "late_models:one"\nlabels = "detected.txt"\ntask = "detect"\n[preprocessing]\nsize = 96\n'
    )
    victim = load_victim("one.toml", trust=True, say=lambda _: None)
    assert isinstance(victim, Detector)
    images = torch.rand(3, 3, 96, 96)
    expected = OneApart()(images[1:2])[2]
    assert victim.predictions(images)[1][1].amax(dim=1).sort().values[-8:] == pytest.approx(expected.sort().values)
    assert AllBoxes()(images).shape[0] == 3


# --- detectors that find nothing --------------------------------------------------------------------------------------

SHY_DETECTORS = """
import torch
from model_files import BoxesApart


class Shy(BoxesApart):
    # Leaves out boxes below a confidence, as torchvision's detectors do: most pictures have none.
    def __init__(self, least, cut):
        super().__init__()
        self.least, self.cut = least, cut

    def forward(self, images):
        answers = []
        for boxes in super().forward(images):
            sure = boxes["scores"] > self.least
            answers.append({name: values[sure] for name, values in boxes.items()})
            if self.cut or not sure.any():
                answers[-1] = {name: values.detach() for name, values in answers[-1].items()}
        return answers


def open_(): return Shy(0.5, False)
def cut(): return Shy(0.5, True)
def blind(): return Shy(2.0, False)
"""


@pytest.fixture
def shy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Path("shy_detectors.py").write_text(SHY_DETECTORS)
    Path("detected.txt").write_text("\n".join(DETECTED))
    for name in ("open_", "cut", "blind"):
        Path(f"{name}.toml").write_text(
            f'model = "shy_detectors:{name}"\nlabels = "detected.txt"\ntask = "detect"\n[preprocessing]\nsize = 96\n'
        )
    return folder


def test_gradients_of_a_detector_are_tried_on_pictures_in_which_it_finds_something(shy: Path) -> None:
    """Noise has no boxes here; road signs have."""
    assert not load_victim("open_.toml", trust=True, say=lambda _: None).find(torch.rand(1, 3, 96, 96))[0]
    differentiable = {
        name: load_victim(f"{name}.toml", trust=True, say=lambda _: None).differentiable
        for name in ("open_", "cut", "blind")
    }
    assert differentiable == {"open_": True, "cut": False, "blind": True}


def test_a_training_that_no_gradient_reaches_ends_in_one_line(shy: Path, command, few_views: int) -> None:
    shared = ("--data", "squares", "--trust-weights", "--grid", "3x3", "--no-eot", "--batch", "2", "--out", "run")
    attack = ("--object", "stop", "--target", "none", "--sign-area", "0.2", *shared)
    done = command("train", "--model", "blind.toml", *attack, "--steps", "30")
    done.assert_refused(
        "no gradient reached the patch from blind in 10 steps: it found no box", "use --technique black"
    )
    done = command("train", "--model", "cut.toml", *attack, "--steps", "3", "--out", "other")
    done.assert_refused("gives predictions only")
    done = command("models", "--check", "blind.toml", "--trust-weights", "--data", "squares", "--json", "found.json")
    assert done.code == 0, done.err
    found = {f["what"]: f for f in json.loads(Path("found.json").read_text())["findings"]}
    assert found["gradient"]["outcome"] == "note" and "not tried: no box" in found["gradient"]["words"]


def test_some_steps_without_a_box_are_no_obstacle(shy: Path, command, few_views: int, monkeypatch) -> None:
    """A gradient that has reached the patch once may stay away, as where the patch hides everything."""
    from physpatch.attack.loss import AttackLoss

    forward, reached = AttackLoss.forward, []

    def alternating(self, *arguments, **named):
        answer = forward(self, *arguments, **named)
        if torch.is_grad_enabled():
            reached.append(self.reached)
            self.reached = len(reached) == 4
        return answer

    monkeypatch.setattr(AttackLoss, "forward", alternating)
    shared = ("--data", "squares", "--trust-weights", "--grid", "3x3", "--no-eot", "--batch", "2", "--out", "run")
    attack = ("--object", "stop", "--target", "none", "--sign-area", "0.2", *shared)
    done = command("train", "--model", "open_.toml", *attack, "--steps", "15")
    assert done.code == 0, done.err
    assert len(reached) == 15
