"""How far sounds are from reference music as two clouds of embeddings: FAD, its extrapolation, and KAD.

Points are float (N, D), one row a patch, and `owners` (N,) says which clip or song a row comes from. Intervals are of the
delete-one jackknife, not of the bootstrap: a draw with replacement holds fewer different points than there are, which pushes
either distance up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

ENOUGH_FAD, ENOUGH_INFINITY = 2, 4
"""Patches per dimension of the embedding under which FAD, and its extrapolation, are not given."""
KAD_SCALE = 100.0
ROWS = 1024
"""Rows of a kernel matrix that are held at once."""


Moments = tuple[np.ndarray, np.ndarray]
"""Mean (D,) and covariance (D, D) of points."""


def moments(points: np.ndarray) -> Moments:
    """Mean and covariance of points (N, D)."""
    return points.mean(0), np.cov(points, rowvar=False)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """FAD of embeddings (N, D) and (M, D): |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) (Kilgour et al., 2019)."""
    return frechet_of(moments(a), moments(b))


def frechet_of(a: Moments, b: Moments) -> float:
    """`frechet` of two clouds by their moments."""
    values, vectors = np.linalg.eigh(a[1])
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    middle = np.linalg.eigvalsh(root @ b[1] @ root)  # similar to Σ₁ Σ₂, and symmetric
    trace = np.trace(a[1]) + np.trace(b[1]) - 2 * np.sqrt(np.clip(middle, 0, None)).sum()
    return float(((a[0] - b[0]) ** 2).sum() + max(trace, 0.0))


@dataclass(frozen=True, eq=False)
class EmbeddedMusic:
    """Reference music as points (M, D), M at least 2; what does not depend on the system is found once and kept."""

    points: np.ndarray

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of points (N, D)."""
        return moments(self.points)

    @cached_property
    def width(self) -> float:
        """Of the kernel: the median distance between two of its points."""
        from scipy.spatial.distance import pdist

        few = self.points[np.linspace(0, len(self.points) - 1, min(len(self.points), 2000)).astype(int)]
        return float(np.median(pdist(few))) or 1.0

    @cached_property
    def likeness(self) -> float:
        """Mean kernel of two different points of it, 0..1."""
        sums = [self.kernel(self.points[at : at + ROWS], self.points).sum() for at in range(0, len(self.points), ROWS)]
        n = len(self.points)
        return float((np.sum(sums) - n) / (n * (n - 1)))

    def kernel(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """exp(−|x − y|² / 2w²) of every pair, (N, M), w the `width`."""
        from scipy.spatial.distance import cdist

        return np.exp(-cdist(a, b, "sqeuclidean") / (2 * self.width**2))


def kernel_distance(points: np.ndarray, music: EmbeddedMusic) -> Callable[[np.ndarray], float]:
    """KAD of those points that a mask (N,) keeps, two at least: 100 times the unbiased estimate of the squared maximum mean
    discrepancy under a Gaussian kernel as wide as the reference's median distance (Chung et al., 2025). It needs no normal
    distribution and few points; equal distributions are at 0 on average, so it can be a little below.

    The paper's own package kadtk brings a dozen embedding networks and their frameworks, none of them the one used here.
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


def jackknife(measure: Callable[[np.ndarray], float], owners: Sequence[str]) -> tuple[float, float] | None:
    """95 % interval of `measure`, a function of which of the points (N,) are kept: t with G − 1 degrees of freedom on the
    error of the delete-one jackknife over the G owners. None where that would leave fewer than two points."""
    from scipy.stats import t

    owners = np.asarray(owners)
    names, sizes = np.unique(owners, return_counts=True)
    if len(owners) - sizes.max() < 2:
        return None
    without = np.array([measure(owners != name) for name in names])
    error = np.sqrt((len(names) - 1) / len(names) * ((without - without.mean()) ** 2).sum())
    reach = float(t.ppf(0.975, len(names) - 1) * error)
    whole = measure(np.ones(len(owners), bool))
    return whole - reach, whole + reach


def distance_scores(
    points: np.ndarray, music: EmbeddedMusic, seed: int, *, clips: Sequence[str], songs: Sequence[str] | None = None, coded: EmbeddedMusic | None = None,
) -> dict:  # fmt: skip
    """{'fad': FAD, FAD∞ and FAD to coded music, 'kad': KAD} of one system with intervals over clips and songs.

    points : (N, D). clips, songs : of each row; songs None where unknown. coded : the reference coded and decoded again,
    whose FAD is `coded`: no system over codes can be nearer to music than coded music is. Names of bounds are as
    `bootstrap.with_intervals` gives them.
    """
    owners = {"": clips} | ({"_song": songs} if songs is not None else {})
    fad, kad = fad_scores(points, music.points, seed), {}
    measures = []
    if "fad" in fad:
        measures.append((fad, "fad", lambda kept: frechet_of(moments(points[kept]), music.moments), 0.0))
        if coded is not None:
            measures.append((fad, "coded", lambda kept: frechet_of(moments(points[kept]), coded.moments), 0.0))
    if len(points) > 1 and len(music.points) > 1:
        measures.append((kad, "kad", kernel_distance(points, music), -np.inf))
    for scores, name, measure, least in measures:
        scores[name] = measure(np.ones(len(points), bool))
        for kind, of in owners.items():
            if bounds := jackknife(measure, of):
                scores[f"{name}{kind}_low"], scores[f"{name}{kind}_high"] = max(bounds[0], least), bounds[1]
    return {"fad": fad} | ({"kad": kad} if kad else {})


def fad_scores(points: np.ndarray, reference: np.ndarray, seed: int) -> dict:
    """FAD of points (N, D) to a reference (M, D), and FAD∞: its value extrapolated to infinitely many points.

    FAD falls about linearly in 1 / N (Chong and Forsyth, 2020; Gui et al., 2024): FAD∞ is the intercept of a straight line
    through the means of draws of N/2 to N points, without replacement. Either is declined, with the reason, where points
    are too few for it: 2 and 4 per dimension.
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
