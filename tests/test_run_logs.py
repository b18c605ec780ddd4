"""Logs for other tools: what was written, read back by the tools' own readers; nothing leaves the machine."""

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calibration.common.errors import InputError, UnavailableError
from calibration.common.registry import declared_names
from physpatch.records.run_logs import LOGS, open_logs, require_logs
from physpatch.records.run_logs.values import flat_settings, rate_values
from physpatch.stats.rates import Rate

SETTINGS = {"victim.model": "tiny", "optimisation.steps": 3, "rig": None, "long": "x" * 900}
RESULTS = {"tiny/target_first": 0.5, "tiny/target_first_low": 0.25, "tiny/target_first_high": 0.75}


@pytest.fixture
def patch(tmp_path: Path) -> Path:
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "patch.png")
    return tmp_path / "patch.png"


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A proxy that collects the first bytes of whatever would leave the machine, of child processes too."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    heard.append(client.recv(200))

        threading.Thread(target=listen, daemon=True).start()
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            for spelled in (name, name.lower()):
                monkeypatch.setenv(spelled, f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        yield heard
        server.shutdown(socket.SHUT_RDWR)


def log_something(name: str, folder: Path, patch: Path) -> None:
    with open_logs([name], folder, "a run") as log:
        log.parameters(SETTINGS)
        for step in (1, 2, 3):
            log.metrics({"loss": 4.0 - step, "success": step / 4}, step)
        log.results(RESULTS)
        log.picture("patch", patch)
        log.picture("gone", folder / "gone.png")  # is not there


def go_on(name: str, folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_logs([name], folder, "a run", step=3) as log:
        log.parameters(SETTINGS)
        log.metrics({"loss": 0.5, "success": 1.0}, 4)
        raise KeyboardInterrupt


def tensorboard_scalars(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return read


def test_tensorboard(tmp_path: Path, patch: Path) -> None:
    log_something("tensorboard", tmp_path, patch)
    go_on("tensorboard", tmp_path)
    read = tensorboard_scalars(tmp_path / "tensorboard")
    assert [(s.step, s.value) for s in read.Scalars("loss")] == [(1, 3), (2, 2), (3, 1), (4, 0.5)]
    assert read.Scalars("final/tiny/target_first_high")[0].value == 0.75
    (shown,) = read.Images("patch")
    assert (shown.width, shown.height) == (8, 8)
    assert "victim.model | tiny" in read.Tensors("a run/parameters/text_summary")[0].tensor_proto.string_val[0].decode()


def test_mlflow(tmp_path: Path, patch: Path, outside: list[bytes], monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://192.0.2.1:5000")  # a server set elsewhere
    folder = tmp_path / "all runs"
    log_something(f"mlflow={folder}", tmp_path, patch)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("physpatch")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("a run", "FINISHED")
    assert run.data.params["victim.model"] == "tiny" and len(run.data.params["long"]) == 500
    assert run.data.metrics["tiny/target_first_low"] == 0.25
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [(1, 3), (2, 2), (3, 1)]
    (artifact,) = client.list_artifacts(run.info.run_id)
    assert artifact.path == "patch.png" and list((folder / "artifacts").rglob("patch.png"))
    go_on(f"mlflow={folder}", tmp_path)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED" and run.data.metrics["loss"] == 0.5
    assert outside == [] and not (tmp_path / "mlflow").exists()


def wandb_records(run: Path) -> list[Any]:
    """Read an offline run by wandb's own messages, which lie in blocks of LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = run.glob("*.wandb")
    content, at, whole, records = file.read_bytes(), 7, b"", []
    while at + 7 <= len(content):
        if 2**15 - at % 2**15 < 7:  # too little for a header: the block is padded
            at += 2**15 - at % 2**15
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if len(content) < at:  # still being written
            break
        if kind in (1, 4):  # whole, or its last part
            records.append(Record.FromString(whole))
            whole = b""
    return records


def finished_wandb_records(run: Path) -> list[Any]:
    """Wait for the record of the end: wandb's process writes its file after `finish` has returned."""
    until = time.monotonic() + 60
    while not (records := wandb_records(run)) or records[-1].WhichOneof("record_type") != "exit":
        assert time.monotonic() < until, "the run's file has no end"
        time.sleep(0.05)
    return records


def wandb_values(items: Any) -> dict[str, Any]:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def test_wandb(tmp_path: Path, patch: Path, outside: list[bytes], monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    for kind in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{kind}_DIR", str(tmp_path / "of-wandb"))
    log_something("wandb", tmp_path, patch)
    (run,) = (tmp_path / "wandb/wandb").glob("offline-run-*")
    records = finished_wandb_records(run)
    steps = [wandb_values(record.history.item) for record in records if record.WhichOneof("record_type") == "history"]
    assert [row["loss"] for row in steps if "loss" in row] == [3, 2, 1]
    config = wandb_values(item for r in records for item in (*r.run.config.update, *r.config.update))
    assert config["victim.model"] == "tiny" and config["rig"] is None
    summary = wandb_values(item for record in records for item in record.summary.update)
    assert summary["tiny/target_first"] == 0.5
    assert list(run.rglob("media/images/*.png"))
    go_on("wandb", tmp_path)
    parts = [finished_wandb_records(part) for part in (tmp_path / "wandb/wandb").glob("offline-run-*")]
    ids = {record.run.run_id for part in parts for record in part if record.WhichOneof("record_type") == "run"}
    assert len(parts) == 2 and len(ids) == 1  # synchronised as one
    assert outside == []


def test_logs_that_are_not_there(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(InputError, match="unknown log 'mlfow'; did you mean 'mlflow'"):
        require_logs(["tensorboard", "mlfow=x"])
    assert (
        set(declared_names("physpatch.records.run_logs", "physpatch.run_logs"))
        == {*LOGS}
        == {
            "mlflow",
            "tensorboard",
            "wandb",
        }
    )

    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("calibration.common.extras.import_module", missing)
    for name in ("mlflow", "wandb"):
        with pytest.raises(UnavailableError, match=rf"--log {name} needs .*pip install 'physpatch\[{name}\]'"):
            require_logs([name])


def test_values_are_flat() -> None:
    assert flat_settings({"a": {"b": 1, "c": {}}, "d": (1, 2), "e": None}) == {"a.b": 1, "d": "(1, 2)", "e": None}
    assert rate_values("x", Rate(0.5, (0.25, 0.75), 8)) == {"x": 0.5, "x_low": 0.25, "x_high": 0.75, "x_n": 8}
    assert rate_values("x", Rate(0.5, None, 8)) == {"x": 0.5, "x_n": 8}  # of a single clip
    assert rate_values("x", Rate(None, None, 0)) == {}
