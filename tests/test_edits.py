import pytest
import torch

from cfgen.edits import class_mean
from cfgen.types import Goal


def test_the_class_mean_edit_is_the_difference_of_two_means():
    means = torch.randn(3, 2, 4, 4)
    goal = Goal(None, torch.zeros(2), torch.tensor([0, 2]), torch.tensor([1, 1]))
    moved = class_mean(means)(torch.randn(2, 2, 4, 4), goal, None)
    torch.testing.assert_close(moved, torch.stack([means[1] - means[0], means[1] - means[2]]))


def test_without_a_target_it_heads_for_the_mean_of_the_others():
    means = torch.randn(3, 5)
    goal = Goal(None, torch.zeros(1), torch.tensor([1]))
    moved = class_mean(means)(torch.randn(1, 5), goal, None)
    torch.testing.assert_close(moved[0], (means[0] + means[2]) / 2 - means[1])


def test_the_class_mean_edit_needs_a_source():
    with pytest.raises(ValueError, match="source classes"):
        class_mean(torch.zeros(2, 5))(torch.zeros(1, 5), Goal(None, torch.zeros(1)), None)
