import pytest
import torch
from mmengine import dist

from afa.models.functional import global_mean


def test_mean_where_the_mask_holds():
    values = torch.tensor([[1.0, 2.0], [6.0, 100.0]], requires_grad=True)
    mean = global_mean(values, torch.tensor([[True, True], [True, False]]))
    assert mean.item() == 3
    mean.backward()
    torch.testing.assert_close(values.grad, torch.tensor([[1 / 3, 1 / 3], [1 / 3, 0]]))


def test_an_empty_mask_gives_zero_with_zero_gradient():
    values = torch.tensor([1.0, float("inf")], requires_grad=True)
    mean = global_mean(values, torch.zeros(2, dtype=torch.bool))
    mean.backward()
    assert mean.item() == 0 and values.grad.tolist() == [0, 0]


def test_what_is_masked_out_may_be_nan():
    values = torch.tensor([2.0, float("nan")], requires_grad=True)
    mean = global_mean(values, torch.tensor([True, False]))
    mean.backward()
    assert mean.item() == 2 and values.grad.tolist() == [1, 0]


def test_sum_in_float32():
    values = torch.ones(3000, dtype=torch.bfloat16)
    assert global_mean(values, torch.ones(3000, dtype=torch.bool)).item() == 1


@pytest.mark.parametrize(("counts", "here"), [((3, 1), 3), ((3, 1), 1), ((2, 0), 0)])
def test_of_two_processes_each_divides_by_the_mean_count(monkeypatch, counts, here):
    def all_reduce(count, op):
        assert op == "mean" and count.item() == here
        count.fill_(sum(counts) / 2)

    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    mask = torch.arange(4) < here
    mean = global_mean(torch.full((4,), 5.0), mask)
    assert mean.item() == pytest.approx(5 * here / (sum(counts) / 2))
