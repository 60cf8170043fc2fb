from random_walk_cost import measure_random_walk


def test_measure():
    figures = measure_random_walk(grid=(30, 30), num_maps=2, num_steps=64, repeats=1)
    assert figures["max_difference"] < 1e-5
    assert figures["ratio"] == figures["dense_s"] / figures["sparse_s"]


def test_the_command_prints_the_figures(run_main):
    args = ["--grid", 4, 5, "--num-maps", 2, "--num-steps", 8, "--repeats", 1]
    status, out, _ = run_main("benchmarks/random_walk_cost.py", *args)
    assert status == 0 and out.startswith("sparse ") and " times; the results differ by " in out
