"""Addresses and API keys of endpoints, what an HTTP failure means, and how long to wait."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.engines.address import api_key, parse_address
from safeguard_spark.engines.failures import (
    FailureKind,
    back_off,
    of_status,
    retry_after,
)
from safeguard_spark.engines.timings import DEFAULT_TIMINGS
from safeguard_spark.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://host:8000", "http://host:8000"),
        ("http://host:8000/", "http://host:8000"),
        ("http://host:8000/v1", "http://host:8000"),
        ("https://host/serving/v1/", "https://host/serving"),
        ("https://host/v1beta", "https://host/v1beta"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
    ],
)
def test_an_address_is_the_url_before_the_path(url: str, base: str) -> None:
    assert parse_address(url)._asdict() == {"base": base, "socket": None, "display": base, "proxy": None}


@pytest.mark.parametrize("url", ["unix:/run/engine.sock", "unix:///run/engine.sock"])
def test_a_unix_socket_is_its_path(url: str) -> None:
    result = parse_address(url)
    assert (result.socket, result.display) == ("/run/engine.sock", "unix:/run/engine.sock")


@pytest.mark.parametrize(
    "url", ["unix:", "host:8000", "http://", "http://host:port", "http://[", "ftp://host", "", "http://host:99999"]
)
def test_a_wrong_address_is_one_sentence(url: str) -> None:
    with pytest.raises(ConfigError, match=r"engine\.url"):
        parse_address(url)


@pytest.mark.parametrize("url", ["http://me:sesame@host", "http://host/?key=sesame", "http://host/#sesame"])
def test_a_secret_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url)
    assert "sesame" not in str(caught.value) and "api_key_env" in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_configuration_error(text: str) -> None:
    for url in (text, f"http://{text}", f"unix:{text}"):
        try:
            parse_address(url)
        except ConfigError:
            continue


def test_a_proxy_is_used_except_for_this_machine_and_no_proxy_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:1")
    monkeypatch.setenv("no_proxy", "inside.example.org")
    assert parse_address("http://host:8000").proxy == "http://proxy:1"
    assert parse_address("https://host").proxy is None
    for url in ("http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000", "http://inside.example.org"):
        assert parse_address(url).proxy is None


def test_the_key_is_the_variables_value_without_white_space_around_it() -> None:
    assert api_key(None, {}) is None and api_key("", {}) is None
    assert api_key("KEY", {"KEY": " sesame\n"}) == "sesame"


@pytest.mark.parametrize("value", ["", " ", "ses\name", "sésame", "ses\x00ame"])
def test_a_value_that_is_no_key_is_one_sentence_without_the_value(value: str) -> None:
    with pytest.raises(ConfigError, match=r"variable that engine\.api_key_env names") as caught:
        api_key("KEY", {"KEY": value})
    assert not value.strip() or value not in str(caught.value)


# Failures and waits


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ((429, 503, 529), FailureKind.busy),
        ((401, 407), FailureKind.unauthorized),
        ((402,), FailureKind.unpaid),
        ((403,), FailureKind.forbidden),
        ((301, 302, 404, 405, 501), FailureKind.not_found),
        ((408, 409, 425, 500, 502, 504), FailureKind.transient),
        ((400, 413, 422), FailureKind.bad_request),
    ],
)
def test_a_status_has_its_kind_of_failure(codes: tuple[int, ...], kind: FailureKind) -> None:
    for code in codes:
        failure = of_status(code, {"Retry-After": "3"})
        assert (failure.kind, failure.cause) == (kind, f"HTTP {code}")
        assert failure.wait_s == (3.0 if kind in (FailureKind.busy, FailureKind.transient) else None)


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after("0") == 0.0 and retry_after(" 120 ") == 120.0 and retry_after(None) is None
    soon = retry_after(formatdate(time.time() + 60, usegmt=True))
    assert soon is not None and 50 < soon <= 61
    assert retry_after(formatdate(time.time() - 60, usegmt=True)) == 0.0


@given(
    st.text(max_size=40)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} \d{1,3}:\d\d:\d\d( GMT| [+-]\d{4,6})?")
)
def test_any_retry_after_is_a_wait_or_none(value: str) -> None:
    wait_s = retry_after(value)
    assert wait_s is None or wait_s >= 0


@given(st.integers(0, 100_000))
def test_back_off_doubles_with_jitter_up_to_its_limit(retries: int) -> None:
    longest = min(DEFAULT_TIMINGS.back_off_max_s, DEFAULT_TIMINGS.back_off_s * 2.0 ** min(retries, 50))
    assert longest / 2 <= back_off(retries, None) <= longest


@given(st.integers(0, 5), st.floats(0, 1000))
def test_a_wait_that_the_server_requests_is_kept_with_a_little_jitter(retries: int, requested_s: float) -> None:
    assert requested_s <= back_off(retries, requested_s) <= requested_s + 0.25
