from shared.serving.backoff import Backoff


def test_the_limit_doubles_up_to_the_longest_and_stays_there() -> None:
    backoff = Backoff(first_s=0.2, longest_s=1.0)
    limits = []
    for _ in range(5000):  # 2**1024 is no float
        limits.append(backoff.limit_s)
        assert 0 <= backoff.pause_s() <= limits[-1]
    assert limits[:4] == [0.2, 0.4, 0.8, 1.0]
    assert set(limits[4:]) == {1.0}
    backoff.reset()
    assert backoff.limit_s == 0.2
