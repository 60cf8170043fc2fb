"""Named weights that are taken one after the other, so that all that is wrong is told at once."""

from collections.abc import Mapping

import torch
from mmengine.logging import print_log
from torch import Tensor


class NamedWeights:
    """The weights of another program's checkpoint, while they are converted.

    Args:
        tensors: Name to tensor; left as it is.
        model: What the weights are converted for, for the messages.
        program: Whose program wrote them, for the messages.

    Attributes:
        tensors: What nobody has taken yet.
        problems: What did not fit so far.
    """

    def __init__(self, tensors: Mapping[str, Tensor], model: str, program: str) -> None:
        self.tensors = dict(tensors)
        self.problems: list[str] = []
        self._model = model
        self._program = program

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Remove and return a weight.

        Args:
            name: Its name.
            shape: Its shape; a negative number fits any size.

        Returns:
            The weight; a small one of zeros in the place of one that does not fit.
        """
        value = self.tensors.pop(name, None)
        wanted = tuple("any" if size < 0 else size for size in shape)
        if value is None:
            self.problems.append(f"{name} is missing")
        elif value.ndim != len(shape) or any(
            0 <= size != given for size, given in zip(shape, value.shape, strict=True)
        ):
            self.problems.append(f"{name} is {tuple(value.shape)} instead of {wanted}")
        else:
            return value
        return torch.zeros([max(size, 1) for size in shape])

    def take_below(self, prefix: str) -> dict[str, Tensor]:
        """Remove and return all weights below a prefix, without it."""
        names = [k for k in self.tensors if k.startswith(prefix)]
        return {k.removeprefix(prefix): self.tensors.pop(k) for k in names}

    def finish(self) -> None:
        """Log what nobody took.

        Raises:
            ValueError: If something did not fit; the first five are named.
        """
        if self.problems:
            more = ", ..." if len(self.problems) > 5 else ""
            raise ValueError(
                f"The weights do not fit {self._model} ({len(self.problems)} problems): "
                f"{', '.join(self.problems[:5])}{more}. A checkpoint of {self._program} is needed."
            )
        if self.tensors:
            names = ", ".join(self.tensors)
            print_log(f"Left out, unknown to {self._model}: {names}.", logger="current")
