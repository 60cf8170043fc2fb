import runpy
import sys

from afa.apis import train_memory


def test_arguments_and_the_last_line(repo, tmp_path, monkeypatch, capsys):
    asked = {}

    def fake(**arguments):
        asked.update(arguments)
        keys = ("peak_mib", "growth_mib", "trainer_peak_mib", "trainer_growth_mib")
        return dict(seconds=61.0, **dict(zip(keys, (900, 1.5, 700, 0.5), strict=True)))

    monkeypatch.setattr(train_memory, "run_train_memory", fake)
    monkeypatch.setattr(sys, "argv", ["x", "--num-iters", "50", "--work-dir", str(tmp_path)])
    runpy.run_path(str(repo / "tools/analysis_tools/train_memory.py"), run_name="__main__")
    assert (asked["num_iters"], asked["num_vals"], asked["workers"]) == (50, 5, 2)
    said = capsys.readouterr().out
    assert said.startswith("61 s; peak 900 MiB, growth at the end 1.5 MiB")
