"""The objective, against the printed formulas in exact arithmetic, torch's autograd and torchvision's focal loss."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.imbalance.losses import CROSS_ENTROPY, Focal, Objective, class_weights, loss, loss_slope

COUNTS = st.tuples(st.integers(1, 300_000), st.integers(1, 300_000))
BETAS = st.one_of(
    st.floats(0.0, 1.0, exclude_max=True),
    st.floats(1.0, 15.0).map(lambda nines: 1.0 - 10.0**-nines),
)
MARGINS = st.floats(-200.0, 200.0)
GAMMAS = st.floats(0.0, 10.0)
# Torch's softplus is linear from 20 on, which is off by e^-20 and at most ten times that after the focal exponent.
REL, ABS = 1e-7, 1e-300


# Class weights


def cui_weights(beta: float, counts: tuple[int, int]) -> tuple[float, float]:
    """Cui et al. 2019, eq. 2, as printed, with 80 digits."""
    with localcontext(prec=80):
        b = Decimal(beta)
        inverse = [(1 - b) / (1 - b**count) for count in counts]
        negative, positive = (2 * share / sum(inverse) for share in inverse)
        return float(negative), float(positive)


@given(beta=BETAS, counts=COUNTS)
@example(beta=5e-324, counts=(300_000, 1))
@example(beta=math.nextafter(1.0, 0.0), counts=(300_000, 1))
@example(beta=1.0 - 1e-12, counts=(199_020, 344))
@settings(deadline=None)
def test_class_weights_are_those_of_the_paper(beta: float, counts: tuple[int, int]) -> None:
    assert class_weights(beta, counts) == pytest.approx(cui_weights(beta, counts), rel=1e-12)


@given(beta=BETAS, counts=COUNTS)
def test_class_weights_sum_to_two(beta: float, counts: tuple[int, int]) -> None:
    assert sum(class_weights(beta, counts)) == pytest.approx(2.0, rel=1e-14)


@given(beta=BETAS, counts=COUNTS)
def test_the_rarer_class_never_weighs_less(beta: float, counts: tuple[int, int]) -> None:
    negative, positive = class_weights(beta, (max(counts), min(counts)))

    assert 0.0 < negative <= positive < 2.0


def test_a_beta_of_zero_weighs_both_alike() -> None:
    assert class_weights(0.0, (284_315, 492)) == (1.0, 1.0)


def test_a_beta_close_to_zero_weighs_both_nearly_alike() -> None:
    assert class_weights(1e-9, (970, 1)) == pytest.approx((1.0, 1.0))
    assert class_weights(1e-300, (970, 30)) == (1.0, 1.0)


@pytest.mark.parametrize("beta", [1.0 - 1e-12, math.nextafter(1.0, 0.0)])
def test_a_beta_close_to_one_weighs_by_inverse_frequency(beta: float) -> None:
    negative, positive = class_weights(beta, (199_020, 344))

    assert positive / negative == pytest.approx(199_020 / 344, rel=1e-6)


@pytest.mark.parametrize(("beta", "ratio"), [(0.9, 1.0), (0.99, 1.03), (0.999, 3.4), (0.9999, 30.0), (0.99999, 251.0)])
def test_the_weights_of_the_credit_card_data_have_the_known_ratios(beta: float, ratio: float) -> None:
    negative, positive = class_weights(beta, (199_020, 344))

    assert positive / negative == pytest.approx(ratio, rel=0.02)


# Loss and slope


def exact_loss(margin: Decimal, gamma: Decimal) -> Decimal:
    """(1 - p_t)^gamma * -log(p_t), as printed; of use with more digits than 1 - p_t has leading zeros."""
    p_t = 1 / (1 + (-margin).exp())
    return (1 - p_t) ** gamma * -p_t.ln()


@given(margin=MARGINS, gamma=GAMMAS)
@example(margin=17.0, gamma=0.5)
@example(margin=-200.0, gamma=10.0)
@settings(max_examples=60, deadline=None)
def test_the_loss_is_the_printed_formula(margin: float, gamma: float) -> None:
    with localcontext(prec=160):
        exact = float(exact_loss(Decimal(margin), Decimal(gamma)))

    assert loss(_double(margin), gamma).item() == pytest.approx(exact, rel=REL, abs=ABS)


@given(margin=MARGINS, gamma=GAMMAS)
@example(margin=17.0, gamma=0.5)
@example(margin=-200.0, gamma=10.0)
@settings(max_examples=60, deadline=None)
def test_the_slope_is_the_difference_quotient_of_the_printed_formula(margin: float, gamma: float) -> None:
    with localcontext(prec=200):
        at, step = Decimal(margin), Decimal("1e-25")
        above, below = (exact_loss(at + side, Decimal(gamma)) for side in (step, -step))
        exact = float((above - below) / (2 * step))

    assert loss_slope(_double(margin), gamma).item() == pytest.approx(exact, rel=REL, abs=ABS)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 4.5, 10.0])
def test_the_slope_is_what_autograd_says_of_the_loss(gamma: float) -> None:
    margins = torch.linspace(-200.0, 200.0, 4001, dtype=torch.float64, requires_grad=True)

    (slope,) = torch.autograd.grad(loss(margins, gamma).sum(), margins)

    assert torch.allclose(loss_slope(margins.detach(), gamma), slope, rtol=REL, atol=ABS)


@pytest.mark.parametrize("gamma", [0.0, 1e-3, 0.5, 1.0, 2.0, 10.0])
def test_loss_and_slope_are_finite_in_single_precision_whatever_the_margin(gamma: float) -> None:
    near = torch.linspace(-200.0, 200.0, 8001)
    margins = torch.cat([near, torch.tensor([-1e4, 1e4, -3e38, 3e38, 0.0, -0.0])])

    assert loss(margins, gamma).isfinite().all()
    assert loss_slope(margins, gamma).isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 10.0])
def test_a_certain_and_right_example_costs_nothing_and_a_certain_and_wrong_one_its_margin(gamma: float) -> None:
    margins = torch.tensor([1e4, -1e4])

    assert loss(margins, gamma).tolist() == [0.0, 1e4]
    assert loss_slope(margins, gamma).tolist() == [0.0, -1.0]


@given(margin=st.floats(-1e4, 1e4, width=32), gamma=GAMMAS)
@settings(deadline=None)
def test_single_precision_is_as_good_as_double(margin: float, gamma: float) -> None:
    single = torch.tensor([margin], dtype=torch.float32)

    assert loss(single, gamma).item() == pytest.approx(loss(single.double(), gamma).item(), rel=2e-5, abs=1e-6)
    expected = loss_slope(single.double(), gamma).item()
    assert loss_slope(single, gamma).item() == pytest.approx(expected, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_the_margins_are_left_as_they_are(gamma: float) -> None:
    margins = torch.linspace(-3.0, 3.0, 7)
    before = margins.clone()

    loss(margins, gamma)
    loss_slope(margins, gamma)

    assert torch.equal(margins, before)


def test_without_focus_the_loss_is_torchs_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> None:
    expected = binary_cross_entropy_with_logits(logits, labels, reduction="none")

    assert torch.allclose(loss((2 * labels - 1) * logits, 0.0), expected, rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.75, 2.0), (0.5, 0.5), (0.9, 5.0)])
def test_the_focal_loss_is_that_of_torchvision(
    alpha: float, gamma: float, logits: torch.Tensor, labels: torch.Tensor
) -> None:
    negative, positive = Objective(Focal(alpha, gamma)).factors

    found = (positive * labels + negative * (1 - labels)) * loss((2 * labels - 1) * logits, gamma)

    assert torch.allclose(found, _torchvision_focal_loss(logits, labels, alpha, gamma), rtol=1e-8, atol=1e-15)


# Factors


def test_the_default_objective_is_half_the_cross_entropy() -> None:
    assert Objective().factors == Objective(CROSS_ENTROPY).factors == (0.5, 0.5)


def test_class_weights_scale_the_factors() -> None:
    assert Objective(weights=(0.2, 1.8)).factors == pytest.approx((0.1, 0.9))


def test_alpha_is_the_factor_of_the_positive_class() -> None:
    assert Objective(Focal(alpha=0.8, gamma=2.0)).factors == pytest.approx((0.2, 0.8))


def test_class_weights_and_alpha_multiply() -> None:
    assert Objective(Focal(alpha=0.8, gamma=2.0), (0.5, 1.5)).factors == pytest.approx((0.1, 1.2))


@pytest.fixture
def logits() -> torch.Tensor:
    """Logits at which torchvision's formula is stable in double precision."""
    return torch.linspace(-12.0, 12.0, 481, dtype=torch.float64)


@pytest.fixture
def labels(logits: torch.Tensor) -> torch.Tensor:
    """A label for each logit; both classes occur everywhere."""
    return (torch.arange(len(logits)) % 2).double()


def _torchvision_focal_loss(logits: torch.Tensor, labels: torch.Tensor, alpha: float, gamma: float) -> torch.Tensor:
    """torchvision.ops.sigmoid_focal_loss of version 0.20, without its reduction."""
    p = torch.sigmoid(logits)
    ce_loss = binary_cross_entropy_with_logits(logits, labels, reduction="none")
    p_t = p * labels + (1 - p) * (1 - labels)
    alpha_t = alpha * labels + (1 - alpha) * (1 - labels)
    return alpha_t * (ce_loss * ((1 - p_t) ** gamma))


def _double(margin: float) -> torch.Tensor:
    return torch.tensor([margin], dtype=torch.float64)
