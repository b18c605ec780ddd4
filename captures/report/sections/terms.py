"""The terms of a report, explained for who does not know them."""

from collections.abc import Iterator
from typing import ClassVar

from captures.report.blocks import Block, Table
from captures.report.sections.base import Material, ReportSection

_TERMS = {
    "target first": "The model's first answer is the class that the patch was trained for.",
    "grey, random, shuffled, drawing": "Harmless sheets of the same size at the same poses: grey; cells of random colours; the "
    "patch's own cells in another order; on a sign that is taken for another one, a drawing of another sign. What the patch "
    "does beyond them is its effect.",
    "n": "The number of independent cases that a rate counts, as a rule clips. Frames of one clip are much alike.",
    "95 % interval": "Of many sessions like this one, the intervals of 95 % contain the true rate.",
    "points": "Percentage points: from 20 % to 35 % is 15 points more.",
    "ICC": "The intra-class correlation: 1 if all frames of a clip agree, 0 if they are as different as frames of other clips.",
    "effective n": "The number of independent frames that would tell as much as all these frames do.",
    "Wilson's interval": "An interval of a rate that stays within 0 and 100 %, and is honest for few cases and rates of 0.",
    "Student's t, bootstrap": "Two other ways to an interval, by the spread of the clips, and by drawing clips anew; for "
    "comparison.",
    "McNemar's p": "The probability of so great a difference between patch and control in the same cases, if both did the "
    "same. Below 0.05, chance is an unlikely cause. A dash: cases that count in part have none.",
    "Brier score": "The mean squared distance between predicted rates and what happened: 0 is perfect; as much as always "
    "predicting the mean says that the prediction tells nothing.",
    "heat": "Grad-CAM: where in the picture a model finds the evidence for its answer.",
    "AP50": "The average precision of a detector's boxes that overlap the object by half or more: 1 if it finds all "
    "objects and nothing else.",
    "EOT": "Expectation over transformation: training with random views, light, blur and noise, so that a patch survives them.",
    "yaw, pitch, roll": "How the sheet is turned: left or right, forwards or backwards, and in its own plane.",
}


class Terms(ReportSection):
    """The terms of a report, explained."""

    name: ClassVar[str] = "terms"
    summary: ClassVar[str] = "the terms of a report, explained"
    heading: ClassVar[str] = "Terms"
    rank: ClassVar[int] = 80

    def blocks(self, material: Material) -> Iterator[Block]:
        yield Table(["term", "meaning"], list(map(list, _TERMS.items())))
