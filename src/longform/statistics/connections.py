"""Find which models are connected by games, in many resamples at once.

Models connected by games, directly or through others, can be rated together. Their rating differences are finite only within
a group in which each model beat each other, directly or through others (Ford 1957); a model that won or lost every game has
only a rank.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def label_groups(start: np.ndarray, end: np.ndarray, there: np.ndarray, *, models: int, strong: bool) -> np.ndarray:
    """Label the connected component of each model, [models, samples]; labels are unique across samples.

    Args:
        start: [links] index of a model.
        end: [links] index of the model that it beat or played.
        there: [links, samples] whether a sample contains the link.
        models: Number of models.
        strong: Whether to find strongly connected components.
    """
    samples = there.shape[1]
    link, sample = np.nonzero(there)
    # One graph contains all samples as disconnected parts.
    edges = (sample * models + start[link], sample * models + end[link])
    graph = coo_array((np.ones(len(link), dtype=np.int8), edges), shape=(samples * models, samples * models))
    _, labels = connected_components(graph, directed=strong, connection="strong")
    return labels.reshape(samples, models).T


def in_largest(labels: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """Return whether each model is in its sample's largest group, [models, samples]; ties go to the first model's group.

    Args:
        labels: [models, samples] from `label_groups`.
        among: [models, samples] restricts the search to these models, which must form complete groups. None: all models.
    """
    sizes = np.bincount(labels.ravel())[labels]
    if among is not None:
        sizes = np.where(among, sizes, 0)
    return labels == labels[sizes.argmax(axis=0), np.arange(labels.shape[1])]
