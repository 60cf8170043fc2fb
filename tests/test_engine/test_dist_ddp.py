import pytest
import torch
import torch.distributed as torch_dist
import torch.multiprocessing as mp
from mmseg.registry import MODEL_WRAPPERS
from torch import nn
from toy_processes import be_process

from afa.engine.dist import AFADistributedDataParallel, init_dist


class _Net(nn.Module):
    """`unused` gets no gradient in any process."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(3, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.used(x).pow(2).mean()


def _data():
    return torch.arange(12, dtype=torch.float32).reshape(4, 3) / 12


def _gradient_of_one_process(rank, port, folder):
    be_process(rank, port)
    init_dist("pytorch", timeout=60)
    init_dist("pytorch")  # a second start changes nothing
    assert torch_dist.get_backend() == "gloo"
    torch.manual_seed(0)
    model = AFADistributedDataParallel(module=_Net(), device_ids=[rank])
    for _ in range(2):  # the second pass is where unused parameters would be an error
        model.zero_grad()
        model(_data()[2 * rank : 2 * rank + 2]).backward()
    torch.save(model.module.used.weight.grad, f"{folder}/{rank}.pt")
    torch_dist.destroy_process_group()


def test_two_processes_have_the_gradient_of_one_with_both_batches(tmp_path):
    mp.spawn(_gradient_of_one_process, args=("29683", str(tmp_path)), nprocs=2)
    torch.manual_seed(0)
    net = _Net()
    net(_data()).backward()
    for rank in range(2):
        gradient = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(gradient, net.used.weight.grad, atol=1e-6, rtol=1e-6)


def test_it_is_registered():
    assert MODEL_WRAPPERS.get("AFADistributedDataParallel") is AFADistributedDataParallel


@pytest.mark.parametrize("launcher", ["pytorch", "slurm", "mpi"])
def test_wrong_start_is_one_sentence(monkeypatch, launcher):
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=f"--launcher {launcher} needs the environment variables"):
        init_dist(launcher)
