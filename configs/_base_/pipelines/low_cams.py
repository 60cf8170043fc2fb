# Arguments of AffinityNet's stages for CAMs whose minimum is subtracted: their best background score on voc12-mini's
# train is 0.35, where the papers' (1 - max)^4 crosses at 0.28.
_affinity_labels = ["{cams}", "--split", "train", "--alphas", "1.5", "6", "--evaluate"]
_alpha = ["--split", "train", "--alpha", "8"]
_random_walk = ["{cams}", *_alpha, "--save-maps", "--evaluate", "--sweep"]
_pseudo_labels = ["{cams}", *_alpha, "--walked", "{random_walk}", "--evaluate", "--crf"]
