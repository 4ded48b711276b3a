"""How many requests a caller may make."""

import pytest
from starlette.datastructures import Headers

from web_gateway.problems import Problem
from web_gateway.rates import Rates

ANN, BOB = Headers({"authorization": "Bearer ann"}), Headers({"cookie": "compactface=bob"})


class Time:
    """A clock that stands still."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def refused(rates: Rates, headers: Headers, address: str = "a") -> float | None:
    """After how many seconds the caller may try again; None: it is served."""
    try:
        rates.check(headers, address)
    except Problem as problem:
        return problem.retry_after_s
    return None


def served(rates: Rates, headers: Headers, address: str = "a") -> int:
    """How many requests are served at once."""
    count = 0
    while refused(rates, headers, address) is None:
        count += 1
    return count


def test_ten_seconds_worth_may_come_at_once_and_then_as_many_as_the_rate(time: Time) -> None:
    rates = Rates(2, clock=time)
    assert served(rates, ANN) == 20
    assert refused(rates, ANN) == pytest.approx(0.5)
    time.now += 0.5
    assert served(rates, ANN) == 1
    time.now += 3
    assert served(rates, ANN) == 6
    time.now += 3600
    assert served(rates, ANN) == 20


def test_callers_do_not_slow_each_other_down(time: Time) -> None:
    rates = Rates(1, clock=time)
    assert served(rates, ANN) == 10
    assert served(rates, BOB) == 10
    assert served(rates, Headers({}), "1.2.3.4") == 10
    assert served(rates, Headers({}), "1.2.3.5") == 10
    assert served(rates, ANN, "1.2.3.6") == 0


def test_a_rate_below_one_in_ten_seconds_serves_one(time: Time) -> None:
    rates = Rates(0.01, clock=time)
    assert served(rates, ANN) == 1
    time.now += 100
    assert served(rates, ANN) == 1


def test_callers_are_not_hoarded(time: Time) -> None:
    rates = Rates(1, clock=time)
    assert served(rates, ANN) == 10
    for number in range(10_000):
        assert refused(rates, Headers({}), str(number)) is None
    assert refused(rates, ANN) is None
    assert len(rates._due) == 10_000
