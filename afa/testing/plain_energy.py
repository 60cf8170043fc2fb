"""The dense-energy regulariser summed over all pairs of pixels.

The usual programs approximate the sum by a compiled permutohedral lattice, which is not at hand;
this is what both approximate. C classes, H W pixels, P = H * W.
"""

import torch
from torch import Tensor


def plain_dense_energy(
    prob: Tensor, image: Tensor, keep: Tensor, sigma_rgb: float, sigma_xy: float, rows: int = 512
) -> Tensor:
    """Compute sum_ij S_i S_j G_ij (1 - sum_a p_i(a) p_j(a)) of one image; with a gradient.

    Args:
        prob: (C, H, W) probabilities that sum to 1 over the classes.
        image: (3, H, W) RGB, 0..255.
        keep: (H, W) the soft filter S, 0..1.
        sigma_rgb: standard deviation over colours.
        sigma_xy: standard deviation over positions, in pixels.
        rows: pixels whose pairs are held at a time.

    Returns:
        Scalar.
    """
    _, H, W = prob.shape
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    place = torch.stack([y, x]).to(image).flatten(1) / sigma_xy
    points = torch.cat([place, image.flatten(1) / sigma_rgb]).t().contiguous()  # (P, 5)
    keep = keep.flatten()
    values = prob.flatten(1).t() * keep[:, None]  # (P, C)
    energy = prob.new_zeros(())
    for begin in range(0, H * W, rows):
        part = slice(begin, begin + rows)
        pairs = torch.exp(-0.5 * torch.cdist(points[part], points).square())
        energy = energy + (keep[part] * (pairs @ keep)).sum()
        energy = energy - (values[part] * (pairs @ values)).sum()
    return energy
