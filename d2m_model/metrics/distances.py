"""Distances between the embeddings of generated and of reference music: FAD, its extrapolation, and KAD.

Points are float (N, D), one row per patch; `owners` (N,) gives the clip or song of each row. Intervals come from the delete-one
jackknife, not from the bootstrap: a resample with replacement has fewer distinct points, which increases both distances.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

ENOUGH_FAD, ENOUGH_INFINITY = 2, 4
"""Fewest patches per dimension of the embedding for FAD, and for its extrapolation."""
KAD_SCALE = 100.0
ROWS = 1024
"""Rows of a kernel matrix that are computed at once, to limit memory."""


Moments = tuple[np.ndarray, np.ndarray]
"""Mean (D,) and covariance (D, D) of points."""


def moments(points: np.ndarray) -> Moments:
    """Mean and covariance of points (N, D)."""
    return points.mean(0), np.cov(points, rowvar=False)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """FAD of embeddings (N, D) and (M, D): |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) (Kilgour et al., 2019)."""
    return frechet_of(moments(a), moments(b))


def frechet_of(a: Moments, b: Moments) -> float:
    """`frechet` from the moments of both sets of points."""
    values, vectors = np.linalg.eigh(a[1])
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    middle = np.linalg.eigvalsh(root @ b[1] @ root)  # similar to Σ₁ Σ₂, and symmetric
    trace = np.trace(a[1]) + np.trace(b[1]) - 2 * np.sqrt(np.clip(middle, 0, None)).sum()
    return float(((a[0] - b[0]) ** 2).sum() + max(trace, 0.0))


@dataclass(frozen=True, eq=False)
class EmbeddedMusic:
    """Embedded reference music, points (M, D), M at least 2. What does not depend on the system is computed once."""

    points: np.ndarray

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of points (N, D)."""
        return moments(self.points)

    @cached_property
    def width(self) -> float:
        """Width of the kernel: the median distance between two points."""
        from scipy.spatial.distance import pdist

        few = self.points[np.linspace(0, len(self.points) - 1, min(len(self.points), 2000)).astype(int)]
        return float(np.median(pdist(few))) or 1.0

    @cached_property
    def likeness(self) -> float:
        """Mean kernel of two different points, within 0..1."""
        sums = [self.kernel(self.points[at : at + ROWS], self.points).sum() for at in range(0, len(self.points), ROWS)]
        n = len(self.points)
        return float((np.sum(sums) - n) / (n * (n - 1)))

    def kernel(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """exp(−|x − y|² / 2w²) (N, M) for all pairs of points a (N, D) and b (M, D); w is the `width`."""
        from scipy.spatial.distance import cdist

        return np.exp(-cdist(a, b, "sqeuclidean") / (2 * self.width**2))


def kernel_distance(points: np.ndarray, music: EmbeddedMusic) -> Callable[[np.ndarray], float]:
    """A function that gives the KAD of those points that a mask (N,) keeps, at least two.

    KAD is 100 times the unbiased estimate of the squared maximum mean discrepancy, with a Gaussian kernel whose width is the
    reference's median distance (Chung et al., 2025). It assumes no normal distribution and needs few points. For equal
    distributions its mean is 0, so it can be slightly negative. The authors' package kadtk is not used, because it requires a
    dozen embedding networks with their frameworks, but not the embedding used here.
    """
    own = music.kernel(points, points)
    across = np.concatenate(
        [music.kernel(points[at : at + ROWS], music.points).mean(axis=1) for at in range(0, len(points), ROWS)]
    )

    def measure(kept: np.ndarray) -> float:
        n = int(kept.sum())
        among = (own[np.ix_(kept, kept)].sum() - n) / (n * (n - 1))
        return float(KAD_SCALE * (among + music.likeness - 2 * across[kept].mean()))

    return measure


def left_out(measure: Callable[[np.ndarray], float], owners: Sequence[str]) -> dict[str, float]:
    """{owner: `measure` without the owner's points}; {} if fewer than two points would be left.

    measure : a function of a mask (N,) of kept points. owners : (N,), the owner of each point.
    """
    of = np.asarray(owners)
    names, sizes = np.unique(of, return_counts=True)
    if len(of) - sizes.max() < 2:
        return {}
    return {str(name): measure(of != name) for name in names}


def jackknife(whole: float, without: Sequence[float]) -> tuple[float, float]:
    """95 % interval of a score. It uses the standard error of the delete-one jackknife over G owners and the t distribution with
    G − 1 degrees of freedom. without : the score without each owner, (G,), at least two."""
    from scipy.stats import t

    count = len(without)
    error = np.sqrt((count - 1) / count * ((np.array(without) - np.mean(without)) ** 2).sum())
    reach = float(t.ppf(0.975, count - 1) * error)
    return whole - reach, whole + reach


def distance_scores(
    points: np.ndarray, music: EmbeddedMusic, seed: int, *, clips: Sequence[str], songs: Sequence[str] | None = None,
    coded: EmbeddedMusic | None = None, own: EmbeddedMusic | None = None,
) -> dict:  # fmt: skip
    """{'fad': FAD, FAD∞, FAD to coded music and to the references, 'kad': KAD} of one system, with intervals over clips and songs,
    and 'without': {'fad', 'fad_song', ...: {clip or song: the distance without it}}.

    points : (N, D). clips, songs : of each row; songs is None if unknown. coded : the reference, encoded and decoded; the FAD to
    it is `coded`. A system over codes can at best sound like coded music. own : the dances' own music; the FAD to it is
    `references`, which is absent if either has too few patches. Bounds are named as in `bootstrap.with_intervals`.
    """
    owners = {"": clips} | ({"_song": songs} if songs is not None else {})
    fad, kad, without = fad_scores(points, music.points, seed), {}, {}
    measures = []
    to = lambda target: lambda kept: frechet_of(moments(points[kept]), target.moments)
    if "fad" in fad:
        measures.append((fad, "fad", to(music), 0.0))
        if coded is not None:
            measures.append((fad, "coded", to(coded), 0.0))
    if own is not None and min(len(points), len(own.points)) >= ENOUGH_FAD * points.shape[1]:
        measures.append((fad, "references", to(own), 0.0))
    if len(points) > 1 and len(music.points) > 1:
        measures.append((kad, "kad", kernel_distance(points, music), -np.inf))
    for scores, name, measure, least in measures:
        scores[name] = measure(np.ones(len(points), bool))
        for kind, of in owners.items():
            if found := left_out(measure, of):
                without[f"{name}{kind}"] = found
                low, high = jackknife(scores[name], list(found.values()))
                scores[f"{name}{kind}_low"], scores[f"{name}{kind}_high"] = max(low, least), high
    return {"fad": fad, "without": without} | ({"kad": kad} if kad else {})


def fad_scores(points: np.ndarray, reference: np.ndarray, seed: int) -> dict:
    """FAD of points (N, D) to a reference (M, D), and FAD∞, its extrapolation to infinitely many points.

    FAD is about linear in 1 / N (Chong and Forsyth, 2020; Gui et al., 2024). FAD∞ is the intercept of a line through the means over
    random subsets of N/2 to N points. With fewer than 2 (FAD) or 4 (FAD∞) points per dimension, the result has the reason
    instead of the score.
    """
    size, dimensions = points.shape
    result = {"patches": size, "reference_patches": len(reference)}
    fewest = min(size, len(reference))
    if fewest < ENOUGH_FAD * dimensions:
        return result | {
            "declined": f"{fewest} patches are too few for {dimensions} dimensions: {ENOUGH_FAD * dimensions} are needed"
        }
    result["fad"] = frechet(points, reference)
    if fewest < ENOUGH_INFINITY * dimensions:
        return result | {
            "infinity_declined": f"{fewest} patches are too few to extrapolate: {ENOUGH_INFINITY * dimensions} are needed"
        }
    rng = np.random.default_rng(seed)
    sizes = np.unique(np.linspace(size // 2, size, 8).astype(int))
    found = [np.mean([frechet(points[rng.permutation(size)[:n]], reference) for _ in range(8)]) for n in sizes]
    return result | {"fad_infinity": float(np.polyfit(1 / sizes, found, 1)[1])}
