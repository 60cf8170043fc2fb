"""Losses of the methods."""

from afa.models.losses.affinity_loss import (
    AffinityLoss,
    PairAffinityLoss,
    affinity_loss,
    pair_affinity_loss,
)
from afa.models.losses.balanced_cross_entropy_loss import BalancedCrossEntropyLoss
from afa.models.losses.dense_energy_loss import DenseEnergyLoss, dense_energy
