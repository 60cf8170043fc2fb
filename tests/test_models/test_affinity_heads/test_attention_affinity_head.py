import math

import pytest
import torch

from afa.models.affinity_heads import AttentionAffinityHead


def test_affinity_is_the_formula():
    head = AttentionAffinityHead(in_channels=3)
    attn = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        affinity = head(attn)
    weight, bias = head.proj.weight.flatten().tolist(), head.proj.bias.item()
    for b in range(2):
        for i in range(4):
            for j in range(4):
                both = [float(attn[b, a, i, j] + attn[b, a, j, i]) for a in range(3)]
                logit = sum(w * s for w, s in zip(weight, both, strict=True)) + bias
                expected = 1 / (1 + math.exp(-logit))
                assert affinity[b, i, j].item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(affinity, affinity.transpose(1, 2))
    torch.testing.assert_close(head.proj(attn + attn.transpose(2, 3))[:, 0].sigmoid(), affinity)


def test_affinity_by_hand():
    head = AttentionAffinityHead(in_channels=1)
    head.proj.weight.data.fill_(2.0)
    head.proj.bias.data.fill_(-2.0)
    affinity = head(torch.tensor([[[[0.5, 0.0], [1.0, 1.0]]]]))
    expected = torch.tensor([[[0.0, 0.0], [0.0, 2.0]]]).sigmoid()
    torch.testing.assert_close(affinity, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_queries_and_keys_give_the_affinity_and_gradients_of_their_logits(dtype):
    head = AttentionAffinityHead(in_channels=3)
    q, k = (torch.randn(2, 3, 5, 4, dtype=dtype, requires_grad=True) for _ in range(2))
    found = []
    for attn in (q.float() @ k.float().transpose(2, 3), (q, k)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            affinity = head(attn)
        leaves = [q, k, head.proj.weight]
        found.append((affinity, *torch.autograd.grad(affinity.square().sum(), leaves)))
    assert found[1][0].dtype == torch.float32
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_the_loss_teaches_the_attention():
    head = AttentionAffinityHead(in_channels=2)
    head.init_weights()
    attn = torch.zeros(1, 2, 2, 2, requires_grad=True)
    label = torch.tensor([[[1, 0], [0, 255]]])
    head.loss_aff(head(attn), label).backward()
    # d/da: -1/2 / (1 + 1) for the positive, 1/2 / (2 + 1) for each of the two negatives; sigmoid'
    # at the bias; S + S^T doubles
    share = head.proj.bias.detach().sigmoid()
    slope = torch.tensor([[-1 / 4, 1 / 6], [1 / 6, 0]]) * share * (1 - share) * 2
    expected = head.proj.weight.detach().view(1, 2, 1, 1) * slope
    torch.testing.assert_close(attn.grad, expected)
    assert head.proj.weight.grad is not None
    grad = (-1 / 4 + 2 / 6) * (share * (1 - share)).item()
    assert head.proj.bias.grad.item() == pytest.approx(grad)


def test_float32_under_autocast():
    head = AttentionAffinityHead(in_channels=4)
    attn = 30 * torch.randn(1, 4, 5, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head(attn)
    assert inside.dtype == torch.float32 and torch.equal(inside, head(attn))


def test_weights_and_settings():
    head = AttentionAffinityHead(16, loss_aff=dict(type="AffinityLoss", loss_weight=0.1))
    shapes = {key: tuple(value.shape) for key, value in head.state_dict().items()}
    assert shapes == {"proj.weight": (1, 16, 1, 1), "proj.bias": (1,)}
    assert head.loss_aff.loss_weight == 0.1


def test_it_starts_as_in_the_authors_program():
    torch.manual_seed(0)
    heads = [AttentionAffinityHead(1000) for _ in range(20)]
    for head in heads:
        head.init_weights()
    weights = torch.cat([head.proj.weight.flatten() for head in heads])
    # Kaiming normal, fan out 1, a^2 = 5: deviation sqrt(2 / 6); the bias is torch's own
    assert weights.std().item() == pytest.approx(3**-0.5, rel=0.02)
    assert (weights.abs() > 3 * weights.std()).any()  # a uniform distribution ends at 1.73
    assert all(0 < head.proj.bias.abs().item() <= 1000**-0.5 for head in heads)
