"""What a training may ask of its victims: gradients or predictions alone, how many of these, and which settings fit them."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import product

from calibration.common.errors import InputError
from physpatch.attack.imitation import ImitatedVictim, Imitations
from physpatch.attack.objectives import OBJECTIVES, choose_objective
from physpatch.attack.transfer import TRANSFERS, TransferMethod
from physpatch.defences import DEFENCES, UNDEFENDED, known_defences
from physpatch.records.config import TrainConfig
from physpatch.techniques import TECHNIQUES, GradientFree, Technique
from physpatch.training import trials
from physpatch.training.distributed import Processes
from physpatch.victims.protocol import Victim

_MOST_QUERIES = 10**6  # that a step of any technique takes


def require_alike(victims: Sequence[Victim]) -> None:
    """Check that the victims that a patch is trained on have the same classes.

    Raises:
        InputError: one has others, or in another order.
    """
    first, *other_victims = victims
    for victim in other_victims:
        if (victim.task, victim.categories) != (first.task, first.categories):
            raise InputError(
                f"{victim.name} and {first.name} do not have the same classes, so one patch cannot aim at both"
            )


def require_training(
    victims: Sequence[Victim], imitators: Sequence[Victim], config: TrainConfig, processes: Processes | None
) -> None:
    """Check the settings of a training with its networks, before a class is chosen for it, which may take long.

    Raises:
        InputError: an unknown technique, objective, transfer method or defence, or one that does not go with the networks or
            with other settings; see also :func:`transfer_methods` and :func:`within_queries`.
    """
    optimisation = config.optimisation
    technique = TECHNIQUES.find(optimisation.technique)
    if technique.needs_several_victims and len(victims) < 2:
        raise InputError(f"technique {optimisation.technique} needs several victims; give --model more than once")
    if optimisation.start:
        require_kept_start(optimisation.technique)
    OBJECTIVES.find(config.objective.loss)
    if victims[0].task == "classify":  # whether a detector's goal fits depends on the class
        choose_objective("classify", None, config.objective.loss, goal=config.objective.goal)
    _require_access(victims, imitators, config, processes)
    known_defences(config.victim.defences, victims)
    transfer_methods(config, victims)
    within_queries(config, imitated=bool(imitators))
    if processes is not None:
        processes.rows(optimisation.batch)


def require_kept_start(name: str) -> None:
    """Check that a technique begins with the cells that it is given.

    Raises:
        InputError: it does not, or is unknown.
    """
    if not TECHNIQUES.find(name).keeps_start:
        raise InputError(
            f"technique {name} begins with fields of one colour, so a start would be lost; use another --technique, or leave "
            "out --start"
        )


def _require_access(
    victims: Sequence[Victim], imitators: Sequence[Victim], config: TrainConfig, processes: Processes | None
) -> None:
    """Check that the gradients that a training needs are there: the victims' own, or those of networks that imitate them.

    Raises:
        InputError: a technique that needs gradients, for a victim without; a network that imitates with other classes, for
            a technique that needs no gradients, with transfer methods, in several processes, or behind a defence that looks at
            their heat; several processes for what judges a batch as a whole; the worst views of candidates with one each;
            weights of printing conditions without gradients, or for a single condition; or several starts with a budget of
            queries, which is for one.
    """
    config.optimisation.check_starts()
    shared = processes is not None and processes.count > 1
    kind = TECHNIQUES.find(config.optimisation.technique)
    if shared and (config.optimisation.transfer or kind.needs_several_victims):
        raise InputError(
            "several processes share a batch, and --transfer and the technique ensemble judge it as a whole; start a single "
            "process, or leave these out"
        )
    if config.objective.worst < 1 and issubclass(kind, GradientFree) and kind.judges_one_image:
        raise InputError(
            f"technique {config.optimisation.technique} judges each candidate on one photograph, so that --worst has none to "
            "choose from; leave it out"
        )
    if config.objective.group_dro and (issubclass(kind, GradientFree) or len(config.eot.prints) < 2):
        raise InputError(
            "--group-dro weighs the gradients of several printing conditions; use a technique with gradients and several "
            "--condition, or leave it out"
        )
    if (
        config.optimisation.starts > 1
        and (imitators or issubclass(kind, GradientFree))
        and kind.ranges is not Technique.ranges
    ):
        raise InputError(
            f"technique {config.optimisation.technique} changes its transformations on the way, so that starts cannot be "
            "compared by their own steps; use another --technique, or a single start"
        )
    if not imitators:
        for blind in (victim for victim in victims if not victim.differentiable):
            _refuse_without_gradients(blind, config.optimisation.technique)
        return
    if issubclass(kind, GradientFree):
        raise InputError(
            f"technique {config.optimisation.technique} uses predictions alone and needs no imitation; leave out --imitate, or "
            "use --technique pgd"
        )
    if config.optimisation.transfer:
        raise InputError(
            "transfer methods would disturb what the imitation learns from; leave out --transfer or --imitate"
        )
    if shared:
        raise InputError("an imitation learns in one process; start a single one, or leave out --imitate")
    for victim, name in product(victims, config.victim.defences):
        if name != UNDEFENDED and DEFENCES.find(name).needs_heat:
            raise InputError(
                f"the defence {name} needs Grad-CAM, and {victim.name} is asked for predictions alone; leave out --imitate or "
                f"--defence {name}"
            )
    for imitator, victim in product(imitators, victims):
        if (imitator.task, imitator.categories) != (victim.task, victim.categories) or victim.task != "classify":
            raise InputError(
                f"{imitator.name} cannot imitate {victim.name}: both must be classifiers with the same classes"
            )


def imitated(victims: Sequence[Victim], imitators: Sequence[Victim]) -> tuple[list[Victim], list[Imitations]]:
    """Let networks imitate each victim; return the victims with their gradients, and the imitations of each.

    Raises:
        InputError: a network that cannot learn.
    """
    if not imitators:
        return list(victims), []
    imitations = [Imitations(imitators) for _ in victims]
    return [ImitatedVictim.of(v, own) for v, own in zip(victims, imitations, strict=True)], imitations


def transfer_methods(config: TrainConfig, victims: Sequence[Victim]) -> list[TransferMethod]:
    """Create the transfer methods of a run.

    Raises:
        InputError: an unknown one, a detector, a network that has nothing to disturb, or a technique that uses no gradients.
    """
    methods = [TRANSFERS.find(name)() for name in config.optimisation.transfer]
    if methods and victims[0].task == "detect":
        raise InputError("transfer methods move parts of the scene, so they are for classifiers; leave out --transfer")
    if methods and issubclass(TECHNIQUES.find(config.optimisation.technique), GradientFree):
        raise InputError(
            f"technique {config.optimisation.technique} uses predictions alone, and transfer methods disturb gradients; "
            "leave out --transfer"
        )
    for method, victim in product(methods, victims):
        if not method.disturbs(victim):
            raise InputError(
                f"{victim.name} has no layers that {method.name} could disturb, such as a model that was exported; leave out "
                f"--transfer {method.name}"
            )
    return methods


def within_queries(config: TrainConfig, imitated: bool) -> TrainConfig:
    """Replace the steps of a config by those that its budget of queries allows.

    Raises:
        InputError: queries for a technique that uses a victim's own gradients, or an objective without gradients for it; or
            too few queries.
    """
    optimisation = config.optimisation
    technique = TECHNIQUES.find(optimisation.technique)
    if not issubclass(technique, GradientFree):
        if not OBJECTIVES.find(config.objective.loss).has_gradient:
            raise InputError(
                f"objective {config.objective.loss} has no gradient, which technique {optimisation.technique} needs; use "
                f"--technique {gradient_free()}"
            )
        if optimisation.queries is not None and not imitated:
            raise InputError(
                f"--queries counts predictions, and technique {optimisation.technique} uses gradients; give --steps, "
                f"--imitate, or --technique {gradient_free()}"
            )
    if optimisation.queries is not None:
        looks_per_image = looks(config)

        def steps_within(queries: int) -> int:
            if issubclass(technique, GradientFree):
                return technique.steps_within(queries // looks_per_image, optimisation.batch)
            return trials.steps_within(
                queries // (optimisation.batch * looks_per_image), optimisation.starts, optimisation.trial
            )

        steps = steps_within(optimisation.queries)
        if steps < 1:
            least = bisect_left(range(_MOST_QUERIES), 1, key=steps_within)
            raise InputError(
                f"{optimisation.queries} queries are fewer than the {least} that one step of {optimisation.technique} takes"
                f"{' with each start' if optimisation.starts > 1 else ''}; "
                "give more --queries, or a smaller --batch"
            )
        return config.changed(steps=steps)
    return config


def looks(config: TrainConfig) -> int:
    """Return how often a victim is shown each image: behind each defence that the attacker knows, and for its heat."""
    names = set(config.victim.defences) or {UNDEFENDED}
    return sum(1 if name == UNDEFENDED else 1 + DEFENCES.find(name).needs_heat for name in names)


def gradient_free() -> str:
    """List the techniques that need no gradients, in words."""
    return " or ".join(name for name, kind in TECHNIQUES.items() if issubclass(kind, GradientFree))


def _refuse_without_gradients(victim: Victim, technique: str) -> None:
    """Refuse a technique that needs gradients, for a victim that gives predictions only.

    Raises:
        InputError: such a technique; the message names those that work.
    """
    if not issubclass(TECHNIQUES.find(technique), GradientFree):
        raise InputError(
            f"{victim.name} gives predictions only, and technique {technique} needs gradients; use --technique "
            f"{gradient_free()}, or --imitate a classifier of the same classes"
        )
