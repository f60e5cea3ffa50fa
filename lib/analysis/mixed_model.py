"""A linear mixed model of scores over cells, losses and seeds (statsmodels)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lib import InputError
from lib.analysis.stats import Effect
from lib.checks.arrays import in_labels, one_row


class Mixed(NamedTuple):
    """The fixed effect of the loss in a mixed model, and a remark on the fit (empty if there is none).

    `seed_variance` is that of the seeds' intercepts, `loss_variance` that of the loss's effect between seeds (NaN if
    each seed has one run with each loss; it is then in the residual). `interactions` has, for each level of a factor
    except its first, the effect at this level minus the effect at the first.
    """

    effect: Effect
    seed_variance: float
    loss_variance: float
    residual_variance: float
    remark: str
    interactions: dict[str, Effect]


def mixed_model(
    scores: ArrayLike, is_first: ArrayLike, cells: Sequence[str], seeds: ArrayLike, factor: Sequence[str] | None = None
) -> Mixed:
    """score ~ loss + cell + loss x factor + (1 | seed) + (0 + loss | seed): effect of the first loss minus the second.

    Cells are fixed effects, which include every factor of the cells. Unit of replication: seeds. The level of a seed
    and its effect of the loss are random, uncorrelated, and the same in every cell. The fit is by restricted maximum
    likelihood. The effect has Student's t with seeds - 1 degrees of freedom, like the paired t-test over seeds; in a
    balanced study in which the effect varies between seeds, it is that test (exactly so with one cell). The
    interactions compare cells within seeds and have the degrees of freedom of the residual.

    Args:
        scores: (runs,) mean score of each run.
        is_first: (runs,) True where the run was trained with the first of the two losses.
        cells: (runs,) name of the run's cell.
        seeds: (runs,) seed of the run; the same seed in different cells is the same level.
        factor: (runs,) level of one factor of the cells, for example the model, if the effect may depend on it;
            `effect` is then the mean over runs.
    Returns:
        `Mixed`; `remark` says if a variance is at its bound of 0 (even if the optimiser did not call it convergence),
        or if the fit did not converge.
    Raises:
        InputError: arrays of different lengths, fewer than 2 seeds, too few runs, scores without spread, a factor that
            differs within a cell, or a loss that is missing in all runs or in every cell of a level of `factor`.
    """
    import warnings

    import statsmodels.api as sm
    from scipy import stats as distributions
    from statsmodels.regression.mixed_linear_model import VCSpec

    y = one_row(scores, "scores")
    given = {"is_first": is_first, "cells": cells, "seeds": seeds, "factor": [0] * len(y) if factor is None else factor}
    first, cells, seeds, factor = (np.array(in_labels(each, name, len(y))) for name, each in given.items())
    first = first.astype(bool)
    if len(np.unique(seeds)) < 2 or first.all() or not first.any():
        raise InputError("a mixed model needs runs of both losses with 2 or more seeds; run the study with --seeds 5")
    if any(len(np.unique(factor[cells == cell])) > 1 for cell in np.unique(cells)):
        raise InputError("factor: has several levels within one cell; give one that is constant in each cell")
    _, *levels = np.unique(factor)
    columns = [
        first,
        *(first * ((factor == level) - (factor == level).mean()) for level in levels),
        *(cells == cell for cell in np.unique(cells)),
    ]
    design, n = np.stack(columns, axis=1).astype(float), len(np.unique(seeds))
    members = [seeds == seed for seed in np.unique(seeds)]

    def spread_over(random):
        """Degrees of freedom of the residual, given `design` and `random` (runs, components), and if it is not 0."""
        everything = np.hstack([design, *(member[:, None] * random for member in members)])
        left = y - everything @ np.linalg.lstsq(everything, y)[0]
        return len(y) - np.linalg.matrix_rank(everything), not np.allclose(left, 0, rtol=0, atol=1e-12)

    random = np.stack([np.ones(len(y)), first - 0.5], axis=1)  # (runs, components): level and effect of the loss
    residual, spread = spread_over(random)
    if residual < 1:  # a seed has one run with each loss
        random = random[:, :1]
        residual, spread = spread_over(random)
    if np.linalg.matrix_rank(design) < design.shape[1] or residual < 1:
        raise InputError(
            "is_first, cells, factor: in these runs the loss cannot be separated from the cells; give both "
            "losses with 2 or more seeds in every cell"
        )
    if not spread:
        raise InputError("scores: have no spread beyond that of cells, losses and seeds; leave the mixed model out")
    components = [[random[member, i : i + 1] for member in members] for i in range(random.shape[1])]
    names = ["seed", "loss"][: len(components)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `remark` reports what matters
        # Powell's method needs no gradient; for that statsmodels inverts a matrix that is singular at large variances.
        fitted = sm.MixedLM(
            y, design, groups=seeds, exog_vc=VCSpec(names, [[[name]] * n for name in names], components)
        ).fit(reml=True, method=["powell"])
    variances = fitted.vcomp
    t = [distributions.t(n - 1 if len(names) > 1 else residual), distributions.t(residual)]
    effects = [
        Effect(
            float(b),
            float(b - t.ppf(0.975) * error),
            float(b + t.ppf(0.975) * error),
            float(2 * t.sf(abs(b) / error)),
            n,
            "seeds",
        )
        for b, error, t in zip(fitted.fe_params, fitted.bse_fe, [t[0], *t[1:] * len(levels)])
    ]
    flat = [
        name
        for name, variance in zip(("seeds", "loss's effect between seeds"), variances)
        if variance < 1e-3 * fitted.scale
    ]
    remark = (
        "the variance of the " + " and of the ".join(flat) + " is 0 within the fit's precision"
        if flat
        else "the fit did not converge"
        if not fitted.converged
        else ""
    )
    interactions = {str(level): effect for level, effect in zip(levels, effects[1:])}
    return Mixed(
        effects[0],
        float(variances[0]),
        float(variances[1]) if len(names) > 1 else np.nan,
        float(fitted.scale),
        remark,
        interactions,
    )
