"""``session.json``: what a session looked with and for, and what became of every frame."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PlainSerializer

from calibration.camera.intrinsics import Intrinsics
from calibration.common.records import Record, RecordPart
from captures.protocol.plan import Protocol

SESSION_FILE = "session.json"


class SessionModel(RecordPart):
    """A network that looked at the frames.

    Attributes:
        name: as in the rows; of a defended one ``model+defence``.
        task: classify or detect.
        source: where the weights came from.
        sha256: of the weights.
        defence: the defence that it was behind, if any.
    """

    name: str
    task: str
    source: str
    sha256: str
    defence: str | None = None


class SessionSheet(RecordPart):
    """A printed sheet that could be recognised.

    Attributes:
        kind: patch, or the control that it shows.
        id: of the patch or control on it.
        size_mm: width of the patch.
    """

    kind: str
    id: str
    size_mm: float


class Delay(RecordPart):
    """Seconds from capture to answer."""

    mean: float
    longest: float


class PlannedStep(RecordPart):
    """One thing that was to be shown, see :class:`captures.protocol.plan.Step`."""

    number: int
    condition: str
    distance_m: float
    yaw_deg: float
    light: str | None
    repeat: int


class PlanRecord(RecordPart):
    """What was to be shown, see :class:`captures.protocol.plan.Protocol`, with its steps in the order that was drawn."""

    conditions: list[str]
    distances_m: list[float]
    yaws_deg: list[float]
    lights: list[str] = Field(default_factory=list)
    repeats: int = 1
    seconds: float = 3.0
    distance_tolerance: float = 0.15
    yaw_tolerance_deg: float = 10.0
    seed: int = 0
    steps: list[PlannedStep] = Field(default_factory=list)

    @classmethod
    def of(cls, protocol: Protocol | None) -> "PlanRecord | None":
        """Write a plan down."""
        return None if protocol is None else cls.model_validate(protocol.to_dict())

    @property
    def protocol(self) -> Protocol:
        """The plan.

        Raises:
            InputError: a value that cannot be.
        """
        return Protocol.from_dict(self.to_dict())


class SessionRecord(Record):
    """What ``session.json`` holds. Paths are seen from the session's folder. Nothing is required: rows are worth reading alone.

    Attributes:
        physpatch_session: the number of the format of before there was ``version``.
        begun: the local time, ISO 8601.
        target: name of the class aimed at; None for an untargeted patch.
        label: the class truly before the camera, where the person said so.
        light: the name of the light at the beginning.
        region: what the classifier saw of a frame.
        every, max_fps: which frames were analysed: one of so many, at most so many a second.
        keep: which frames were kept as they came: all, none, key, or one of so many.
        models: the networks.
        device: in words.
        sheets: the printed sheets that could be recognised.
        intrinsics: of the camera; None where a typical field of view was assumed.
        intrinsics_assumed: whether they come from a guessed field of view.
        versions: of physpatch and of what its numbers depend on.
        plan: what was to be shown, step by step.
        source: where the frames came from, as the person named it.
        camera: what was asked of the camera.
        virtual: whether the virtual rig made the frames.
        run, sheet: the run's folder, or its patch.json, and the printed PDF.
        status: recording, ended, stopped by the person, interrupted or failed; empty where the record was lost.
        captured, frames, frames_while_paused, dropped, passed_over: frames that came, were analysed, came while nothing was
            recorded, came while the models were busy, were left out by ``every`` and ``max_fps``.
        seconds: how long it took.
        gaps, gap_seconds: how often the camera was lost, and for how long altogether.
        delay_s: None where frames do not tell when they were captured.
        steps_done, steps_skipped: numbers of the plan's steps; None without a plan.
    """

    what: ClassVar[str] = "record of a session"
    cure: ClassVar[str] = "restore it from a copy, or remove it: the rows are in session.db"
    current: ClassVar[int] = 3

    physpatch_session: Literal[1, 2] = 2
    begun: str = ""
    target: str | None = None
    label: str | None = None
    light: str | None = None
    region: str = ""
    every: int = 1
    max_fps: float | None = None
    keep: int | str = "key"
    models: list[SessionModel] = Field(default_factory=list)
    device: str = ""
    sheets: list[SessionSheet] = Field(default_factory=list)
    intrinsics: Annotated[Intrinsics, PlainSerializer(Intrinsics.to_dict)] | None = None
    intrinsics_assumed: bool = False
    versions: dict[str, str] = Field(default_factory=dict)
    plan: PlanRecord | None = None
    source: str | None = None
    camera: dict[str, str] = Field(default_factory=dict)
    virtual: bool = False
    run: str | None = None
    sheet: str | None = None
    status: str = ""
    captured: int | None = None
    frames: int | None = None
    frames_while_paused: int | None = None
    dropped: int | None = None
    passed_over: int | None = None
    seconds: float | None = None
    gaps: int | None = None
    gap_seconds: float | None = None
    delay_s: Delay | None = None
    steps_done: list[int] | None = None
    steps_skipped: list[int] | None = None

    @property
    def protocol(self) -> Protocol | None:
        """What was to be shown; None without a plan."""
        return None if self.plan is None else self.plan.protocol

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read the record of a session's folder, see :meth:`load`; an empty one where it was lost."""
        path = folder / SESSION_FILE
        return cls.load(path) if path.is_file() else cls()
