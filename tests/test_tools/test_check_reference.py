from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
FILE = SHARED / "reference/afa_step.npz"
ENCODER = SHARED / "weights/mit_b0_tiny-imagenet.pth"
TOOL = "analysis_tools/check_reference.py"
needs_reference = pytest.mark.skipif(
    not (FILE.exists() and ENCODER.exists()),
    reason="needs ../shared/reference and ../shared/weights",
)


@needs_reference
def test_everything_is_as_in_the_authors_program(run_main):
    status, out, _ = run_main(TOOL, FILE, "--encoder", ENCODER)
    assert (status, out.splitlines()[-1]) == (0, "All entries are within their limits.")
    entries = {line.split("|")[1].strip() for line in out.splitlines() if line.endswith("| ok |")}
    for name in ("pseudo_label", "propagated_label", "affinity_label", "loss aff", "cams_0"):
        assert {f"batch0/{name}", f"batch1/{name}"} <= entries
    assert {"test/logits_quarter", "test/label", "batch1/grad_norm/encoder"} <= entries


@needs_reference
def test_what_differs_is_named_and_ends_with_status_1(run_main, tmp_path):
    arrays = dict(np.load(FILE))
    arrays = {key: value for key, value in arrays.items() if not key.startswith(("batch1", "test"))}
    # 0.1 % of the pixels of the real image, and a gradient that is 1 % off
    arrays["batch0/propagated_label"][0, 100:110, 100:110] ^= 1
    arrays["batch0/grad_norm/classifier.weight"] *= 1.01
    np.savez(tmp_path / "other.npz", **arrays)
    status, out, _ = run_main(TOOL, tmp_path / "other.npz", "--encoder", ENCODER)
    beyond = [line.split("|")[1].strip() for line in out.splitlines() if "BEYOND" in line]
    assert status == 1 and "2 entries are beyond their limits." in out
    assert beyond == ["batch0/propagated_label", "batch0/grad_norm/classifier"]

    del arrays["batch0/cls_logits"]
    np.savez(tmp_path / "less.npz", **arrays)
    status, _, err = run_main(TOOL, tmp_path / "less.npz", "--encoder", ENCODER)
    assert status == 2 and "The reference has no entry 'cls_logits'" in err


@pytest.mark.parametrize("kind", ["missing", "text", "pickle", "cut"])
def test_a_file_that_is_none_is_one_sentence(run_main, tmp_path, kind):
    path = tmp_path / "a.npz"
    if kind == "text":
        path.write_text("hello")
    if kind == "pickle":
        np.savez(path, a=np.array([{}], dtype=object))
    if kind == "cut":
        np.savez(path, a=np.zeros(1000))
        path.write_bytes(path.read_bytes()[:500])
    status, _, err = run_main(TOOL, path, "--encoder", tmp_path / "none.pth")
    assert status == 2 and err.startswith("Error: ") and len(err.splitlines()) == 2
    assert ("No such file" if kind == "missing" else "is no file of reference values") in err
