"""The store on a Tiled server: what stands there, and what happens when it is damaged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest

from bluesky_azint.errors import StoreError
from bluesky_azint.store import CalibrationRecord, TiledStore, open_store

if TYPE_CHECKING:
    from tiled.client.container import Container

Make = Callable[..., CalibrationRecord]
EVENING = datetime(2026, 3, 1, 18, tzinfo=UTC)


@pytest.fixture
def store(tiled_client: Container) -> TiledStore:
    """An empty store."""
    return TiledStore.open(tiled_client, str(uuid4()))


def test_what_stands_on_the_server(store: TiledStore, make_record: Make) -> None:
    store.save(record := make_record(uid="abc"))
    store.save(make_record(uid="def"))
    assert [spec.name for spec in store.client.specs] == ["AzintCalibrationStore"]
    assert set(store.client) == {"abc", "def", "_masks"}
    assert [spec.name for spec in store.client["abc"].specs] == ["AzintCalibration"]
    assert store.client["abc"].metadata["geometry"]["dist"] == record.geometry.dist
    assert set(store.client["_masks"]) == set(record.masks)  # each only once


def test_a_store_is_made_once_and_found_again(tiled_client: Container, make_record: Make) -> None:
    key = str(uuid4())
    TiledStore.open(tiled_client, key).save(record := make_record())
    assert TiledStore.open(tiled_client, key).records() == [record]


def test_a_container_that_is_no_store_is_refused(tiled_client: Container) -> None:
    key = str(uuid4())
    tiled_client.create_container(key)
    with pytest.raises(StoreError, match="lacks the spec AzintCalibrationStore"):
        TiledStore.open(tiled_client, key)


def test_other_things_in_the_container_are_no_records(store: TiledStore, make_record: Make) -> None:
    store.client.create_container("note", metadata={"detector": "eiger", "status": "accepted"})
    assert store.records() == []
    assert store.latest("eiger", EVENING) is None
    with pytest.raises(StoreError, match="no calibration 'note'"):
        store.get("note")
    with pytest.raises(StoreError, match="already holds a calibration note"):
        store.save(make_record(uid="note"))


def test_a_damaged_mask_is_never_used(store: TiledStore, make_record: Make) -> None:
    store.save(record := make_record())
    digest, mask = next(iter(record.masks.items()))
    store.client["_masks", digest].write(np.zeros(mask.shape, np.uint8))
    with pytest.raises(StoreError, match=f"{digest} is damaged"):
        store.latest("eiger", EVENING)
    store.save(make_record(valid_from=EVENING))  # with the same masks, which mends the array
    assert store.get(record.uid) == record


def test_a_missing_mask_is_told(store: TiledStore, make_record: Make) -> None:
    store.save(record := make_record())
    digest = next(iter(record.masks))
    store.client["_masks"].delete_contents(digest, external_only=False)
    with pytest.raises(StoreError, match=f"its mask is not at .*{digest}"):
        store.get(record.uid)


def test_a_damaged_record_is_never_passed_over(store: TiledStore, make_record: Make) -> None:
    store.save(make_record(uid="older"))
    store.save(make_record(uid="newer", valid_from=EVENING))
    store.client["newer"].update_metadata({"geometry": "lost"})
    with pytest.raises(StoreError, match="newer cannot be read"):
        store.latest("eiger", EVENING)


def test_a_server_that_is_gone(
    store: TiledStore, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx
    import tiled.client.utils

    def refuse(*_: object, **__: object) -> None:
        raise httpx.ConnectError("Connection refused")

    monkeypatch.setattr(tiled.client.utils, "TILED_RETRY_ATTEMPTS", 1)
    monkeypatch.setattr(httpx.Client, "send", refuse)
    for ask in (
        lambda: store.latest("eiger", EVENING),
        lambda: store.get("abc"),
        lambda: store.save(make_record()),
        lambda: TiledStore.open(store.client),
        store.records,
    ):
        with pytest.raises(StoreError, match="does not answer as it should: Connection refused"):
            ask()


def test_a_store_at_an_address(
    tiled_client: Container, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(uuid4())
    tiled_client.create_container(key)
    where = tiled_client[key].uri
    monkeypatch.setenv("TILED_API_KEY", tiled_client.context.api_key)
    with pytest.raises(StoreError, match="no calibration store at"):
        open_store(where)
    stores = [
        open_store(where, new=True),
        open_store(where),
        open_store(f"{where}/calibrations"),
    ]
    stores[0].save(record := make_record())
    for store in stores:
        assert isinstance(store, TiledStore)
        assert store.get(record.uid) == record
        store.client.context.close()
    with pytest.raises(StoreError, match=r"Nothing at .* can be opened"):
        open_store(f"{where}/nothing")
    monkeypatch.delenv("TILED_API_KEY")
    with pytest.raises(StoreError, match="set TILED_API_KEY"):
        open_store(where)
