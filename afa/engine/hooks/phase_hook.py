"""Switches what a training step computes."""

from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from afa.engine.dist import unwrapped


@HOOKS.register_module()
class PhaseHook(Hook):
    """Set the model's phase from the iteration count.

    The phase follows from the iteration alone, so that a resumed run is in the right one.

    Args:
        phases: phase -> the iteration that it begins at, counted from 0. Which phases there are,
            and their order, is the model's to say (``phases`` of :class:`WSSSSegmentor`); one can
            be left out. AFA on VOC: ``dict(cls=0, pseudo=2000, propagated=6000)``.

    Raises:
        ValueError: if none begins at 0, or two at the same iteration.

    Example:
        >>> PhaseHook(dict(cls=0, pseudo=2000, propagated=6000)).phase(2000)
        'pseudo'
    """

    def __init__(self, phases: Mapping[str, int]) -> None:
        begins = sorted(phases.values())
        if not begins or begins[0] != 0 or len(set(begins)) < len(begins):
            raise ValueError(
                "PhaseHook needs phases with the iterations that they begin at, the first at 0 and "
                "each at its own, such as dict(cls=0, pseudo=2000, propagated=6000), got "
                f"{dict(phases)}"
            )
        # Not in the order of the dict: a config that is written to a file has its keys sorted.
        self.phases = dict(sorted(phases.items(), key=lambda item: item[1]))

    def phase(self, iteration: int) -> str:
        """Name the phase of an iteration, counted from 0."""
        return [name for name, begin in self.phases.items() if begin <= iteration][-1]

    def before_train(self, runner: Runner) -> None:
        """Compare the phases with those of the model.

        Raises:
            ValueError: if the model has no such phase, or its phases have another order.
        """
        model = unwrapped(runner.model)
        known = tuple(getattr(model, "phases", ()))
        unknown = [name for name in self.phases if name not in known]
        if unknown:
            has = f"the phases {', '.join(known)}" if known else "no phases"
            raise ValueError(
                f"PhaseHook names the phase '{unknown[0]}', but {type(model).__name__} has {has}: "
                "mend custom_hooks"
            )
        order = [name for name in known if name in self.phases]
        if order != list(self.phases):
            raise ValueError(
                f"PhaseHook: the phases of {type(model).__name__} begin in the order "
                f"{', '.join(order)}, got {self.phases}: mend custom_hooks"
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Set the phase and say so in the log when it changes."""
        model, phase = unwrapped(runner.model), self.phase(runner.iter)
        if phase != model.phase or runner.iter == 0:
            runner.logger.info(f"iteration {runner.iter}: phase {phase!r}")
            model.set_phase(phase)
