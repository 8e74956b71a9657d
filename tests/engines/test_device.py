"""Users choose the device by its kind or its name."""

from typing import Any

import pyopencl as cl
import pytest

from bluesky_azint.engines.opencl import device
from bluesky_azint.errors import EngineError


class Platform:
    """One with a CPU and two GPUs, of which one knows single precision only."""

    def get_devices(self) -> list[Any]:
        kinds = cl.device_type
        return [
            Device("Xeon", kinds.CPU, 63),
            Device("Little", kinds.GPU, 0),
            Device("Large", kinds.GPU, 63),
            Device("Largest", kinds.GPU, 63),
        ]


class Device:
    """A device that can be told from others."""

    platform = type("Vendor", (), {"name": "Vendor's OpenCL"})

    def __init__(self, name: str, kind: int, double_fp_config: int) -> None:
        self.name, self.type, self.double_fp_config = name, kind, double_fp_config


@pytest.fixture(autouse=True)
def devices(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(cl, "get_platforms", lambda: [Platform()])
    monkeypatch.delenv(device.CHOICE, raising=False)
    device._device.cache_clear()
    yield
    device._device.cache_clear()


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("", "Large"),
        ("gpu", "Large"),
        ("CPU", "Xeon"),
        ("xeon", "Xeon"),
        ("largest", "Largest"),
        ("vendor", "Large"),
    ],
)
def test_devices_are_chosen(monkeypatch: pytest.MonkeyPatch, choice: str, name: str) -> None:
    monkeypatch.setenv(device.CHOICE, choice)
    assert device.default_device().name == name


def test_what_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device.CHOICE, "little")
    with pytest.raises(EngineError, match=r"'little', as AZINT_OPENCL_DEVICE .* OpenCL: Xeon; "):
        device.default_device()
