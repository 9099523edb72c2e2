"""Do other classifiers than the one explained take the counterfactual for the target class?"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.types import Labels, LogOdds


def judge_follow(
    before: Labels, after: Labels, truth: Labels, target: Labels
) -> Float[Tensor, " batch"]:
    """Return 1 where a judge comes to predict the target, 0 where not, NaN where it cannot tell.

    A judge can tell of the images it had right to begin with and that did not show the target
    already. The mean over those is the transfer rate of Papernot et al. 2016, which for
    adversarial noise is near 0. Higher is better, as far as judge and classifier share no
    confounder.

    Args:
        before: the judge's predictions of the factuals.
        after: its predictions of the counterfactuals.
        truth: the classes that the factuals show.
        target: the classes that the counterfactuals are to show.

    >>> wrong, follows, stays = (1, 1), (0, 1), (0, 0)
    >>> before, after = torch.tensor([wrong, follows, stays]).T
    >>> judge_follow(before, after, torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])).tolist()
    [nan, 1.0, 0.0]
    """
    asked = (before == truth) & (truth != target)
    follows = (after == target).float()
    return torch.where(asked, follows, torch.nan)


def non_adversarial(
    flips: Float[Tensor, " batch"], judges: Float[Tensor, "judges batch"]
) -> Float[Tensor, " batch"]:
    """Return the share of the judges that flip where the classifier does, in [0, 1].

    The mean over the samples is the non-adversarial rate of Bender et al. 2025 (SCE),
    N_both flip / N_classifier flips, there with one surrogate and here with several judges that
    count alike. Higher is better. Other than for `judge_follow` no label is asked, and
    counterfactuals that miss the classifier say nothing: NaN there, and where no judge has a
    decision to flip.

    Args:
        flips: 1 where the classifier flips, 0 where not, NaN where it was at the target before.
        judges: the same of each judge.

    >>> flips = torch.tensor([1.0, 0.0, 1.0])
    >>> judges = torch.tensor([[1.0, 1.0, torch.nan], [0.0, 1.0, 1.0]])
    >>> non_adversarial(flips, judges).tolist()
    [0.5, nan, 1.0]
    """
    return torch.where(flips == 1, judges.nanmean(0), torch.nan)


def overshoot(followed: LogOdds, real: Float[Tensor, " real"]) -> Float[Tensor, " batch"]:
    """Return where a judge's log-odds lie among those of real images of the target class.

    The percentile rank 100 (#{r < v} + #{r = v} / 2) / n, in [0, 100]; NaN where v is, or where
    there are no real ones. 50 is a typical image of the target class; above 95 the judge is surer
    than of almost any real one, which is a sign of exaggeration and not of quality.

    Args:
        followed: log-odds of the target of counterfactuals that the judge follows.
        real: the same judge's of real images of the target class.

    >>> overshoot(torch.tensor([2.5, 9.0, 0.0]), torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist()
    [50.0, 100.0, 0.0]
    """
    ordered = real.sort().values.contiguous()
    below = torch.searchsorted(ordered, followed.contiguous(), right=False)
    up_to = torch.searchsorted(ordered, followed.contiguous(), right=True)
    rank = 50.0 * (below + up_to) / len(ordered)
    return torch.where(followed.isnan(), torch.nan, rank)
