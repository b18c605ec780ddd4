"""Any nn.Module as a victim, and the names of its classes."""

import copy
import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import CATEGORIES, ColourNet, colour_photographs
from torch import nn

from calibration.common.errors import InputError
from physpatch import EotConfig, TrainConfig, Trainer, Victim, evaluate_patch
from physpatch.evaluation.grad_cam import grad_cam
from physpatch.victims.labels import read_labels
from physpatch.victims.preprocessing import Preprocessing

PLAIN = {"size": 32, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


class Ends(nn.Module):
    """The colour network with its answer in another form."""

    def __init__(self, end) -> None:
        super().__init__()
        self.inner, self.end = ColourNet(), end

    def forward(self, images: torch.Tensor) -> object:
        return self.end(self.inner(images))


def test_a_module_becomes_a_victim_in_one_line_and_stays_as_it_was() -> None:
    network = ColourNet().train()
    victim = Victim.wrap(network, categories=CATEGORIES, **PLAIN)
    assert network.training and all(p.requires_grad for p in network.parameters())
    assert isinstance(network.norm, nn.BatchNorm2d)
    assert victim.name == "ColourNet" and len(victim.weights.sha256) == 64 and victim.explains
    photographs = colour_photographs(12, 32)
    config = TrainConfig.of(steps=2, batch=4, grid=(4, 4), technique="pgd", area=0.3, eot=EotConfig.none())
    trainer = Trainer(victim, photographs, config, target=2)
    assert [record.step for record in trainer] == [1, 2]
    assert evaluate_patch(victim, photographs, trainer.patch, eot=EotConfig.none()).clean_accuracy == 1.0
    with grad_cam(victim) as cam:
        assert cam(torch.rand(1, 3, 32, 32), [0]).shape == (1, 32, 32)


def test_the_hash_follows_the_weights() -> None:
    first, second = ColourNet(), ColourNet()
    hashes = [Victim.wrap(network, **PLAIN).weights.sha256 for network in (first, second)]
    assert hashes[0] == hashes[1]
    folded = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), second)
    copied, itself = (Victim.wrap(folded, **PLAIN, copied=copied).weights.sha256 for copied in (True, False))
    assert copied == itself  # whatever is done with the network itself
    with torch.no_grad():
        second.head.bias[0] += 1
    assert Victim.wrap(second, **PLAIN).weights.sha256 != hashes[0]


def test_the_hash_follows_what_a_module_keeps_beside_its_weights() -> None:
    """As quantised layers do, whose weights are in a tuple."""

    class Keeping(ColourNet):
        kept: tuple[torch.Tensor, int]

        def get_extra_state(self) -> object:
            return self.kept

        def set_extra_state(self, state: object) -> None:
            pass

    network, hashes = Keeping(), []
    for network.kept in ((torch.ones(2), 8), (torch.ones(2), 8), (torch.zeros(2), 8), (torch.ones(2), 4)):
        hashes.append(Victim.wrap(network, **PLAIN).weights.sha256)
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3


@pytest.mark.parametrize(
    "end",
    [lambda x: SimpleNamespace(logits=x), lambda x: (x, None), lambda x: x.softmax(dim=1)],
    ids=["object with logits", "tuple", "probabilities"],
)
def test_answers_of_other_forms_give_the_same_confidences(end) -> None:
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, other = Victim.wrap(ColourNet(), **PLAIN), Victim.wrap(Ends(end), **PLAIN)
    with torch.no_grad():
        torch.testing.assert_close(
            other.confidences(other.scores(images)), plain.confidences(plain.scores(images)), atol=1e-6, rtol=1e-4
        )


@pytest.mark.parametrize(
    "end",
    [
        lambda x: x.detach(),
        lambda x: (1000 * x).long(),
        lambda x: torch.from_numpy(x.detach().numpy()),
        lambda x: x.new_tensor(x.tolist()),
    ],
    ids=["detached", "whole numbers", "numpy", "new"],
)
def test_a_module_whose_gradient_is_cut_gives_predictions_only(end) -> None:
    """So that it is told before a training begins, and evaluated without heat."""
    victim = Victim.wrap(Ends(end), categories=CATEGORIES, **PLAIN)
    assert not victim.differentiable and not victim.explains
    assert victim.remark.startswith("predictions only, without gradients, because no gradient reaches the image")
    photographs = colour_photographs(12, 32)
    assert victim.scores(photographs.images.float() / 255).argmax(dim=1).tolist() == photographs.labels.tolist()
    config = TrainConfig.of(steps=2, batch=4, grid=(4, 4), technique="pgd", area=0.3, eot=EotConfig.none())
    with pytest.raises(InputError, match="Ends gives predictions only, and technique pgd needs gradients"):
        Trainer(victim, photographs, config, target=2)
    with pytest.raises(InputError, match="there is no Grad-CAM of layer"):
        Victim.wrap(Ends(end), cam_layer="inner.norm", **PLAIN)


def test_modules_that_change_their_input_or_have_no_derivative() -> None:
    class InPlace(ColourNet):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images.mul_(2).sub_(1))

    class NoDerivative(torch.autograd.Function):
        @staticmethod
        def forward(_context, values: torch.Tensor) -> torch.Tensor:
            return values * 2

    assert Victim.wrap(InPlace(), **PLAIN).differentiable
    blind = Victim.wrap(Ends(NoDerivative.apply), **PLAIN)
    assert not blind.differentiable and "torch cannot compute them" in blind.remark


def test_blue_green_red_is_turned_round() -> None:
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = 1
    with torch.no_grad():
        assert Victim.wrap(ColourNet(), **PLAIN).scores(red).argmax() == 0
        assert Victim.wrap(ColourNet(), **PLAIN, bgr=True).scores(red).argmax() == 2


def test_what_is_no_classifier_of_these_classes_is_refused() -> None:
    with pytest.raises(InputError, match="3 categories given, but ColourNet answers with 4 classes"):
        Victim.wrap(ColourNet(), categories=("a", "b", "c"), **PLAIN)
    with pytest.raises(InputError, match="must answer with logits"):
        Victim.wrap(nn.Conv2d(3, 3, 1), **PLAIN)
    with pytest.raises(InputError, match=r"does not accept images \(B, 3, 32, 32\)"):
        Victim.wrap(nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), **PLAIN)
    with pytest.raises(InputError, match="unknown layer 'nrom'; did you mean 'norm'"):
        Victim.wrap(ColourNet(), cam_layer="nrom", **PLAIN)
    with pytest.raises(InputError, match=r"'head' is no spatial map; among those that have one: conv"):
        Victim.wrap(ColourNet(), cam_layer="head", **PLAIN)


NAN = float("nan")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        *(
            ({"size": size}, r"size is .*; expected the side of a square in pixels, one whole number from 1 to 4096")
            for size in (0, -32, 32.0, (32, 48), (3, 32, 32), "32", None, True, 10**9)
        ),
        ({"resize": 0}, "resize is 0; expected the side of a square"),
        ({"resize": 31}, "resize is 31, which leaves less than the central square of size 32; expected 32 or more"),
        *(
            ({"mean": mean}, "mean is .*; expected three finite numbers")
            for mean in ((0, 0), (0, 0, 0, 0), (0, 0, NAN), 0.5)
        ),
        *(
            ({"std": std}, "std is .*; expected three finite numbers")
            for std in ((1, 1), (1, 1, NAN), "111", (1, 1, "1"))
        ),
        *(
            ({"std": std}, "std is .*; expected three numbers above 0")
            for std in ((0, 1, 1), (1, 1, -1), (1, 1e-300, 1))
        ),
        ({"categories": ()}, "categories of ColourNet are empty"),
        ({"categories": ("a", "b", "a", "c")}, "categories of ColourNet name 'a' more than once"),
        ({"categories": ("a", "b", "", "c")}, "category 2 of ColourNet is ''; expected a name"),
        ({"categories": ("a", "b\n", "c", "d")}, r"category 1 of ColourNet is 'b\\n'"),
        ({"categories": (1, 2, 3, 4)}, "category 0 of ColourNet is 1; expected a name"),
        ({"name": "two\nlines"}, r"the name 'two\\nlines' of a model has characters that cannot be printed"),
    ],
)
def test_arguments_out_of_range_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Victim.wrap(ColourNet(), **(PLAIN | settings))


def test_numbers_of_any_kind_are_taken_as_they_are() -> None:
    victim = Victim.wrap(ColourNet(), size=np.int64(32), mean=torch.zeros(3).tolist(), std=np.ones(3))
    assert victim.preprocessing == Preprocessing(32, 32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match=r"Victim\.wrap got function; expected an nn.Module"):
        Victim.wrap(lambda images: images)
    locked = ColourNet()
    locked.lock = threading.Lock()
    with pytest.raises(
        InputError, match=r"ColourNet cannot be copied \(TypeError: cannot pickle .*; give copied=False"
    ):
        Victim.wrap(locked, **PLAIN)
    assert Victim.wrap(locked, copied=False, **PLAIN).explains


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.txt", "cat\n dog \n\nowl\n"),
        ("list.json", json.dumps(["cat", "dog", "owl"])),
        ("keras.json", json.dumps({"2": ["n3", "owl"], "0": ["n1", "cat"], "1": ["n2", "dog"]})),
        ("config.json", json.dumps({"id2label": {"0": "cat", "1": "dog", "2": "owl"}})),
        ("data.yaml", "names: {0: cat, 1: dog, 2: owl}\nnc: 3\n"),
        ("names.yml", "- cat\n- dog\n- owl\n"),
        ("class_to_idx.json", json.dumps({"owl": 2, "cat": 0, "dog": 1})),
    ],
)
def test_class_names_come_from_files_of_any_kind(name: str, text: str, tmp_path) -> None:
    (tmp_path / name).write_text(text)
    assert read_labels(tmp_path / name, 3) == ("cat", "dog", "owl")


def test_names_that_are_numbers_have_the_indices_of_class_to_idx(tmp_path) -> None:
    folders = sorted(str(i) for i in range(12))
    file = tmp_path / "class_to_idx.json"
    file.write_text(json.dumps({name: index for index, name in enumerate(folders)}))
    assert read_labels(file, 12) == tuple(folders)
    file.write_text('{"0": 7, "1": 3}')  # by index, as 3 and 7 are none
    assert read_labels(file, 2) == ("7", "3")


def test_a_network_of_half_precision_is_wrapped_as_float32() -> None:
    network = ColourNet()
    half = Victim.wrap(copy.deepcopy(network).half(), **PLAIN)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(half.scores(images), Victim.wrap(network, **PLAIN).scores(images), atol=2e-2, rtol=1e-2)


def test_known_sets_of_names() -> None:
    assert read_labels("imagenet", 1000)[566] == "French horn"
    assert read_labels("coco")[:2] == ("person", "bicycle") and len(read_labels("coco", 80)) == 80
    assert read_labels("coco", 91)[0] == "__background__"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "", "holds no class names"),
        ("a.json", "{", "holds no class names that can be read"),
        ("a.json", '{"cat": "n0"}', "keys are not class indices 0, 1, 2 …, and neither are its values"),
        ("a.json", '{"cat": 0, "dog": 0, "owl": 1}', "gives the index 0 to two names"),
        ("a.json", '{"cat": 0, "dog": 2}', "leaves out class indices"),
        ("a.json", '{"0": "cat", "2": "dog"}', "leaves out class indices"),
        ("a.json", "3", "neither a list"),
        ("a.json", '[{"a": 1}]', "something else than class names"),
        ("a.yaml", "!!python/object/apply:os.system ['touch was_run']", "holds no class names that can be read"),
        ("a.txt", "cat\ndog", "names 2 classes, but the model has 3"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(name: str, text: str, words: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_labels(tmp_path / name, 3)
    assert not (tmp_path / "was_run").exists()


def test_a_file_that_is_not_there_names_the_sets() -> None:
    with pytest.raises(InputError, match=r"no file of labels gone\.txt; give a file, or imagenet or coco"):
        read_labels("gone.txt")
