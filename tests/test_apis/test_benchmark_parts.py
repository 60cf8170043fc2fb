import pytest
import torch

from afa.apis.benchmark_measure import Case, count_work
from afa.apis.benchmark_model import build_setup
from afa.apis.benchmark_parts import CASES, walk_case


@pytest.fixture(scope="module")
def setup():
    return build_setup(crop=64, batch=2, arch="b0")


def _values(result):
    if isinstance(result, torch.Tensor):
        return [result]
    return [value for part in result for value in _values(part)] if result is not None else []


def test_every_part_of_a_step_has_a_reference(setup):
    assert list(CASES) == [
        "par", "cams", "step", "walk", "affinity_labels", "losses", "regulariser",
    ]  # fmt: skip
    for name, make in CASES.items():
        case = make(setup)
        assert isinstance(case, Case) and case.reference is not None, name
        if name != "walk":  # too large for a test, see below
            case.ours()
            case.reference()


def test_par_and_its_reference_are_equal(setup):
    case = CASES["par"](setup)
    ours, plain = _values(case.ours()), _values(case.reference())
    assert len(ours) == len(plain) == 4
    for one, other in zip(ours, plain, strict=True):
        assert (one - other).abs().max() < 1e-5
    moved, operations = case.work
    size = 2 * 32 * 32
    assert moved == size * 4 * (3 + 48 * 11 + 2 * 12 * 10) and operations > size * 48 * 2 * 12 * 10


def test_walk_on_a_small_grid(setup):
    case = walk_case(setup, grid=(9, 12))
    case.ours()
    case.reference()
    assert "9 x 12 grid" in case.title and case.notes["products"] == 112


def test_a_step_trains_in_the_last_phase(setup):
    before = [p.clone() for p in setup.model.decode_head.parameters()]
    case = CASES["step"](setup)
    case.ours()
    assert setup.model.phase == "propagated" and case.memory
    moved = zip(before, setup.model.decode_head.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in moved)
    assert min(count_work(case.ours)) > 1e6


def test_targets_depend_on_the_precision(setup):
    half = build_setup(crop=64, batch=1, arch="b0", dtype=torch.bfloat16)
    assert CASES["cams"](setup).target == (2, 3) and CASES["cams"](half).target == (5, 8)
    assert CASES["step"](setup).target == (2, 3) and CASES["step"](half).target == (4, 7)
    assert CASES["cams"](half).title.endswith("MiT-B0, batch 1, crop 64, bf16")
