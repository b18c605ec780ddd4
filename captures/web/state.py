"""The state of a session as JSON values, for the page."""

from typing import TYPE_CHECKING, Any

from captures.viewers.controls import SessionStatus

if TYPE_CHECKING:
    from captures.inference.analyser import Analysis
    from captures.protocol.plan import Director
    from captures.protocol.pose_map import PoseMap
    from physpatch.stats.intervals import Rate


def frame_state(analysis: "Analysis") -> dict[str, Any]:
    """Return the state of one frame; fast enough for every picture."""
    row, image = analysis.rows[0], analysis.frame.image
    return {
        "width": image.shape[1],
        "height": image.shape[0],
        "model": row.model,
        "condition": row.condition,
        "top5": [[name, round(score, 4)] for name, score in analysis.top5],
        "target_score": row.target_score,
        "success": row.success,
        "distance_m": row.distance_m,
        "yaw_deg": row.yaw_deg,
        "px_per_cell": row.px_per_cell,
        "heat_in_patch": row.heat_in_patch,
        "foreign": analysis.located.foreign,
    }


def brief_state(status: SessionStatus) -> dict[str, Any]:
    """Return the state of the session without rates; fast enough for every picture."""
    return {
        "recording": status.recording,
        "trouble": status.trouble,
        "hint": status.hint,
        "frames": status.frames,
        "dropped": status.dropped,
        "fps": round(status.fps, 1),
        "delay_ms": None if status.delay_s is None else round(1000 * status.delay_s),
        "target": status.target,
        "region": status.region,
        "plan": _plan(status.director) if status.director else None,
    }


def full_state(status: SessionStatus) -> dict[str, Any]:
    """Return the rates so far and the pose map; slow, so request it only a few times per second."""
    return {
        "rates": [
            {
                "model": s.model,
                "condition": s.condition,
                "frames": s.frames,
                "clips": s.clips,
                "target": _rate(s.target),
                "wrong": _rate(s.wrong),
            }
            for s in status.tally.summaries()
        ],
        "unit": status.tally.independent_kind,
        "map": _map(status.poses, status.director),
    }


def _rate(rate: "Rate") -> dict[str, Any]:
    return {"rate": rate.rate, "ci95": rate.ci95, "n": rate.n}


def _plan(director: "Director") -> dict[str, Any]:
    step = director.step
    return {
        "step": None if step is None else str(step),
        "condition": None if step is None else step.condition,
        "cell": None if step is None else director.grid.cell(step.distance_m, step.yaw_deg),
        "number": len(director.done) + len(director.skipped) + (step is not None),
        "steps": len(director.steps),
        "done": len(director.done),
        "held": round(director.held, 3),
        "waits_for_light": director.waits_for_light,
    }


def _map(poses: "PoseMap", director: "Director | None") -> dict[str, Any]:
    cells = {
        condition: [[*where, cell.frames, cell.judged, cell.hits] for where, cell in filled.items()]
        for condition, filled in poses.cells.items()
    }
    planned = director.filled() if director else {}
    return {
        "distances_m": poses.grid.distances_m,
        "yaws_deg": poses.grid.yaws_deg,
        "cells": cells,
        "planned": {
            condition: [[*where, done, total] for where, (done, total) in filled.items()]
            for condition, filled in planned.items()
        },
    }
