import subprocess
import sys
from pathlib import Path

import torch

from afa.models.backbones import ResNet38
from afa.utils.checkpoint import load_state

TOOL = Path(__file__).parents[2] / "tools/model_converters/psa_official.py"


def run(*args, **kwargs):
    command = [sys.executable, str(TOOL), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def test_file_is_converted_and_counted(tmp_path):
    state = ResNet38(base_channels=1).state_dict() | {"fc8.weight": torch.ones(3, 64, 1, 1)}
    torch.save(state, tmp_path / "theirs.pth")
    done = run(tmp_path / "theirs.pth", tmp_path / "ours.pth")
    assert done.returncode == 0, done.stderr
    assert f"Wrote {len(state)} weights for CAMClassifier to" in done.stdout
    weights = load_state(tmp_path / "ours.pth")["state_dict"]
    assert torch.equal(weights["cls_head.classifier.weight"], state["fc8.weight"])


def test_wrong_input_is_one_sentence(tmp_path):
    failed = run(tmp_path / "no.pth", tmp_path / "ours.pth")
    assert failed.returncode == 2 and "no.pth does not exist" in failed.stderr
    assert "Traceback" not in failed.stderr
