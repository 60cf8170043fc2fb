"""Values in configs and options that are of a wrong type or cannot be."""

import sys

from toy_faults import Fault, more, option

FAULTS = [
    Fault("model a number", "train", "model must be a dict, got int 3", option("model=3")),
    Fault("loader a number", "train", "train_dataloader", option("train_dataloader=3")),
    Fault(
        "pipeline a text",
        "train",
        "pipeline",
        option("train_dataloader.dataset.pipeline=LoadPhoto"),
    ),
    Fault(
        "crop 0",
        "train",
        "crop_size must be a positive integer",
        option("train_dataloader.dataset.pipeline.3.crop_size=0"),
    ),
    Fault(
        "crop of one side",
        "train",
        "crop_size must be",
        option("train_dataloader.dataset.pipeline.3.crop_size=[32]"),
    ),
    Fault(
        "scale turned",
        "train",
        "ratio_range must be 0 < low <= high",
        option("train_dataloader.dataset.pipeline.2.ratio_range=[2.0,1.0]"),
    ),
    Fault(
        "radius -1",
        "train_afa",
        "radius must be 0 or more tokens, got -1",
        option("model.train_cfg.radius=-1"),
    ),
    Fault("radius text", "train_afa", "radius", option("model.train_cfg.radius=far")),
    Fault(
        "thresholds crossed",
        "train_afa",
        "bkg_thr_low (0.6) must not be above bkg_thr_high (0.55)",
        option("model.train_cfg.bkg_thr_low=0.6"),
    ),
    Fault(
        "threshold above 1",
        "train_afa",
        "bkg_thr_high must be between 0 and 1, got 1.5",
        option("model.train_cfg.bkg_thr_high=1.5"),
    ),
    Fault("no scales", "train_afa", "cam_scales", option("model.train_cfg.cam_scales=[]")),
    Fault("scales a number", "train_afa", "cam_scales", option("model.train_cfg.cam_scales=1.0")),
    Fault(
        "propagation unknown",
        "train_afa",
        "propagation must be one of",
        option("model.train_cfg.propagation=atention"),
    ),
    Fault(
        "phases crossed",
        "train_afa",
        "the phases of AFA begin in the order cls, pseudo, propagated",
        option("custom_hooks.1.phases.pseudo=5"),
    ),
    Fault(
        "phases as they were written before",
        "train_afa",
        "PhaseHook has no argument 'cls_iters'; it takes",
        option("custom_hooks.1.cls_iters=5"),
    ),
    Fault("PAR dilations", "train_afa", "dilations", option("model.refiner.dilations=2")),
    Fault(
        "pooling unknown", "train", "pooling must be one of", option("model.cls_head.pooling=mean")
    ),
    Fault(
        "class in two spellings",
        "train",
        "metainfo.classes has the class 'a' twice, in two spellings that look the same: keep one.",
        option("train_dataloader.dataset.metainfo.classes=['background','a','a\u200b','c']"),
    ),
    Fault(
        "classes are numbers",
        "train",
        "metainfo.classes must have the names of classes, got 0",
        option("train_dataloader.dataset.metainfo.classes=[0,1,2,3]"),
    ),
    Fault(
        "class of the mean twice",
        "train_afa",
        "WSSSIoUMetric.classes has the class 'a' twice",
        option("val_evaluator.2.classes=['a','a\u200b']"),
    ),
    Fault(
        "classes of the head",
        "train",
        "model.cls_head: num_classes is 9, but",
        option("model.cls_head.num_classes=9"),
    ),
    Fault("batch 0", "train", "batch_size", option("train_dataloader.batch_size=0")),
    Fault("batch text", "train", "batch_size", option("train_dataloader.batch_size=many")),
    Fault("iterations 0", "train", "max_iters", option("train_cfg.max_iters=0")),
    Fault("iterations text", "train", "max_iters", option("train_cfg.max_iters=many")),
    Fault("iterations a fraction", "train", "max_iters", option("train_cfg.max_iters=2.5")),
    Fault("save every 0", "train", "interval", option("default_hooks.checkpoint.interval=0")),
    Fault("log every text", "train", "interval", option("default_hooks.logger.interval=often")),
    Fault("rate text", "train", "lr", option("optim_wrapper.optimizer.lr=fast")),
    Fault("rate -1", "train", "-1", option("optim_wrapper.optimizer.lr=-1")),
    Fault(
        "schedule turned",
        "train",
        "end should be larger than begin",
        option("param_scheduler.0.begin=9"),
    ),
    Fault("seed text", "train", "seed", option("randomness.seed=dice")),
    Fault("log level", "train", "LOUD", option("log_level=LOUD")),
    Fault("work dir a number", "train.py cam.py", "work_dir", option("work_dir=3")),
    Fault(
        "start method", "train", "mp_start_method", option("env_cfg.mp_cfg.mp_start_method=spoon")
    ),
    Fault("launcher", "train", "start the tool with torchrun", "--launcher pytorch"),
    Fault("device unknown", "predict", "The device must be 'cpu'", "--device gpu"),
    Fault("iterations scaled to 0", "train", "--iters must be 1 or more, got 0", "--iters 0"),
    Fault("iterations below 0", "train", "--iters must be 1 or more, got -5", "--iters -5"),
    Fault(
        "iterations too few for the phases",
        "train_afa",
        "--iters 1 is too few for the phases",
        "--iters 1",
    ),
    Fault(
        "iterations said twice",
        "train",
        "--iters and --cfg-options train_cfg.max_iters: give only one",
        "--iters 5 " + option("train_cfg.max_iters=3"),
    ),
    Fault(
        "iterations of epochs",
        "train",
        "--iters: param_scheduler LinearLR counts epochs: set by_epoch=False",
        "--iters 5",
        harm=more("cam.py", "param_scheduler = [dict(type='LinearLR')]"),
    ),
    Fault(
        "iterations and a rate of each",
        "train",
        "--iters cannot scale the param_scheduler ExponentialLR",
        "--iters 5",
        harm=more(
            "cam.py", "param_scheduler = [dict(type='ExponentialLR', gamma=0.9, by_epoch=False)]"
        ),
    ),
    Fault(
        "iterations of no number",
        "train",
        "--iters needs a config with train_cfg.max_iters",
        "--iters 5",
        harm=more("cam.py", "del train_cfg['max_iters']"),
    ),
    Fault("kind unknown", "predict", "--kind must be one of cam, par", "--kind affinity"),
    Fault("kind in capitals", "predict", "--kind must be one of cam, par", "--kind PAR"),
    Fault("kind with CRF", "predict", "--crf sharpens the segmentation, not", "--kind par --crf"),
    Fault(
        "kind that a classifier lacks",
        "predict.py cam.py cam.pth data/JPEGImages --out out",
        "(CAMClassifier) makes no 'seg' labels: choose --kind cam",
        "--kind seg",
    ),
    Fault("class threshold", "predict", "--cls-thr must be between 0 and 1, got 7", "--cls-thr 7"),
    Fault("class threshold NaN", "predict", "--cls-thr must be between 0 and 1", "--cls-thr nan"),
    Fault(
        "class threshold without classifier",
        "predict.py affinity.py affinity.pth data/JPEGImages --out out",
        "--cls-thr is for a model with a classifier; AffinityNet has none",
        "--cls-thr 0.3",
    ),
    Fault("scores crossed", "pseudo_labels", "0.2", "--ignore-thr 0.2 0.6"),
    Fault("exponents crossed", "affinity_labels", "LOW and HIGH, got 6 and 2", "--alphas 6 2"),
    Fault("exponent 0", "random_walk", "must be above 0, got 0", "--alpha 0"),
    Fault("sub-categories 0", "sub_categories", "0", "--num-sub 0"),
    Fault("processes -1", "run_pipeline", "-1", "--num-processes -1"),
]

if __name__ == "__main__":
    sys.exit("faults_of_values is imported by the tests.")
