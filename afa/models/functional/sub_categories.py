"""Sub-categories of classes by clustering (SC-CAM).

Chang et al., "Weakly-Supervised Semantic Segmentation via Sub-category Exploration", CVPR 2020: the
features of the images that have a class are clustered, and the clusters are its sub-categories.
n images, K foreground classes, D channels.
"""

import numpy as np


def cluster_sub_categories(
    features: np.ndarray, labels: np.ndarray, num_sub: int = 10, seed: int = 0, num_init: int = 10
) -> np.ndarray:
    """Cluster the images of each class by k-means.

    A class with fewer different images than ``num_sub`` has as many sub-categories as these. The
    result depends on the arguments alone: one thread computes it, in float64, and sub-categories
    are numbered in the order in which the images show them.

    Args:
        features: (n, D) one vector for each image.
        labels: (n, K) multi-hot image labels.
        num_sub: sub-categories of a class at most; 10 in the paper.
        seed: of the first cluster centres.
        num_init: how often k-means starts anew; the tightest clusters count.

    Returns:
        (n, K) int64: sub-category 0..num_sub-1 of each image in each of its classes; -1 where it
        does not have the class.

    Raises:
        ValueError: if the arrays do not belong together, a feature is not finite, or ``num_sub`` is
            below 1.
    """
    if features.ndim != 2 or labels.ndim != 2 or len(features) != len(labels):
        raise ValueError(
            "features must be (n, D) and labels (n, K) of the same n images, "
            f"got {features.shape} and {labels.shape}"
        )
    if not np.isfinite(features).all():
        wrong = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise ValueError(
            f"the feature of image {wrong} (counted from 0) is not finite: the classifier that "
            "made it has diverged; train it again with a smaller learning rate"
        )
    if num_sub < 1:
        raise ValueError(
            f"num_sub, the sub-categories of a class, must be 1 or more, got {num_sub}"
        )
    sub = np.full(labels.shape, -1, dtype=np.int64)
    for k in range(labels.shape[1]):
        members = np.flatnonzero(labels[:, k] > 0)
        if len(members):
            sub[members, k] = _k_means(features[members], num_sub, seed, num_init)
    return sub


def _k_means(features: np.ndarray, num_clusters: int, seed: int, num_init: int) -> np.ndarray:
    """Cluster vectors (n, D); give (n,) clusters, numbered in the order of their first member."""
    # Not at import time: two seconds that only the clustering has to wait for.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    features = np.asarray(features, dtype=np.float64)
    num_clusters = min(num_clusters, len(np.unique(features, axis=0)))
    with threadpool_limits(1):  # threads add up in an order of their own
        found = KMeans(num_clusters, n_init=num_init, random_state=seed).fit_predict(features)
    _, first, cluster = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[cluster]
