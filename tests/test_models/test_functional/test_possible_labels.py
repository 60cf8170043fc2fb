import torch

from afa.models.functional.possible_labels import possible_labels


def _logits(*probs):
    """Logits (C, 1, W) of columns of probabilities."""
    return torch.tensor(probs).log().T[:, None]


def test_background_winners_and_what_reaches_the_threshold():
    logits = _logits((0.01, 0.9, 0.05, 0.03, 0.01), (0.02, 0.8, 0.03, 0.14, 0.01))
    assert possible_labels(logits, 0.1).tolist() == [0, 1, 3]
    assert possible_labels(logits, 0.045).tolist() == [0, 1, 2, 3]
    assert possible_labels(logits, 0.5).tolist() == [0, 1]
    assert possible_labels(logits, 0).tolist() == [0, 1, 2, 3, 4]


def test_a_winner_enters_however_unsure_it_is():
    logits = _logits((0.2, 0.26, 0.27, 0.27 - 1e-3))
    assert possible_labels(logits, 0.9).tolist() == [0, 2]


def test_only_background():
    assert possible_labels(_logits((0.99, 0.005, 0.005)), 0.02).tolist() == [0]
