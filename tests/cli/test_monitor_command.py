"""`./sealift monitor`: which address it prints, and when the key is part of it."""

from __future__ import annotations

import pytest

from cli.monitor import NoMonitor, main, page_address


def test_address_is_printed_without_its_key_and_opened_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    monkeypatch.setenv("SEALIFT_KEY", "a/b=")

    assert main(["--url", "https://app.example/"]) == 0

    assert opened == ["https://app.example/api/monitor?code=a%2Fb%3D"]
    assert "https://app.example/api/monitor" in capsys.readouterr().out
    assert "a%2Fb" not in capsys.readouterr().out


def test_whole_address_is_printed_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "https://app.example", "--key", "k", "--no-open"]) == 0

    assert capsys.readouterr().out.strip() == "https://app.example/api/monitor?code=k"


def test_sign_in_leads_to_the_page_and_takes_no_key_along(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "https://app.example/", "--key", "k", "--sign-in", "--no-open"]) == 0

    expected = "https://app.example/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Fmonitor"
    assert capsys.readouterr().out.strip() == expected


@pytest.mark.parametrize(
    "url", ["app.example", "ftp://app.example", "http://app.example", "https://app.example?code=1"]
)
def test_address_that_is_none_or_unsafe_is_refused(url: str) -> None:
    with pytest.raises(NoMonitor):
        page_address(url)


def test_without_an_app_the_hint_names_the_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEALIFT_URL", raising=False)

    with pytest.raises(NoMonitor) as error:
        main([])
    assert "demo --keep" in error.value.hint
