"""``session.json``: the settings of a session, and its frame counts."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PlainSerializer

from calibration.camera.intrinsics import Intrinsics
from calibration.common.records import Record, RecordPart
from captures.protocol.plan import Protocol

SESSION_FILE = "session.json"


class SessionModel(RecordPart):
    """A network that analysed the frames.

    Attributes:
        name: as in the rows; ``model+defence`` for a defended model.
        task: classify or detect.
        source: of the weights.
        sha256: of the weights.
        defence: in front of the model; None for none.
        loaded_as: the name, file or address by which it was loaded; empty in sessions that do not record it.
        loaded_with: the options with which it was loaded: ``weights``, ``labels`` and ``cam_layer``, as far as it took any.
        threshold: the lowest confidence at which its answers counted; None for a classifier whose top class always did, and in
            sessions that do not record it.
    """

    name: str
    task: str
    source: str
    sha256: str
    defence: str | None = None
    loaded_as: str = ""
    loaded_with: dict[str, str] = Field(default_factory=dict)
    threshold: float | None = None

    @property
    def alone(self) -> str:
        """Return the name of the same model without its defence."""
        return self.name.removesuffix(f"+{self.defence}") if self.defence else self.name


class SessionSheet(RecordPart):
    """A printed sheet that the session can recognise.

    Attributes:
        kind: ``patch``, or the name of a control.
        id: of the patch or control on the sheet.
        size_mm: width of the patch.
        scale: of the print, across and down; None where it was not recorded.
    """

    kind: str
    id: str
    size_mm: float
    scale: tuple[float, float] | None = None


class Continuation(RecordPart):
    """A part of a session that was filmed after the session had ended.

    Attributes:
        begun: the local time, ISO 8601.
        after_frame: number of the last frame before it.
        time_s: when it begins, in seconds of the session, which do not count the pause.
    """

    begun: str
    after_frame: int
    time_s: float


class Reanalysis(RecordPart):
    """Where the frames of a session come from that were not filmed, but analysed again.

    Attributes:
        session: folder of the session that was filmed, relative to this one.
        frames: number of its frames.
        whole: number of frames that were kept without loss.
        lossy: number of frames that were kept as JPEG, whose results can differ slightly from those of the camera's frames.
            The others were not kept, and so are missing here.
    """

    session: str
    frames: int
    whole: int
    lossy: int

    @property
    def in_words(self) -> str:
        """Return how many frames were analysed again, and how exactly."""
        kept_count = self.whole + self.lossy
        exact = (
            "exactly"
            if kept_count == self.whole
            else f"{self.whole} exactly, {self.lossy} from JPEG, which loses a little"
        )
        missing = "" if kept_count == self.frames else f"; {self.frames - kept_count} were not kept"
        return f"{kept_count} of {self.frames} frames of {self.session}, {exact}{missing}"


class Delay(RecordPart):
    """Seconds from capture to result."""

    mean: float
    longest: float


class PlannedStep(RecordPart):
    """A step of a plan; see :class:`captures.protocol.plan.Step`."""

    number: int
    condition: str
    distance_m: float
    yaw_deg: float
    light: str | None
    repeat: int


class PlanRecord(RecordPart):
    """A plan with its steps in their random order; see :class:`captures.protocol.plan.Protocol`."""

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
        """Create the record of a plan; None for None."""
        return None if protocol is None else cls.model_validate(protocol.to_dict())

    @property
    def protocol(self) -> Protocol:
        """Return the plan.

        Raises:
            InputError: an invalid value.
        """
        return Protocol.from_dict(self.to_dict())


class RigRecord(RecordPart):
    """What a rig's frames can be made again from, with the scene and the version of physpatch."""

    seed: int
    clips: int
    frames_per_clip: int


class SessionRecord(Record):
    """The content of ``session.json``. Paths are relative to the session's folder.

    No field is required, because a session can be read without its record.

    Attributes:
        physpatch_session: the format's number from before ``version`` existed.
        begun: the local time, ISO 8601.
        target: name of the target class; None for an untargeted patch.
        label: the true class, if the user gave it.
        light: name of the light at the beginning.
        region: the part of a frame that the classifier saw.
        every, max_fps: one of ``every`` frames was analysed, and at most ``max_fps`` per second.
        keep: the original frames that were kept: ``all``, ``whole`` (all, without loss), ``none``, ``key``, or a number to
            keep one of so many.
        models: the networks that analysed the frames.
        device: description of the device that ran the networks.
        sheets: the printed sheets that the session can recognise.
        intrinsics: of the camera; None if a typical field of view was assumed.
        intrinsics_assumed: whether the field of view was assumed.
        hfov_deg: the horizontal field of view, if the user gave it.
        undistorted: whether the classifier saw frames without the lens's distortion.
        versions: of physpatch and of the packages that affect its results.
        plan: the conditions to show, step by step; None without a plan.
        source: of the frames, as the user gave it.
        camera: settings requested from the camera.
        virtual: whether a rig computed the frames: the rendered one if there is a ``scene``, or else the virtual one.
        rig: the seed of a rig, and how often and how long it showed each sheet; None for other sources.
        scene: the scene of the rendered rig, by name or file.
        scene_settings: what the file of that scene said, as a file may change later; entries that it left out had the defaults
            of that version of physpatch.
        scenes: the number of each clip's scene, if the source chose them; empty where nothing is known of them.
        files: the names of a folder's pictures, in the order in which they are shown; empty for other sources.
        run, sheet: the run's folder, or its patch.json, and the printed PDF.
        status: ``recording``, ``ended``, ``stopped by the person``, ``interrupted`` or ``failed``; empty without a record.
        captured: number of frames from the source.
        frames: number of analysed frames.
        frames_while_paused: number of frames during pauses.
        dropped: number of frames during which the models were busy.
        passed_over: number of frames left out by ``every`` and ``max_fps``.
        unreadable: number of stills that could not be read.
        seconds: duration of the session.
        gaps, gap_seconds: how often the camera was lost, or a stretch of a video could not be decoded, and for how long in
            total.
        delay_s: from capture to result; None if the frames have no capture times.
        steps_done, steps_skipped: numbers of these steps of the plan; None without a plan.
        continued: the parts that were filmed after the session had ended.
        reanalysis: of another session's frames; None for a session that was filmed.
    """

    what: ClassVar[str] = "record of a session"
    cure: ClassVar[str] = "restore it from a backup, or correct or delete it: the rows are in session.db"
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
    hfov_deg: float | None = None
    undistorted: bool = False
    versions: dict[str, str] = Field(default_factory=dict)
    plan: PlanRecord | None = None
    source: str | None = None
    camera: dict[str, str] = Field(default_factory=dict)
    virtual: bool = False
    rig: RigRecord | None = None
    scene: str = ""
    scene_settings: dict[str, Any] = Field(default_factory=dict)
    scenes: list[int] = Field(default_factory=list)
    files: list[str] = Field(default_factory=list)
    run: str | None = None
    sheet: str | None = None
    status: str = ""
    captured: int | None = None
    frames: int | None = None
    frames_while_paused: int | None = None
    dropped: int | None = None
    passed_over: int | None = None
    unreadable: int | None = None
    seconds: float | None = None
    gaps: int | None = None
    gap_seconds: float | None = None
    delay_s: Delay | None = None
    steps_done: list[int] | None = None
    steps_skipped: list[int] | None = None
    continued: list[Continuation] = Field(default_factory=list)
    reanalysis: Reanalysis | None = None

    @property
    def protocol(self) -> Protocol | None:
        """Return the plan; None without a plan."""
        return None if self.plan is None else self.plan.protocol

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read the record in a session's folder; return an empty one if it is missing. See :meth:`load`."""
        path = folder / SESSION_FILE
        return cls.load(path) if path.is_file() else cls()
