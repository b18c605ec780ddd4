"""Files of models that reach for other files, claim absurd sizes or hold code: each is refused, and nothing runs."""

import json
import pickle
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import save_clip, save_program
from support import ColourNet

from calibration.common.errors import InputError
from physpatch.victims.registry import load_victim

WEIGHTS = np.arange(12, dtype=np.float32)


class Witness:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def header(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def entry(shape: list[int], offsets: list[int], kind: str = "F32") -> bytes:
    return header(json.dumps({"logit_scale": {"dtype": kind, "shape": shape, "data_offsets": offsets}}).encode())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("long header", struct.pack("<Q", 2**60) + b"{}"),
        ("header of no length", struct.pack("<Q", 0)),
        ("more numbers than memory", entry([2**40, 2**20], [0, 2**62])),
        ("numbers beyond the end", entry([4], [0, 16]) + b"1234"),
        ("backward offsets", entry([1], [4, 0]) + b"1234"),
        ("negative length", entry([-1], [0, 4]) + b"1234"),
        ("unknown type", entry([1], [0, 4], "Q9") + b"1234"),
        ("deep header", header(b"[" * 50_000 + b"]" * 50_000)),
    ],
)
def test_clip_weights_with_an_absurd_header_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    save_clip(tmp_path)
    (tmp_path / "names.txt").write_text("cat\ndog")
    (tmp_path / "hostile.safetensors").write_bytes(content)
    started = time.monotonic()
    with pytest.raises(InputError, match=r"hostile\.safetensors is not a plain weights file"):
        load_victim("clip:physpatch-tiny", weights=tmp_path / "hostile.safetensors", labels=tmp_path / "names.txt")
    assert time.monotonic() - started < 30, name


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_clip_weights_with_code_are_refused(form: str, command, tmp_path: Path) -> None:
    save_clip(tmp_path)
    witness = tmp_path / "was_run"
    (tmp_path / "names.txt").write_text("cat\ndog")
    if form == "torch":
        torch.save({"logit_scale": Witness(witness)}, tmp_path / "hostile.pth")
    else:
        (tmp_path / "hostile.pth").write_bytes(pickle.dumps(Witness(witness)))
    options = ("--weights", tmp_path / "hostile.pth", "--labels", tmp_path / "names.txt")
    done = command("models", "--check", "clip:physpatch-tiny", *options)
    done.assert_refused("hostile.pth is not a plain weights file: it holds more than tensors", "--trust-weights")
    assert not witness.exists() and "randomly" not in done.err
    pickle.loads(pickle.dumps(Witness(witness)))
    assert witness.exists()  # the witness itself is one


def save_external(file: Path, location: str, shape: tuple[int, int] = (3, 4), **more: str) -> None:
    """Write an ONNX classifier whose weights are said to be in another file."""
    from onnx import TensorProto, helper

    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    weights.dims.extend(shape)
    for key, value in {"location": location, **more}.items():
        weights.external_data.add(key=key, value=value)
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["out"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 32, 32])
    answer = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", shape[1]])
    graph = helper.make_graph(nodes, "graph", [images], [answer], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with weights in a file of their own, beside one with others."""
    inside = tmp_path / "inside"
    inside.mkdir()
    WEIGHTS.tofile(inside / "w.bin")
    WEIGHTS.tofile(tmp_path / "outside.bin")
    (inside / "link.bin").symlink_to(tmp_path / "outside.bin")
    monkeypatch.chdir(inside)
    return inside


def test_weights_of_onnx_in_a_file_of_their_own_have_gradients_too(folder: Path) -> None:
    """Torch's newer exporter writes them so."""
    save_external(folder / "fine.onnx", "w.bin", offset="0", length="48")
    said: list[str] = []
    victim = load_victim(str(folder / "fine.onnx"), say=said.append)
    assert victim.differentiable and not said
    image = torch.rand(1, 3, 32, 32)
    plain = victim.preprocessing.normalise(image).mean(dim=(2, 3)) @ torch.from_numpy(WEIGHTS).view(3, 4)
    torch.testing.assert_close(victim.scores(image), plain, atol=1e-4, rtol=1e-4)
    WEIGHTS[::-1].tofile(folder / "w.bin")  # other weights are another model
    assert load_victim(str(folder / "fine.onnx"), say=said.append).weights.sha256 != victim.weights.sha256


@pytest.mark.parametrize(
    ("location", "more", "words"),
    [
        ("../outside.bin", {}, "escapes model directory"),
        ("../" * 20 + "etc/passwd", {}, "escapes model directory"),
        ("/etc/passwd", {}, "Absolute path not allowed"),
        ("link.bin", {}, "escapes model directory"),
        ("/dev/zero", {}, "Absolute path not allowed"),
        ("gone.bin", {}, "does not exist.*gone.bin"),
        ("w.bin", {"offset": "0", "length": str(2**62)}, "size mismatch"),
        ("w.bin", {"offset": str(2**62)}, "out of bounds"),
        ("w.bin", {"offset": "-8"}, "out of bounds"),
    ],
)
def test_onnx_weights_outside_of_the_folder_or_the_file_are_refused(
    location: str, more: dict[str, str], words: str, folder: Path
) -> None:
    save_external(folder / "hostile.onnx", location, **more)
    with pytest.raises(InputError, match=f"keeps weights in another file, which must lie in its folder.*{words}"):
        load_victim("hostile.onnx", say=lambda _: None)


def test_onnx_weights_of_an_absurd_size_are_refused_before_memory_is_taken(folder: Path, command) -> None:
    import resource

    save_external(folder / "hostile.onnx", "w.bin", (3, 2**40))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = command("models", "--check", "hostile.onnx")
    done.assert_refused("hostile.onnx keeps weights in another file", "given file_length: 48")
    assert "tensorprotoutils" not in done.err and "[ONNX" not in done.err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # kilobytes
    assert Path("w.bin").stat().st_size == WEIGHTS.nbytes


@pytest.mark.parametrize("suffix", ["pt2", "torchscript"])
def test_damaged_programs_are_refused_without_advice_to_those_who_build_torch(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"cut.{suffix}"
    save_program(ColourNet(), file, 32)
    for content in (file.read_bytes()[:700], b""):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"that can be read \(.*archive.*\)$") as refusal:
            load_victim(str(file))
        assert "miniz" not in str(refusal.value)
