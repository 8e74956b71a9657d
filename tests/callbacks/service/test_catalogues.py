"""The Tiled containers that a configuration names, on a server."""

from urllib.parse import parse_qs, urlsplit

import pytest

from bluesky_azint.callbacks import EmbeddedTiled
from bluesky_azint.callbacks.service.catalogues import connect, container_at
from bluesky_azint.callbacks.service.sections import Catalogue
from bluesky_azint.errors import ConfigError


def test_containers_are_found_with_the_key_of_the_environment(
    tiled: EmbeddedTiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(tiled.uri)
    monkeypatch.setenv("THE_KEY", parse_qs(parts.query)["api_key"][0])
    root = connect(Catalogue(uri=parts._replace(query="").geturl(), api_key_env="THE_KEY"))

    try:
        assert container_at(root, "/").uri == root.uri
        assert container_at(root, "raw").uri == tiled.client["raw"].uri
        with pytest.raises(ConfigError, match="no container 'raw/nothing'"):
            container_at(root, "raw/nothing")
    finally:
        root.context.close()
