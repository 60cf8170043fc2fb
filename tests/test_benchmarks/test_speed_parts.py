import pytest
import torch

from speed_measure import Case, count_work
from speed_parts import CASES, build_setup, walk_case

B0 = dict(crop=64, arch="b0")


def test_a_batch_with_two_classes_an_image():
    setup = build_setup(**B0, batch=3, num_classes=9)
    assert setup.inputs.shape == (3, 3, 64, 64) and setup.labels.shape == (3, 8)
    assert setup.labels.sum(1).tolist() == [2, 2, 2]
    assert setup.boxes == [(0, 64, 0, 64)] * 3
    assert setup.model.training and setup.model.num_classes == 9
    assert setup.model.backbone.arch == "b0"
    assert set(setup.model(setup.inputs, setup.samples, mode="loss")) >= {"loss_cls", "loss_seg"}


def test_the_same_at_every_call():
    one, other = (build_setup(**B0, batch=1) for _ in range(2))
    assert torch.equal(one.inputs, other.inputs)
    weights = zip(one.model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_autocast_only_for_bf16():
    for dtype in (torch.float32, torch.bfloat16):
        with build_setup(**B0, batch=1, dtype=dtype).autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_wrong_input(tmp_path):
    with pytest.raises(ValueError, match=r"crop must be 32 or more .* got 8 and 1"):
        build_setup(crop=8, batch=1)
    config = tmp_path / "other.py"
    config.write_text("model = dict(type='EncoderDecoder')\n")
    with pytest.raises(ValueError, match=r"model of type 'AFA': '.*other\.py'"):
        build_setup(str(config), crop=64)


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
