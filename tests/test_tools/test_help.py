"""Every tool tells what it takes at once, before it imports anything heavy."""

import os
import subprocess
import sys

import pytest

TOOLS = {
    "train.py": ["--cfg-options", "{tensorboard,wandb,mlflow,clearml,none}"],
    "test.py": ["--cfg-options"],
    "predict.py": ["--cam", "--labels", "--crf", "--out", "--device", "--overwrite"],
    "pseudo_labels.py": ["--ignore-thr"],
    "affinity_labels.py": ["--alphas"],
    "random_walk.py": ["--alpha"],
    "sub_categories.py": ["--num-sub"],
    "web.py": ["[CONFIG] CHECKPOINT", "--host", "--port", "--keep", "--max-megapixels"],
    "run_pipeline.py": ["--from", "--to", "--num-processes", "--tracker"],
    "check_dataset.py": ["Exit status: 0"],
    "download.py": ["voc12,coco14,coco14-photos", "hf://OWNER/NAME/FILE", "--weights"],
    "demo.py": ["--work-dir", "--data-root"],
    "analysis_tools/compare.py": ["--out"],
    "analysis_tools/replay_step.py": ["--config"],
    "benchmarks/ablation.py": ["--modules-only"],
    "benchmarks/benchmark.py": ["--parts", "throughput"],
    "analysis_tools/check_reference.py": ["--encoder"],
    "benchmarks/gpu.py": ["--tiny", "--checks"],
    "benchmarks/kill_and_resume.py": ["--kills"],
    "benchmarks/propagation.py": ["checkpoint"],
    "benchmarks/random_walk_cost.py": ["--grid H W"],
    "benchmarks/test_memory.py": ["--crf-workers"],
    "benchmarks/train_memory.py": ["--num-vals"],
    "dataset_converters/annotations.py": ["--allow-partial", "label-studio"],
    "dataset_converters/coco14.py": ["--crowd {class,ignore}"],
    "dataset_converters/export_labels.py": ["--form {coco,cvat,label-studio,fiftyone}"],
    "dataset_converters/shapes.py": ["data/shapes"],
    "dataset_converters/voc12.py": ["--workers"],
    "dev/test_versions.py": ["--torch"],
    "misc/print_config.py": ["--out FILE.py"],
    "model_converters/afa_official.py": ["SRC"],
    "model_converters/export.py": ["--overwrite"],
    "model_converters/psa_official.py": ["SRC", "CAMClassifier"],
}
HEAVY = {"cv2", "matplotlib", "mmcv", "mmengine", "mmseg", "numpy", "starlette", "torch"}
IMPORTED = "import time:"  # begins the lines of -X importtime, on stderr


def test_every_tool_is_here(repo):
    tools = [path for path in repo.glob("tools/**/*.py") if "__main__" in path.read_text()]
    assert {path.relative_to(repo / "tools").as_posix() for path in tools} == set(TOOLS)


@pytest.mark.parametrize("tool", TOOLS)
def test_help_imports_nothing_heavy(repo, tool):
    command = [sys.executable, "-X", "importtime", str(repo / "tools" / tool), "--help"]
    env = {**os.environ, "PYTHONPATH": str(repo)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
    lines = done.stderr.splitlines()
    modules = [line.rpartition("|")[2].strip() for line in lines if line.startswith(IMPORTED)]
    assert "argparse" in modules
    assert not HEAVY & {module.partition(".")[0] for module in modules}
    assert done.returncode == 0 and all(line.startswith(IMPORTED) for line in lines)
    for text in TOOLS[tool]:
        assert text in done.stdout
