"""Every tool tells what it takes at once, before it imports anything heavy."""

import os
import subprocess
import sys
import time

import pytest

TOOLS = {
    "train.py": ["--cfg-options"],
    "test.py": ["--cfg-options"],
    "predict.py": ["--cam", "--labels", "--crf", "--out", "--device", "--overwrite"],
    "pseudo_labels.py": ["--ignore-thr"],
    "affinity_labels.py": ["--alphas"],
    "random_walk.py": ["--alpha"],
    "sub_categories.py": ["--num-sub"],
    "run_pipeline.py": ["--from", "--to", "--num-processes"],
    "check_dataset.py": ["Exit status: 0"],
    "demo.py": ["--work-dir", "--data-root"],
    "benchmarks/benchmark.py": ["--parts", "throughput"],
    "benchmarks/check_reference.py": ["--encoder"],
    "analysis_tools/compare.py": ["--out"],
    "analysis_tools/replay_step.py": ["--config"],
    "dataset_converters/coco14.py": ["--crowd {class,ignore}"],
    "dataset_converters/shapes.py": ["data/shapes"],
    "dataset_converters/voc12.py": ["--workers"],
    "model_converters/afa_official.py": ["SRC"],
    "model_converters/export.py": ["--overwrite"],
    "model_converters/psa_official.py": ["SRC", "CAMClassifier"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_help_is_instant(repo, tool):
    start = time.perf_counter()
    command = [sys.executable, str(repo / "tools" / tool), "--help"]
    env = {**os.environ, "PYTHONPATH": str(repo)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
    assert time.perf_counter() - start < 5  # well under 2 s; generous for a busy machine
    assert done.returncode == 0 and done.stderr == ""
    for text in TOOLS[tool]:
        assert text in done.stdout
