"""MLflow, in a SQLite file with its pictures beside it."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from calibration.common.extras import import_extra
from physpatch.records.run_logs.base import Parameter, RunLog

_EXPERIMENT = "physpatch"
_TITLE_TAG = "physpatch.title"
_MOST_AT_ONCE = 100  # metrics, and settings, that MLflow takes in one batch is 1000 and 100
_LONGEST = 500


class MlflowLog(RunLog):
    """Write to ``mlflow.db``, with a client of its own, so that no tracking server set elsewhere is used."""

    name: ClassVar[str] = "mlflow"
    summary: ClassVar[str] = "mlflow.db, for `mlflow ui --backend-store-uri sqlite:///…/mlflow.db` (extra mlflow)"

    @classmethod
    def require(cls) -> None:
        """Check that mlflow is installed, with what its SQLite store needs."""
        _mlflow()

    def __init__(self, folder: Path, title: str, step: int = 0) -> None:
        """Open the store, and a run in it: a new one, or the one that goes on."""
        mlflow = _mlflow()
        folder.mkdir(parents=True, exist_ok=True)
        self._entities = mlflow.entities
        self._client = mlflow.MlflowClient(
            tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", registry_uri=f"sqlite:///{folder / 'mlflow.db'}"
        )
        stored_experiment = self._client.get_experiment_by_name(_EXPERIMENT)
        experiment = (
            stored_experiment.experiment_id
            if stored_experiment is not None
            else self._client.create_experiment(_EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
        )
        tag = title.replace("'", " ")  # it is quoted in the search
        before = self._before(experiment, tag) if step else None
        self._run = before or self._client.create_run(experiment, run_name=title, tags={_TITLE_TAG: tag}).info.run_id
        self._waiting: list[Any] = []

    def parameters(self, values: Mapping[str, Parameter]) -> None:
        """Log settings, shortened where they are long; those of a run that goes on are there already."""
        logged_params = self._client.get_run(self._run).data.params
        params = [self._entities.Param(k, str(v)[:_LONGEST]) for k, v in values.items() if k not in logged_params]
        for first in range(0, len(params), _MOST_AT_ONCE):
            self._client.log_batch(self._run, params=params[first : first + _MOST_AT_ONCE])

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep the numbers of a step until there are enough for a batch."""
        now = int(1000 * time.time())
        self._waiting += [self._entities.Metric(_key(name), value, now, step) for name, value in values.items()]
        if len(self._waiting) >= _MOST_AT_ONCE:
            self._flush()

    def results(self, values: Mapping[str, float]) -> None:
        """Log final numbers."""
        self.metrics(values, 0)
        self._flush()

    def picture(self, name: str, file: Path) -> None:
        """Copy a picture to the artefacts."""
        self._client.log_artifact(self._run, str(file))

    def close(self, *, finished: bool) -> None:
        """Write the last batch and end the run."""
        self._flush()
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")

    def _before(self, experiment: str, tag: str) -> str | None:
        runs = self._client.search_runs([experiment], f"tags.`{_TITLE_TAG}` = '{tag}'", max_results=1)
        return runs[0].info.run_id if runs else None

    def _flush(self) -> None:
        if self._waiting:
            self._client.log_batch(self._run, metrics=self._waiting)
            self._waiting = []


def _mlflow() -> Any:
    # Read when it is imported: it would report its use to its makers.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
    for package in ("sqlalchemy", "alembic"):
        import_extra(package, "mlflow", "--log mlflow")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    mlflow = import_extra("mlflow", "mlflow", "--log mlflow")
    for name in ("mlflow.store.db.utils", "mlflow.store.sqlalchemy", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


def _key(name: str) -> str:
    """Spell a name with the characters that MLflow allows."""
    return "".join(letter if letter.isalnum() or letter in "_-. :/" else "_" for letter in name)
