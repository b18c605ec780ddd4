"""Settings and results as flat names and numbers, for logs."""

from collections.abc import Mapping
from typing import Any

from physpatch.records.evaluation_record import EvaluationRecord
from physpatch.records.run_logs.base import Parameter
from physpatch.stats.rates import Rate


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Parameter]:
    """Flatten settings in sections into ``section.name``; lists become text, and empty sections are left out."""
    flat: dict[str, Parameter] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, Parameter) else str(value)
    return flat


def rate_values(name: str, rate: Rate) -> dict[str, float]:
    """Name a rate, the ends of its 95 % interval, if it has one, and its count; empty where nothing was counted."""
    if rate.rate is None or not rate.n:
        return {}
    ends = {} if rate.ci95 is None else {f"{name}_low": rate.ci95[0], f"{name}_high": rate.ci95[1]}
    return {name: rate.rate, **ends, f"{name}_n": float(rate.n)}


def result_values(record: EvaluationRecord, prefix: str = "") -> dict[str, float]:
    """Name the results on one network as ``result.json`` does: accuracies, and success of the patch and its controls."""
    values = {f"{prefix}clean_accuracy": record.clean_accuracy, f"{prefix}patched_accuracy": record.patched_accuracy}
    values |= {f"{prefix}{control}/accuracy": accuracy for control, accuracy in record.controls.items()}
    values |= rate_values(f"{prefix}target_first", record.targeted_success)
    values |= rate_values(f"{prefix}made_wrong", record.untargeted_success)
    for control, rate in record.control_targeted_success.items():
        values |= rate_values(f"{prefix}{control}/target_first", rate)
    for outcome, rates in (("hidden", record.hidden), ("relabelled", record.relabelled)):
        for condition, rate in rates.items():
            values |= rate_values(f"{prefix}{condition}/{outcome}", rate)
    return values
