"""Several processes, on GPUs or on CPU."""

from typing import Any

from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS  # its runner looks in no other registry
from torch import nn


@MODEL_WRAPPERS.register_module()
class AFADistributedDataParallel(MMDistributedDataParallel):
    """Average gradients over the processes, with nccl on GPUs or gloo on CPU.

    Args:
        module: The model, already on its device.
        device_ids: The GPU of this process. mmengine's runner gives it always; it is dropped
            when the model is on CPU, where torch refuses it.
        find_unused_parameters: Whether to look for parameters without gradient. True, because
            the phases of a weakly supervised recipe leave whole heads unused.
        broadcast_buffers: Whether rank 0 sends its buffers to the others before each forward.
        detect_anomalous_params: Whether to list parameters outside the graph (slow).
        **kwargs: Further arguments of torch's DistributedDataParallel.
    """

    def __init__(
        self,
        module: nn.Module,
        device_ids: list[int] | None = None,
        find_unused_parameters: bool = True,
        broadcast_buffers: bool = False,
        detect_anomalous_params: bool = False,
        **kwargs: Any,
    ) -> None:
        if next(module.parameters()).device.type != "cuda":
            device_ids = None
        super().__init__(
            module,
            detect_anomalous_params=detect_anomalous_params,
            device_ids=device_ids,
            find_unused_parameters=find_unused_parameters,
            broadcast_buffers=broadcast_buffers,
            **kwargs,
        )
