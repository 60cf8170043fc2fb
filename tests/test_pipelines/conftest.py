import pytest

from afa.pipelines import stage

ADD = """
import argparse, json, os, time
parser = argparse.ArgumentParser()
parser.add_argument("config"); parser.add_argument("numbers", nargs="*")
parser.add_argument("--out"); parser.add_argument("--cfg-options", nargs="*", default=[])
args = parser.parse_args()
options = dict(option.split("=") for option in args.cfg_options)
total = int(options.get("plus", 0))
for number in args.numbers:
    total += int(open(number + "/sum").read()) if os.path.isdir(number) else int(number)
open(args.out + "/calls", "a").write("x")
if total == 666: raise SystemExit(3)
if "wait" in options and not os.path.exists(args.out + "/half"):
    open(args.out + "/half", "w").write("1"); time.sleep(60)
open(args.out + "/sum", "w").write(str(total))
json.dump({"figures": {"seg/mIoU": total, "seg/IoU.a": 1.0}}, open(args.out + "/s.json", "w"))
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository with one tool that adds numbers, and one config."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/add.py").write_text(ADD)
    (tmp_path / "cfg.py").write_text("value = 1\n")
    monkeypatch.setattr(stage, "ROOT", tmp_path)
    return tmp_path
