"""What the tests of the data share: a cache for each test."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IOU_STUDY_CACHE", str(tmp_path / "cache"))
    for variable in ("IOU_STUDY_DATA", "IOU_STUDY_URLS"):
        monkeypatch.delenv(variable, raising=False)
