"""What headers say of the API's limits, sensible or not."""

from __future__ import annotations

import math
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.models.api_limits import Quota, quotas, retry_after_s

RECORDED = {
    "date": "Thu, 21 Aug 2025 12:40:40 GMT",
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "20",
    "anthropic-ratelimit-requests-reset": "2025-08-21T12:41:10Z",
    "anthropic-ratelimit-input-tokens-limit": "80000",
    "anthropic-ratelimit-input-tokens-remaining": "80000",
    "anthropic-ratelimit-input-tokens-reset": "2025-08-21T12:40:39Z",
}

HEADERS: st.SearchStrategy[dict[str, str]] = st.dictionaries(
    st.sampled_from([*RECORDED, "retry-after", "retry-after-ms"]),
    st.one_of(
        st.text(st.characters(codec="latin-1"), max_size=20),
        st.floats().map(str),
        st.integers().map(str),
        st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
        st.integers(-(2**60), 2**60).map(lambda seconds: f"Thu, 21 Aug {seconds} 12:40:40 GMT"),
        st.sampled_from(["nan", "inf", "-inf", "9" * 400, "1e-320", "0001-01-01T00:00:00+23:59", *RECORDED.values()]),
    ),
)


def test_a_quota_refills_so_that_it_is_full_at_its_reset():
    assert list(quotas(RECORDED)) == [
        Quota("requests", limit=50, remaining=20, per_s=30 / 30),
        Quota("input-tokens", limit=80_000, remaining=80_000, per_s=80_000 / 60),
    ]


def test_the_servers_clock_may_be_wrong():
    late = {**RECORDED, "date": "Thu, 21 Aug 2025 02:40:40 GMT"}
    late["anthropic-ratelimit-requests-reset"] = "2025-08-21T02:41:10Z"

    assert list(quotas(late)) == list(quotas(RECORDED))


@pytest.mark.parametrize(
    "changes",
    [{"limit": "0"}, {"limit": "inf"}, {"limit": "-5"}, {"remaining": "51"}, {"remaining": "nan"}, {"remaining": ""}],
)
def test_a_quota_that_makes_no_sense_is_none(changes: dict[str, str]):
    headers = RECORDED | {f"anthropic-ratelimit-requests-{name}": value for name, value in changes.items()}

    assert [quota.name for quota in quotas(headers)] == ["input-tokens"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "9", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "inf"}, math.inf),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": ""}, 0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2015 07:27:30 GMT"}, 30),
        (
            {"retry-after": formatdate(time.time() + 3600, usegmt=True)},
            pytest.approx(3600, abs=3600),
        ),  # collected some time ago
    ],
)
def test_a_wait_is_seconds_or_a_date_and_else_none(headers: dict[str, str], seconds: float):
    assert retry_after_s(headers) == seconds


@given(HEADERS)
def test_no_header_breaks_anything(headers: dict[str, str]):
    assert retry_after_s(headers) >= 0
    for quota in quotas(headers):
        assert 0 <= quota.remaining <= quota.limit < math.inf
        assert 0 < quota.per_s < math.inf
