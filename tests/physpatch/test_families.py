"""Models as people have them: each family with a real file, program or server made on the spot, and hostile ones refused."""

import io
import os
import re
import struct
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import PLAIN, Product, Rounded, save_clip, save_program, save_timm, served
from safetensors.torch import save_file
from support import CATEGORIES, HELPERS, ColourNet
from torch import nn

from calibration.common import extras
from calibration.common.errors import InputError, UnavailableError
from physpatch.evaluation.grad_cam import grad_cam
from physpatch.victims.families import catalogue, endpoints
from physpatch.victims.families.files import onnx_models
from physpatch.victims.networks.outputs import FixedBatch, Queries
from physpatch.victims.protocol import Victim
from physpatch.victims.registry import load_victim

RED = torch.zeros(1, 3, 32, 32)
RED[:, 0] = 0.8


class Witness:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The colour network in every form, for batches of any size and of one image."""
    folder, network = tmp_path_factory.mktemp("models"), ColourNet().eval()
    save_program(network, folder / "any.pt2", 32)
    save_program(network, folder / "one.pt2", 32, 1, dynamic=False)
    save_program(network, folder / "traced.torchscript", 32, 1)
    save_program(network, folder / "one.onnx", 32, 1, dynamic=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network).save(folder / "script.pt")
        torch.onnx.export(  # by the other exporter
            network,
            (torch.rand(2, 3, 32, 32),),
            folder / "any.onnx",
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    for name in ("any.pt2", "one.pt2", "script.pt", "traced.torchscript", "any.onnx", "one.onnx"):
        (folder / f"{name}.toml").write_text(f'model = "{name}"\nlabels = "labels.txt"\n{PLAIN}')
    (folder / "labels.txt").write_text("\n".join(CATEGORIES))
    return folder


def answers(victim: Victim, count: int = 5) -> torch.Tensor:
    """The confidences (N, 4) for images that are the same for every victim."""
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return victim.confidences(victim.scores(images))


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    """The confidences of the network itself."""
    return answers(Victim.wrap(ColourNet(), size=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))


@pytest.mark.parametrize(
    ("name", "gradients", "heat"),
    [
        ("any.pt2", True, True),
        ("one.pt2", True, True),
        ("script.pt", True, False),
        ("traced.torchscript", True, False),
        ("any.onnx", True, True),
        ("one.onnx", True, True),
    ],
)
def test_each_kind_of_file_answers_as_the_network_did(
    name: str, gradients: bool, heat: bool, files: Path, truth: torch.Tensor
) -> None:
    victim = load_victim(str(files / f"{name}.toml"))
    assert (victim.categories, victim.differentiable, victim.explains) == (CATEGORIES, gradients, heat)
    assert victim.loaded_as == str(files / f"{name}.toml") and len(victim.weights.sha256) == 64
    torch.testing.assert_close(answers(victim), truth, atol=1e-4, rtol=1e-3)
    if gradients:
        images = RED.clone().requires_grad_()
        victim.scores(images)[0, 0].backward()
        assert images.grad is not None and float(images.grad.abs().sum()) > 0
    if heat:
        with grad_cam(victim) as cam:
            both = cam(torch.cat([RED, RED.flip(1)]), [0, 2])
            assert both.shape == (2, 32, 32)
            np.testing.assert_allclose(both[1:], cam(RED.flip(1), [2]), atol=1e-5)


def test_onnx_runtime_keeps_no_identifier_and_reports_to_nobody(files: Path, tmp_path: Path) -> None:
    """Its versions from 1.29 on do, unless they are told before they are imported: so in a process of its own."""
    code = "import sys; from physpatch import load_victim; load_victim(sys.argv[1], trust=True)"
    homes = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "TMPDIR")}
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name and name != "CI"}
    done = subprocess.run([sys.executable, "-c", code, str(files / "any.onnx")], env=environment | homes, text=True)
    assert done.returncode == 0
    assert not [file for file in tmp_path.rglob("*") if "icrosoft" in str(file) or "onnxruntime" in str(file)]


def test_a_file_without_a_description_says_its_size_and_labels_can_be_given(files: Path) -> None:
    victim = load_victim(str(files / "any.onnx"), labels=files / "labels.txt")
    assert victim.preprocessing.size == 32 and victim.categories == CATEGORIES
    assert load_victim(str(files / "any.onnx")).categories == ("class 0", "class 1", "class 2", "class 3")
    with pytest.raises(InputError, match="imagenet names 1000 classes, but the model has 4"):
        load_victim(str(files / "any.pt2"), labels="imagenet")
    with pytest.raises(InputError, match="leave out --weights"):
        load_victim(str(files / "any.onnx"), weights=files / "labels.txt")


def save_onnx(file: Path, nodes: list, inputs: list, outputs: list) -> Path:
    """Write an ONNX model of these nodes, without weights."""
    import onnx

    graph = onnx.helper.make_graph(nodes, "graph", inputs, outputs)
    versions = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=versions, ir_version=8), file)
    return file


def test_onnx_models_that_take_or_give_something_else_are_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    def tensor(name: str, shape: list, kind: int = TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    mean = helper.make_node("ReduceMean", ["images"], ["out"], axes=[2, 3], keepdims=0)
    one = helper.make_node("Constant", [], ["out"], value_floats=[1.0, 2.0])
    both = helper.make_node("Add", ["images", "more"], ["out"])
    listed = helper.make_node("SequenceConstruct", ["images"], ["out"])
    named = helper.make_node("ZipMap", ["means"], ["out"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    means = helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0)
    texts = helper.make_node("Constant", [], ["out"], value_strings=[b"cat"])
    images, answer = tensor("images", ["n", 3, 32, 32]), tensor("out", ["n", 3])
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    sequence = helper.make_tensor_sequence_value_info("out", TensorProto.FLOAT, ["n", 3, 32, 32])
    for label, nodes, inputs, outputs, words in (
        ("no input", [one], [], [tensor("out", [2])], r"expected one input, a batch of images, got 0 \(none\)"),
        ("two", [both], [images, tensor("more", ["n", 3, 32, 32])], [images], r"got 2 \(images, more\)"),
        ("list", [listed], [images], [sequence], r"got out of type seq\(tensor\(float\)\)"),
        ("map", [means, named], [images], [helper.make_value_info("out", maps)], r"type seq\(map.*zipmap=False"),
        ("text", [texts], [images], [tensor("out", [1], TensorProto.STRING)], r"type tensor\(string\)"),
        ("none", [mean], [tensor("images", [0, 3, 32, 32])], [answer], r"expected lengths from 1 to 4096.*got \[0, 3"),
        ("point", [mean], [tensor("images", [1, 3, 0, 0])], [answer], "expected lengths from 1 to 4096"),
        ("huge", [mean], [tensor("images", [1, 3, 99999, 99999])], [answer], "expected lengths from 1 to 4096"),
        (
            "flat",
            [mean],
            [tensor("images", ["n", 3, 32, 64])],
            [answer],
            r"expected one batch of images.*got tensor\(float\)",
        ),
        (
            "double",
            [mean],
            [tensor("images", ["n", 3, 32, 32], TensorProto.DOUBLE)],
            [tensor("out", ["n", 3], TensorProto.DOUBLE)],
            r"images of floats.*got tensor\(double\)",
        ),
    ):
        file = save_onnx(tmp_path / f"{label}.onnx", nodes, inputs, outputs)
        with pytest.raises(InputError, match=words):
            load_victim(str(file), say=lambda _: None)
    fine = save_onnx(tmp_path / "fine.onnx", [mean], [images], [answer])
    assert len(load_victim(str(fine), say=lambda _: None).categories) == 3
    negative = save_onnx(tmp_path / "negative.onnx", [mean], [tensor("images", [-1, 3, -1, -1])], [answer])
    victim = load_victim(str(negative), say=lambda _: None)  # ONNX Runtime takes these for any length, and so do we
    assert len(victim.categories) == 3 and victim.preprocessing.size == 224


# --- timm and CLIP ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "layer"),
    [("test_vit", "blocks.5.norm1"), ("test_resnet", "layer4"), ("test_convnext", "norm_pre")],
)
def test_any_network_of_timm_trains_and_shows_heat(architecture: str, layer: str, tmp_path: Path) -> None:
    network = save_timm(tmp_path, architecture, 5)
    victim = load_victim(f"timm:{architecture}", weights=tmp_path / "timm.safetensors")
    size = victim.preprocessing.size
    assert size == 160 and len(victim.categories) == 5
    assert victim.cam_layer is dict(victim.module.named_modules())[layer]
    images = torch.rand(1, 3, size, size)
    mean, std = (torch.tensor(v)[:, None, None] for v in (victim.preprocessing.mean, victim.preprocessing.std))
    with torch.no_grad():
        torch.testing.assert_close(victim.scores(images), network((images - mean) / std), atol=1e-4, rtol=1e-3)
    with grad_cam(victim) as cam:
        assert cam(images, [1]).shape == (1, size, size)
    other = load_victim(f"timm:{architecture}", weights=tmp_path / "timm.safetensors", cam_layer=layer)
    assert other.cam_layer is dict(other.module.named_modules())[layer]


@pytest.mark.parametrize(
    ("architecture", "side"), [("swin_tiny_patch4_window7_224", 7), ("eva02_tiny_patch14_224", 16)]
)
def test_heat_of_transformers_is_a_map(architecture: str, side: int, tmp_path: Path) -> None:
    """Swin has its channels last, and EVA's tokens begin with that of the class."""
    save_timm(tmp_path, architecture, 3)
    victim = load_victim(f"timm:{architecture}", weights=tmp_path / "timm.safetensors")
    found = victim.heat_layer
    assert found is not None and found.reshape is not None
    shapes: list[torch.Size] = []
    hook = found.layer.register_forward_hook(lambda _layer, _in, output: shapes.append(found.reshape(output).shape))
    with grad_cam(victim) as cam:
        heat = cam(torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)), [1])
    hook.remove()
    assert shapes[0][2:] == (side, side) and heat.shape == (1, 224, 224) and heat.max() > heat.min()


def test_photographs_are_resized_as_timm_says(tmp_path: Path, monkeypatch) -> None:
    save_timm(tmp_path, "test_resnet", 5)
    from timm import data

    own = data.resolve_model_data_config
    for said, interpolation, squash, remark in (
        ({"interpolation": "bilinear", "crop_mode": "squash", "crop_pct": 1.0}, "bilinear", True, ""),
        ({"interpolation": "bicubic", "crop_mode": "center"}, "bicubic", False, ""),
        ({"interpolation": "lanczos", "crop_mode": "border"}, "bicubic", False, "interpolation lanczos and fit border"),
        ({"interpolation": "bilinear", "crop_mode": "border"}, "bilinear", False, "fit border; bilinear interpolation"),
    ):
        monkeypatch.setattr(data, "resolve_model_data_config", lambda network, said=said: own(network) | said)
        victim = load_victim("timm:test_resnet", weights=tmp_path / "timm.safetensors", say=lambda _: None)
        assert (victim.preprocessing.interpolation, victim.preprocessing.squash) == (interpolation, squash)
        assert remark in victim.remark and bool(remark) == bool(victim.remark)


def test_clip_weights_say_what_they_want_of_a_photograph() -> None:
    """SigLIP's are squashed and normalised otherwise than CLIP's own, which the architecture alone does not tell."""
    import open_clip

    from physpatch.victims.families.open_clip_models import _of_tag
    from physpatch.victims.preprocessing import Preprocessing, as_published

    told = _of_tag(open_clip, "ViT-B-16-SigLIP", "webli")
    assert told["mean"] == told["std"] == (0.5, 0.5, 0.5) and _of_tag(open_clip, "ViT-B-16-SigLIP", "") == {}
    plain = Preprocessing(32, 32, told["mean"], told["std"])
    given, otherwise = as_published(plain, told["interpolation"], told["resize_mode"])
    assert given.squash and given.interpolation == "bicubic" and not otherwise


def test_tokens_become_a_map_in_their_order() -> None:
    """A class token first, then the patches row by row."""
    from physpatch.victims.networks.cam_layers import map_of_tokens

    tokens = torch.arange(5.0)[None, :, None].repeat(1, 1, 2)
    assert map_of_tokens(tokens)[0, 0].tolist() == [[1, 2], [3, 4]]


def test_timm_names_near_ones_and_the_cure(tmp_path: Path, monkeypatch) -> None:
    from physpatch.victims.families import timm_classifiers

    monkeypatch.setattr(timm_classifiers, "reachable", lambda url: False)
    with pytest.raises(InputError, match="unknown model of timm 'resnet5'; did you mean"):
        load_victim("timm:resnet5")
    with pytest.raises(UnavailableError, match=r"download model\.safetensors of timm/resnet10t\.c3_in1k on another"):
        load_victim("timm:resnet10t")
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"does not hold weights for resnet10t: it has no fc\.weight"):
        load_victim("timm:resnet10t", weights=tmp_path / "a.safetensors")
    torch.save({"fc.weight": Witness(tmp_path / "was_run")}, tmp_path / "hostile.pth")
    with pytest.raises(InputError, match="not a plain weights file"):
        load_victim("timm:resnet10t", weights=tmp_path / "hostile.pth")
    assert not (tmp_path / "was_run").exists()


def test_clip_answers_with_the_users_own_classes(tmp_path: Path) -> None:
    """Random weights of a small CLIP; two prompts whose texts are equal weigh as one."""
    import open_clip

    name = "physpatch-tiny"
    network = save_clip(tmp_path)
    (tmp_path / "names.txt").write_text("cat\ndog\nred car")
    victim = load_victim(f"clip:{name}", weights=tmp_path / "clip.safetensors", labels=tmp_path / "names.txt")
    assert victim.categories == ("cat", "dog", "red car") and victim.explains
    size = victim.preprocessing.size
    images = torch.rand(1, 3, size, size)
    with torch.no_grad():
        texts = network.encode_text(
            open_clip.get_tokenizer(name)([f"a photo of a {c}." for c in victim.categories]), normalize=True
        )
        picture = network.encode_image(victim.preprocessing.normalise(images), normalize=True)
        expected = network.logit_scale.exp() * picture @ texts.T
        torch.testing.assert_close(victim.scores(images), expected, atol=1e-3, rtol=1e-3)
    described = 'weights = "clip.safetensors"\nlabels = "names.txt"\nprompts = ["{}", "no place"]\n'
    (tmp_path / "clip.toml").write_text(f'model = "clip:{name}"\n{described}')
    with pytest.raises(InputError, match="has no place for the class"):
        load_victim(str(tmp_path / "clip.toml"))
    with pytest.raises(InputError, match=r"which weights of RN50\? give --weights FILE, or one of openai"):
        load_victim("clip:RN50")


def test_clip_says_what_it_was_not_told(tmp_path: Path, monkeypatch) -> None:
    """Weights of one's own do not say how photographs are normalised; a tag or a description does."""
    save_clip(tmp_path)
    (tmp_path / "names.txt").write_text("cat\ndog")
    (tmp_path / "one.txt").write_text("cat\n")
    given = {"weights": tmp_path / "clip.safetensors", "labels": tmp_path / "names.txt"}
    said: list[str] = []
    load_victim("clip:physpatch-tiny", **given, say=said.append)
    assert len(said) == 1 and "mean 0.481, 0.458, 0.408, standard deviation 0.269, 0.261, 0.276, bicubic" in said[0]
    (tmp_path / "clip.toml").write_text(
        'model = "clip:physpatch-tiny"\nweights = "clip.safetensors"\nlabels = "names.txt"\n[preprocessing]\n'
        'mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\ninterpolation = "bilinear"\nfit = "squash"\n'
    )
    victim = load_victim(str(tmp_path / "clip.toml"), say=said.append)
    used = victim.preprocessing
    assert (used.mean, used.std, used.interpolation, used.squash) == ((0.5,) * 3, (0.5,) * 3, "bilinear", True)
    assert len(said) == 1 and not victim.remark
    for name, labels, words in (
        ("clip:physpatch-tiny", "one.txt", r"one\.txt names 1 class; clip:physpatch-tiny compares classes"),
        ("clip:physpatch-tiny/gone", "names.txt", "open_clip publishes no weights of physpatch-tiny; leave out /gone"),
        ("clip:RN50/opnai", "names.txt", "unknown tag of RN50 'opnai'; did you mean 'openai'"),
    ):
        with pytest.raises(InputError, match=words):
            load_victim(name, weights=given["weights"], labels=tmp_path / labels, say=said.append)
    with pytest.raises(InputError, match=r"which weights of physpatch-tiny\? give --weights FILE$"):
        load_victim("clip:physpatch-tiny", labels=given["labels"])


def test_clip_has_the_activation_of_its_tag(tmp_path: Path, monkeypatch) -> None:
    """OpenAI's weights are for a quick GELU, which the name of the architecture does not say."""
    import open_clip
    from open_clip.transformer import QuickGELU

    network = save_clip(tmp_path)
    (tmp_path / "names.txt").write_text("cat\ndog")
    told = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "quick_gelu": True}
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda name: ["own"])
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: told)
    given = {"weights": tmp_path / "clip.safetensors", "labels": tmp_path / "names.txt", "say": lambda _: None}
    quick, usual = (load_victim(f"clip:physpatch-tiny{tag}", **given) for tag in ("/own", ""))
    assert any(isinstance(part, QuickGELU) for part in quick.module.modules()) and quick.preprocessing.std == (0.5,) * 3
    assert not any(isinstance(part, QuickGELU) for part in (*usual.module.modules(), *network.modules()))


@pytest.mark.parametrize(("dynamic", "asked"), [(False, [3, 3, 3]), (True, [32, 32, 6])])
def test_images_for_onnx_runtime_are_divided_once(
    dynamic: bool, asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_program(Rounded(), tmp_path / "rounded.onnx", 32, 3, dynamic=dynamic)
    victim = load_victim(str(tmp_path / "rounded.onnx"), say=lambda _: None)
    assert not victim.differentiable
    assert sum(isinstance(part, FixedBatch) for part in victim.module.modules()) == 1
    sizes: list[int] = []
    predict = onnx_models._predict
    monkeypatch.setattr(onnx_models, "_predict", lambda *given: (sizes.append(len(given[-1])), predict(*given))[1])
    images = torch.rand(70 if dynamic else 7, 3, 32, 32)
    assert len(victim.scores(images)) == len(images) and sizes == asked


class OneAtATime(nn.Module):
    """A network that takes one image, whatever the signature of its export says."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(images.mean(dim=(2, 3)).reshape(1, 3))


def test_an_onnx_file_may_promise_any_batch_and_take_one_image(tmp_path: Path) -> None:
    network = OneAtATime()
    save_program(network, tmp_path / "one.onnx", 32, 1)
    images = torch.rand(3, 3, 32, 32)
    victim = load_victim(str(tmp_path / "one.onnx"), say=lambda _: None)
    with torch.no_grad():
        expected = torch.cat([network(victim.preprocessing.normalise(image[None])) for image in images])
    torch.testing.assert_close(victim.scores(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_onnx_file_of_any_size_is_tried_at_the_size_that_is_said(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 30 * 30, 4)).eval()
    torch.onnx.export(
        network,
        (torch.rand(1, 3, 32, 32),),
        tmp_path / "any.onnx",
        input_names=["images"],
        dynamic_axes={"images": {0: "batch", 2: "height", 3: "width"}},
        dynamo=False,
    )
    (tmp_path / "said.toml").write_text('model = "any.onnx"\n[preprocessing]\nsize = 32\n')
    victim = load_victim(str(tmp_path / "said.toml"), say=lambda _: None)
    assert victim.preprocessing.size == 32 and victim.differentiable
    with pytest.raises(InputError, match=r"a model\.toml says what its input is like"):
        load_victim(str(tmp_path / "any.onnx"), say=lambda _: None)


def test_errors_about_labels_and_layers_say_nothing_of_the_input(files: Path, tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("cat\ndog")
    for more, words in (
        ({"labels": tmp_path / "two.txt"}, r"^any: .*two\.txt names 2 classes, but the model has 4$"),
        ({"cam_layer": "conv"}, r"^any: unknown layer 'conv'; did you mean 'network\.conv'\?$"),
    ):
        with pytest.raises(InputError, match=words):
            load_victim(str(files / "any.pt2"), **more)


def test_a_network_that_answers_with_classes_or_takes_grey_pictures_is_told_apart(tmp_path: Path) -> None:
    class Chosen(ColourNet):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images).argmax(dim=1)

    save_program(Chosen(), tmp_path / "chosen.torchscript", 32)
    with pytest.raises(
        InputError, match="answers with a whole number for an image, such as a class; expected its logits"
    ):
        load_victim(str(tmp_path / "chosen.torchscript"))
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.export.save(torch.export.export(grey, (torch.rand(2, 1, 32, 32),)), tmp_path / "grey.pt2")
    with pytest.raises(InputError, match=r"grey\.pt2: expected one input, a batch of images .*, got \(2, 1, 32, 32\)"):
        load_victim(str(tmp_path / "grey.pt2"))


def test_suffixes_may_be_in_capitals(files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, shown in (("any.pt2", "ANY.PT2"), ("any.onnx", "Any.Onnx"), ("script.pt", "SCRIPT.PT")):
        (tmp_path / shown).write_bytes((files / name).read_bytes())
        (tmp_path / f"{shown}.TOML").write_text(f'model = "{shown}"\n{PLAIN}')
        assert len(load_victim(str(tmp_path / f"{shown}.TOML"), say=lambda _: None).categories) == 4
        assert not caplog.records  # torch warns of names that do not end in .pt2
    (tmp_path / "T.TORCHSCRIPT").write_bytes((files / "traced.torchscript").read_bytes())
    assert len(load_victim(str(tmp_path / "T.TORCHSCRIPT"), say=lambda _: None).categories) == 4
    save_timm(tmp_path, "test_resnet", 5)
    (tmp_path / "timm.safetensors").rename(tmp_path / "TIMM.SAFETENSORS")
    assert len(load_victim("timm:test_resnet", weights=tmp_path / "TIMM.SAFETENSORS").categories) == 5
    for name in ("TEXT.PT", "GONE.PT"):
        (tmp_path / "TEXT.PT").write_text("hello")
        with pytest.raises(InputError, match=name):
            load_victim(str(tmp_path / name))


def test_the_best_layer_is_measured_by_the_check(files: Path) -> None:
    with pytest.raises(InputError, match="found without --cam-layer; `physpatch models --check` measures how faithful"):
        load_victim(str(files / "any.pt2.toml"), cam_layer="auto")


@pytest.mark.filterwarnings("ignore")
def test_torchscript_that_takes_no_images_is_refused(tmp_path: Path) -> None:
    class Constant(torch.nn.Module):
        def forward(self) -> torch.Tensor:
            return torch.zeros(1, 3)

    class Aside(torch.nn.Module):
        @torch.jit.export
        def answer(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    for module in (Constant(), Aside()):
        torch.jit.save(torch.jit.script(module), tmp_path / "none.pt")
        with pytest.raises(InputError, match=r"none\.pt has no method forward that takes images"):
            load_victim(str(tmp_path / "none.pt"))


def test_torchscript_has_no_layer_for_heat_to_name(files: Path) -> None:
    for layer in ("conv", "program.conv", "gone"):
        with pytest.raises(InputError, match=f"no layer '{layer}' for Grad-CAM: .* TorchScript; export it as .pt2"):
            load_victim(str(files / "script.pt.toml"), cam_layer=layer)


# --- your own function ------------------------------------------------------------------------------------------------


def test_a_function_of_the_users_gives_the_network(tmp_path: Path, monkeypatch, truth: torch.Tensor) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(HELPERS)])
    Path("own_models.py").write_text(
        "from support import CATEGORIES, ColourNet\nfrom physpatch import Victim\n"
        "def plain():\n    return ColourNet()\n"
        "def victim():\n    return Victim.wrap(ColourNet(), categories=CATEGORIES, size=32, mean=(0, 0, 0), std=(1, 1, 1))\n"
        "def number():\n    return 3\n"
        "class Elsewhere(ColourNet):\n    away = True\n"
        "    def cpu(self):\n        self.away = False\n        return super().cpu()\n"
        "    def forward(self, images):\n        assert not self.away\n        return super().forward(images)\n"
        "def moved():\n    return Elsewhere()\n"
        "def broken():\n    raise ValueError('no disk')\n"
    )
    said: list[str] = []
    victim = load_victim("own_models:victim", say=said.append)
    assert said == ["model own_models:victim: runs your own code"]
    assert victim.name == "own_models:victim" and victim.categories == CATEGORIES
    torch.testing.assert_close(answers(victim), truth)
    assert load_victim("own_models:plain", say=said.append).preprocessing.size == 224
    assert len(load_victim("own_models:moved", say=said.append).categories) == len(CATEGORIES)  # made on a GPU
    assert str(tmp_path) not in sys.path
    for name, words in {
        "own_models:number": "returned int; expected an nn.Module",
        "own_models:broken": rf"failed: ValueError: no disk \({tmp_path}/own_models\.py, line 20\)",
        "own_models:gone": "has no function gone",
        "gone_models:f": "cannot be imported",
    }.items():
        with pytest.raises(InputError, match=words):
            load_victim(name, say=said.append)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "\nimport no_such_package\n",
            "cannot be imported: ModuleNotFoundError: No module named 'no_such_package' ({}, line 2)",
        ),
        ("from torch import no_such_name\n", "cannot be imported: ImportError: cannot import name"),
        ("x = 1\n1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero ({}, line 2)"),
        ("def make(:\n", "cannot be imported: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(3)\n", "cannot be imported: SystemExit: 3 ({}, line 2)"),
        ("def make():\n    raise SystemExit\n", "failed: SystemExit ({}, line 2)"),
        ("def make():\n    return {}['a']\n", "failed: KeyError: 'a' ({}, line 2)"),
        ("def make():\n    import json\n    json.loads('[')\n", "failed: JSONDecodeError: Expecting value: "),
        (
            "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return self.gone\n"
            "def make(): return Net()\n",
            "does not accept images (B, 3, 224, 224): AttributeError: 'Net' object has no attribute 'gone' ({}, line 4)",
        ),
        (
            "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return x.reshape(7, 5)\n"
            "def make(): return Net()\n",
            "does not accept images (B, 3, 224, 224): RuntimeError: shape '[7, 5]' is invalid for input of size",
        ),
        (
            "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        raise SystemExit(1)\n"
            "def make(): return Net()\n",
            "SystemExit: 1 ({}, line 4)",
        ),
        (
            "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n"
            "        return x.mean((2, 3)).squeeze()\ndef make(): return Net()\n",
            "must answer with (1, 3) for one image, got (3,)",
        ),
        (
            "from dataclasses import replace\nfrom support import ColourNet, make_tiny_victim\n"
            "def make(): return replace(make_tiny_victim(), categories=('a', 'b'))\n",
            "scores two images as (2, 4); expected (2, 2), by its categories",
        ),
        (
            "from dataclasses import replace\nfrom torch import nn\nfrom support import make_tiny_victim\n"
            "class Net(nn.Module):\n    def forward(self, x):\n        return x[:, 9]\n"
            "def make(): return replace(make_tiny_victim(), module=Net())\n",
            "IndexError: index 9 is out of bounds for dimension 1 with size 3 ({}, line 6)",
        ),
    ],
)
def test_errors_of_the_users_code_name_its_line(code: str, words: str, command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(HELPERS)])
    Path("failing_models.py").write_text(code)
    place = str(tmp_path / "failing_models.py")
    refused = command("models", "--check", "failing_models:make")
    refused.assert_refused("failing_models", words.replace("{}", place, 1) if "{}," in words else words)
    assert place in refused.err or "must answer" in words or "by its categories" in words


# --- descriptions -----------------------------------------------------------------------------------------------------


def test_an_ensemble_is_the_mean_of_its_members(files: Path, truth: torch.Tensor) -> None:
    (files / "both.toml").write_text('members = ["any.pt2.toml", "one.onnx.toml"]\n')
    victim = load_victim(str(files / "both.toml"))
    assert victim.differentiable and victim.threshold == 0
    torch.testing.assert_close(answers(victim), truth, atol=1e-4, rtol=1e-3)


def test_colours_and_ranges_are_as_described(files: Path) -> None:
    """Blue, green, red in 0 to 255, with numbers in that order, are the same input as red, green, blue in 0 to 1."""
    (files / "bgr.toml").write_text(
        'model = "any.pt2"\n[preprocessing]\nsize = 32\ncolours = "bgr"\nrange = 255\n'
        "mean = [102, 51, 25.5]\nstd = [255, 127.5, 51]\n"
    )
    victim = load_victim(str(files / "bgr.toml"))
    assert victim.preprocessing.mean == pytest.approx((0.1, 0.2, 0.4))
    assert victim.preprocessing.std == pytest.approx((0.2, 0.5, 1.0))
    image = torch.tensor([0.3, 0.7, 0.9])[None, :, None, None].expand(1, 3, 2, 2)
    assert victim.preprocessing.normalise(image)[0, :, 0, 0].tolist() == pytest.approx([0.5, 1.0, 1.0])


def test_a_range_of_255_alone_means_pixels_as_they_are(files: Path) -> None:
    (files / "caffe.toml").write_text(
        'model = "any.pt2"\n[preprocessing]\nsize = 32\ncolours = "bgr"\nrange = 255\nmean = [104, 117, 123]\n'
    )
    (files / "pixels.toml").write_text('model = "any.pt2"\n[preprocessing]\nsize = 32\nrange = 255\n')
    image = torch.tensor([0.2, 0.4, 0.6])[None, :, None, None].expand(1, 3, 2, 2)
    for name, expected in (("caffe", [153 - 104, 102 - 117, 51 - 123]), ("pixels", [51, 102, 153])):
        given = load_victim(str(files / f"{name}.toml")).preprocessing.normalise(image)
        assert given[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-3)


def test_an_ensemble_takes_photographs_as_its_first_member_does(files: Path) -> None:
    (files / "squashed.toml").write_text(
        'model = "any.pt2.toml"\n[preprocessing]\nsize = 32\nfit = "squash"\ninterpolation = "bilinear"\n'
    )
    (files / "both.toml").write_text('members = ["squashed.toml", "one.onnx.toml"]\n')
    preprocessing = load_victim(str(files / "both.toml")).preprocessing
    assert preprocessing.squash and preprocessing.interpolation == "bilinear"
    assert (preprocessing.mean, preprocessing.std, preprocessing.bgr) == ((0, 0, 0), (1, 1, 1), False)


def test_a_description_of_a_description_adds_to_it(files: Path) -> None:
    (files / "inner.toml").write_text(
        'model = "any.pt2"\nthreshold = 0.3\n[preprocessing]\nsize = 32\nmean = [0, 0, 0]\n'
    )
    (files / "outer.toml").write_text('model = "inner.toml"\n[preprocessing]\nresize = 40\nmean = [0.5, 0.5, 0.5]\n')
    victim = load_victim(str(files / "outer.toml"))
    assert victim.threshold == 0.3
    assert (victim.preprocessing.size, victim.preprocessing.resize) == (32, 40)
    assert victim.preprocessing.mean == (0.5, 0.5, 0.5)


def test_files_of_a_description_lie_in_its_folder_and_are_not_taken_from_elsewhere(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_program(ColourNet(), Path("any.onnx"), 32)
    Path("names.txt").write_text("\n".join(CATEGORIES))
    Path("below").mkdir()
    for text, words in (
        ('model = "any.onnx"\n', "no model file below/any.onnx"),
        ('model = "../any.onnx"\nlabels = "names.txt"\n', "no file of labels below/names.txt"),
        ('model = "resnet18"\nweights = "any.onnx"\n', "no weights file below/any.onnx"),
        ('members = ["any.toml"]\n', "below/any.toml"),
    ):
        Path("below/model.toml").write_text(text)
        with pytest.raises(InputError, match=words):
            load_victim("below/model.toml")


def test_descriptions_that_name_one_another_end(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('model = "b.toml"\n')
    (tmp_path / "b.toml").write_text('members = ["a.toml"]\n')
    with pytest.raises(InputError, match="names itself, directly or through other files"):
        load_victim(str(tmp_path / "a.toml"))


def test_a_description_says_what_it_does_and_runs_no_code_unasked(product: str, tmp_path: Path, monkeypatch) -> None:
    """It may be a stranger's: its endpoint is named before pictures are sent, and a function needs --trust-weights."""
    monkeypatch.chdir(tmp_path)
    Path("told.toml").write_text(f'[preprocessing]\nsize = 32\n[endpoint]\nurl = "{product}/logits"\n')
    said: list[str] = []
    load_victim("told.toml", say=said.append)
    assert said == [f"model {product}/logits: photographs are sent to this host"]
    said.clear()
    Path("secret.toml").write_text('[endpoint]\nurl = "http://me:secret@host/x"\n')
    with pytest.raises(InputError, match="leave the password out"):
        load_victim("secret.toml", say=said.append)
    assert not said  # not even the address, with the password in it
    load_victim(f"{product}/logits?key=secret", say=said.append)
    assert said == [f"model {product}/logits: photographs are sent to this host"]
    Path("theirs.py").write_text("from pathlib import Path\nPath('was_run').touch()\ndef make(): return 3\n")
    Path("code.toml").write_text('model = "theirs:make"\n')
    with pytest.raises(InputError, match=r"names theirs:make, whose code would run; .*--trust-weights"):
        load_victim("code.toml", say=said.append)
    assert not Path("was_run").exists()
    with pytest.raises(InputError, match="returned int"):
        load_victim("code.toml", trust=True, say=said.append)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = 3", "model: expected a valid string"),
        ('modle = "a"', "there is no key modle in the file; expected some of model, members, endpoint"),
        ("", "must have one of model, members"),
        ('model = "any.pt2"\nmembers = ["any.pt2"]', "must have one of"),
        ('model = "any.pt2"\n[preprocessing]\nrange = 7', r"preprocessing\.range"),
        (
            'model = "any.pt2"\n[preprocessing]\nstd = [0, 1, 1]',
            r"preprocessing: std is \[0\.0, 1\.0, 1\.0\]; expected three",
        ),
        ('model = "any.pt2"\n[preprocessing]\nstd = [-1, 1, 1]', "preprocessing: std is"),
        ('model = "any.pt2"\n[preprocessing]\nstd = [1, 1]', r"preprocessing\.std\.2 is missing"),
        ('model = "any.pt2"\n[preprocessing]\nmean = [nan, 0, 0]', r"preprocessing\.mean\.0: expected a finite"),
        ('model = "any.pt2"\n[preprocessing]\nstd = [inf, 1, 1]', r"preprocessing\.std\.0: expected a finite"),
        ('model = "any.pt2"\n[preprocessing]\nsize = 32\nresize = 31', "resize is 31, smaller than size, 32"),
        ('model = "any.pt2"\n[preprocessing]\nresize = 31', "resize is 31, which leaves less than the central square"),
        ('model = "any.pt2"\n[preprocessing]\nsize = 0', r"preprocessing\.size: expected greater than"),
        *((f'model = "any.pt2"\nthreshold = {t}', "threshold: expected") for t in ("0", "1", "-0.5", "nan", "inf")),
        (
            'model = "any.pt2"\nprompts = ["a {}"]',
            r"prompts are for a model that compares pictures with texts, clip:NAME",
        ),
        ('members = ["any.pt2"]\nweights = "w.pth"', "weights are those of a model"),
        ('model = "any.pt2"\nname = "two\\nlines"', "name: expected a text without control characters"),
        ('model = "any.pt2"\nname = " "', "name: expected a text"),
        ('model = "any.pt2"\nlabels = "\\u0000"', "labels: expected a text without control characters"),
        (
            'model = "any.pt2"\nlabels = "bell.txt"',
            r"bell\.txt: the name of class 1, 'd\\x07g', has control characters",
        ),
        ('model = "any.pt2"\ntask = "detect"', "says task detect"),
        ('model = "loop.toml"', "names itself"),
        ("model = [", "is not valid TOML"),
        (
            'model = "any.pt2"\n[preprocessing]\nsizes = 3',
            r"no key sizes in \[preprocessing\]; expected some of size, resize",
        ),
        (
            'members = ["any.pt2"]\n[preprocessing]\nstd = [1, 1, 1]\ncolours = "bgr"',
            "each member has its own colours and std; describe the member instead",
        ),
        *(
            (f'[endpoint]\nurl = "http://host/x"\n[preprocessing]\n{said}', "an endpoint gets pictures as they are")
            for said in ("mean = [0.5, 0.5, 0.5]", "std = [1, 1, 1]", "range = 255")
        ),
        ('[endpoint]\nurl = "ftp://host/x"', "no address of an endpoint"),
        ('[endpoint]\nurl = "http://me:secret@host/x"', "leave the password out"),
        ('[endpoint]\nurl = "http://host/x"\ntoken_env = "PHYSPATCH_NO_SUCH_TOKEN"', "is not set"),
    ],
)
def test_descriptions_that_cannot_be_used_are_refused(text: str, words: str, files: Path, tmp_path: Path) -> None:
    (tmp_path / "any.pt2").write_bytes((files / "any.pt2").read_bytes())
    (tmp_path / "bell.txt").write_text("cat\nd\x07g\nowl\nfox\n")
    (tmp_path / "loop.toml").write_text(text)
    with pytest.raises(InputError, match=words):
        load_victim(str(tmp_path / "loop.toml"))


# --- endpoints --------------------------------------------------------------------------------------------------------


@pytest.fixture
def product(monkeypatch) -> Iterator[str]:
    """The address of the product, on loopback."""
    monkeypatch.setattr(endpoints.client, "_BACKOFF_S", 0.01)
    with served() as address:
        yield address


def quantised(victim: Victim) -> torch.Tensor:
    """The network's own confidences for the 8-bit pictures that an endpoint receives."""
    images = (torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 255).round() / 255
    with torch.no_grad():
        return victim.confidences(victim.scores(images))


@pytest.mark.parametrize("path", ["logits", "probabilities", "best"])
@pytest.mark.parametrize("encoding", ["json", "multipart"])
def test_an_endpoint_answers_as_the_network_behind_it(
    path: str, encoding: str, product: str, files: Path, monkeypatch
) -> None:
    monkeypatch.setenv("PRODUCT_TOKEN", "s3cret")
    own = Victim.wrap(ColourNet(), size=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    labels = 'labels = "labels.txt"\n' if path == "best" else ""
    (files / "product.toml").write_text(
        f'{labels}[preprocessing]\nsize = 32\n[endpoint]\nurl = "{product}/{path}?key=hidden"\nencoding = "{encoding}"\n'
        'batch = 2\ntoken_env = "PRODUCT_TOKEN"\n'
    )
    victim = load_victim(str(files / "product.toml"))
    assert victim.categories == CATEGORIES and not victim.differentiable
    Product.sizes.clear()
    torch.testing.assert_close(answers(victim), quantised(own), atol=1e-3, rtol=1e-2)
    assert Product.sizes == [2, 2, 1] and set(Product.tokens) == {"Bearer s3cret"}
    assert "s3cret" not in repr(victim) and "hidden" not in victim.weights.source


def test_a_busy_endpoint_is_asked_again_and_the_queries_are_counted(product: str) -> None:
    victim = load_victim(f"{product}/logits", say=lambda _: None)
    before = victim.queries
    assert before == Queries(2, 3)  # one picture to ask for labels, two to see the form of its answers
    Product.busy = 2
    with torch.no_grad():
        assert victim.scores(torch.rand(3, 3, 32, 32)).shape == (3, 4)
    assert victim.queries == Queries(5, 12)  # each of the three attempts is a request


def test_the_rate_of_requests_is_kept(product: str) -> None:
    client = endpoints.Client(endpoints.Endpoint(f"{product}/logits", requests_per_s=20), None)
    started = time.monotonic()
    for _ in range(4):
        client.predict(np.zeros((1, 3, 32, 32), np.float32))
    assert time.monotonic() - started >= 0.15


def test_endpoints_that_do_not_answer_as_documented(product: str) -> None:
    quiet = {"say": lambda _: None}
    for path, words in {
        "text": "is not JSON",
        "short": r"not as documented: logits\[0\] has 2 numbers for 4 labels",
        "best": "names only its best classes; give all classes with --labels",
    }.items():
        with pytest.raises(InputError, match=words):
            load_victim(f"{product}/{path}", **quiet)
    with pytest.raises(
        UnavailableError, match=r"answers with status 302 \(Found\), to /logits; pictures are sent to no other"
    ):
        load_victim(f"{product}/away", **quiet)
    with pytest.raises(UnavailableError, match=r"answers with status 401 .*; it may want a token: token_env"):
        load_victim(f"{product}/locked", **quiet)
    with pytest.raises(InputError, match=r"has one class, 'x'; expected the scores of two or more"):
        load_victim(f"{product}/one", **quiet)
    Product.busy = 100
    with pytest.raises(UnavailableError, match=r"answers with status 503 .* in each of 5 attempts"):
        load_victim(f"{product}/logits", **quiet)
    Product.busy = 0
    slow = endpoints.Client(endpoints.Endpoint(f"{product}/slow", timeout_s=0.2, retries=0), None)
    with pytest.raises(UnavailableError, match="does not answer"):
        slow.predict(np.zeros((1, 3, 32, 32), np.float32))
    with pytest.raises(UnavailableError, match="does not answer"):
        load_victim("http://127.0.0.1:9/predict", **quiet)


# --- hostile files ----------------------------------------------------------------------------------------------------


def rewritten(file: Path, out: Path, change) -> Path:
    """Copy the archive of torch, with ``change(name, content)`` for each record; None leaves one out."""
    archive = torch._C.PyTorchFileReader(str(file))
    writer = torch._C.PyTorchFileWriter(str(out))
    for name in archive.get_all_records():
        if name.startswith(".data/") or name in ("byteorder", "version"):
            continue
        content = change(name, archive.get_record(name))
        if content is not None:
            writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    return out


def pickled(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def test_hostile_programs_of_torch_export_are_refused(files: Path, tmp_path: Path) -> None:
    witness = tmp_path / "was_run"
    call = f"__import__('pathlib').Path('{witness}').touch()"

    def in_json(where: str, old: str, new: str):
        return lambda name, content: content.replace(old.encode(), new.encode()) if name.startswith(where) else content

    def sample(name: str, content: bytes) -> bytes:
        return pickled((Witness(witness),)) if name.startswith("data/sample_inputs") else content

    def weights(name: str, content: bytes) -> bytes:
        if name.endswith("weights/model_weights_config.json"):
            return content.replace(b'"use_pickle":false', b'"use_pickle":true').replace(
                b'"use_pickle": false', b'"use_pickle": true'
            )
        return pickled(Witness(witness)) if "weights/weight_" in name else content

    for name, change, words in (
        ("sample", sample, "pickle of more than tensors"),
        ("weights", weights, "pickles among the weights"),
        ("call", in_json("models/", "torch.ops.aten.relu.default", "torch.os.system"), r"calls torch\.os\.system"),
        ("evaluate", in_json("models/", "integer=True)", f"integer=True) + {call}"), "it evaluates"),
    ):
        hostile = rewritten(files / "any.pt2", tmp_path / f"{name}.pt2", change)
        with pytest.raises(InputError, match=f"could run code: .*{words}.*--trust-weights"):
            load_victim(str(hostile))
    assert not witness.exists()
    same = rewritten(files / "any.pt2", tmp_path / "same.pt2", lambda _, content: content)
    assert len(load_victim(str(same)).categories) == 4  # the copy itself is no obstacle


def test_a_program_that_is_another_to_another_reader_is_refused(files: Path, tmp_path: Path) -> None:
    """One end of the archive for torch's reader, which begins at the offset there, and one for Python's, which goes by size."""
    witness = tmp_path / "was_run"
    former = {
        "version": b"8.20",
        "serialized_exported_program.json": b"{}",
        "serialized_state_dict.pt": pickled(Witness(witness)),
        "serialized_constants.pt": pickled({}),
        "serialized_example_inputs.pt": pickled(()),
    }
    parts = []
    harmless_files = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little", "version": b"3"}
    padded = {f"x/{name}": content for name, content in harmless_files.items()}
    for entries in ({**padded, "x/padding": b" " * 200_000}, former):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        content = stream.getvalue()
        size, start = struct.unpack("<II", content[-10:-2])
        parts.append((content[:start], content[start : start + size]))
    (harmless, listed), (hostile, other) = parts
    most = max(len(listed), len(other))
    listed, other = (_longer(directory, most) for directory in (listed, other))
    moved, shift = bytearray(other), len(hostile) + len(listed)
    for match in re.finditer(re.escape(b"PK\1\2"), other):
        (offset,) = struct.unpack_from("<I", other, match.start() + 42)
        struct.pack_into("<I", moved, match.start() + 42, len(harmless) + len(listed) + offset - shift)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 5, 5, most, len(harmless), 0)
    file = tmp_path / "two.pt2"
    file.write_bytes(harmless + listed + hostile + bytes(moved) + end)
    assert "version" in zipfile.ZipFile(file).namelist()
    assert "padding" in torch._C.PyTorchFileReader(str(file)).get_all_records()
    with pytest.raises(InputError, match=r"before PyTorch 2\.8, of pickles"):
        load_victim(str(file))
    assert not witness.exists()


def _longer(directory: bytes, size: int) -> bytes:
    """Fill the comment of an archive's last entry."""
    last = directory.rfind(b"PK\1\2")
    more = size - len(directory)
    return directory[: last + 32] + struct.pack("<H", more) + directory[last + 34 :] + bytes(more)


def test_torchscript_that_reaches_files_is_refused(files: Path, tmp_path: Path) -> None:
    class Writes(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.from_file("/etc/hostname", False, 1) + images.mean(dim=(2, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Writes()).save(tmp_path / "writes.pt")
    with pytest.raises(InputError, match=r"calls torch\.from_file, which may reach files; .*--trust-weights"):
        load_victim(str(tmp_path / "writes.pt"))


@pytest.mark.parametrize("suffix", ["pt2", "torchscript", "onnx", "toml"])
def test_files_that_are_something_else_are_refused(suffix: str, tmp_path: Path) -> None:
    witness = tmp_path / "was_run"
    torch.save(Witness(witness), tmp_path / f"pickle.{suffix}")
    (tmp_path / f"text.{suffix}").write_text("hello")
    (tmp_path / f"empty.{suffix}").touch()
    for name in ("pickle", "text", "empty", "gone"):
        with pytest.raises(InputError, match=rf"{name}\.{suffix}"):
            load_victim(str(tmp_path / f"{name}.{suffix}"))
    assert not witness.exists()


def test_a_package_that_is_missing_names_its_extra() -> None:
    with pytest.raises(UnavailableError, match=r"needs no_such_package .*pip install 'physpatch\[timm\]'"):
        extras.import_extra("no_such_package", "timm")


# --- through the commands ---------------------------------------------------------------------------------------------


def test_the_catalogue_says_what_each_can_do(command) -> None:
    shown = {entry.name: (entry.gradients, entry.heat) for entry in catalogue()}
    assert shown["HTTP(S)://HOST/PATH"] == (False, False) and shown["FILE.torchscript"] == (True, False)
    assert shown["timm:NAME"] == shown["FILE.pt2"] == shown["FILE.onnx"] == shown["clip:NAME"] == (True, True)
    tasks = {entry.name: entry.task for entry in catalogue()}
    for name in ("PACKAGE.MODULE:FUNCTION", "FILE.toml", "FILE.onnx", "HTTP(S)://HOST/PATH"):
        assert tasks[name] == "either", name  # test_exported_detectors loads detectors by each
    out = command("models").out
    assert "gradients" in out and "heat" in out and "FILE.onnx" in out
