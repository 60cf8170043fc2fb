"""Networks of timm with drawn numbers, for the tests."""

import torch


def draw(module):
    """Draw every parameter, biases and norms too, so that none is without effect."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return module
