"""Counts that normalise losses, summed over processes."""

import torch
from mmengine import dist
from torch import Tensor


def global_mean(values: Tensor, mask: Tensor, extra: float = 0) -> Tensor:
    """Average ``values`` where ``mask`` holds, over all processes together.

    DistributedDataParallel averages gradients over processes. Dividing each process's sum by the
    mean count per process makes that average the gradient of one process with the whole batch.

    Args:
        values: any shape, float.
        mask: same shape, bool.
        extra: added to the count of all processes together.

    Returns:
        Scalar; 0 (with zero gradient) when no process has an element in the mask.
    """
    count = mask.sum().to(torch.float32)
    if dist.get_world_size() > 1:
        dist.all_reduce(count, op="mean")
    count = count + extra / dist.get_world_size()
    total = torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device))
    return total.sum(dtype=torch.float32) / torch.where(count > 0, count, torch.ones_like(count))
