"""The device, and programs for it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pyopencl as cl

from bluesky_azint.engines.protocol import BadValues
from bluesky_azint.errors import EngineError

C_TYPES = {
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort",
    "i4": "int", "u4": "uint", "i8": "long", "u8": "ulong", "f4": "float", "f8": "double",
}  # fmt: skip


# Names the device to compute on: "gpu", "cpu", or a part of its name or of its platform's.
CHOICE = "AZINT_OPENCL_DEVICE"


def default_device() -> cl.Device:
    """The device to compute on: the first GPU there is, else the first CPU.

    The environment variable ``AZINT_OPENCL_DEVICE`` chooses among them: ``gpu``, ``cpu``, or a part
    of the name of a device or of its platform, in upper or lower case.

    Raises
    ------
    EngineError
        If there is no OpenCL device that knows double precision, or none that is named so.
    """
    return _device(os.environ.get(CHOICE, ""))


@cache
def _device(choice: str) -> cl.Device:
    try:
        devices = [device for platform in cl.get_platforms() for device in platform.get_devices()]
    except cl.Error as error:
        raise EngineError(f"OpenCL finds no platform ({error}).") from error
    able = [device for device in devices if device.double_fp_config]
    if not able:
        raise EngineError("OpenCL finds no device that computes in double precision.")
    chosen = [device for device in able if _is_meant(device, choice.strip().lower())]
    if not chosen:
        raise EngineError(
            f"No OpenCL device is {choice!r}, as {CHOICE} has it; name a kind (cpu, gpu) or a part "
            f"of one of these: {'; '.join(_full_name(device) for device in able)}."
        )
    return max(chosen, key=lambda device: bool(device.type & cl.device_type.GPU))


def _is_meant(device: cl.Device, choice: str) -> bool:
    if choice in ("cpu", "gpu"):
        return bool(device.type & getattr(cl.device_type, choice.upper()))
    return choice in _full_name(device).lower()


def _full_name(device: cl.Device) -> str:
    return f"{device.platform.name}: {device.name}"


@cache
def _queue(device: cl.Device) -> tuple[cl.CommandQueue, int]:
    return cl.CommandQueue(cl.Context([device])), os.getpid()


def queue_of(device: cl.Device) -> cl.CommandQueue:
    """The queue of a device.

    Raises
    ------
    EngineError
        If this process was forked off one that used it: it would wait for ever.
    """
    queue, process = _queue(device)
    if process != os.getpid():
        raise EngineError(
            "OpenCL was used before this process was forked, and does not work in it; start "
            "processes by 'spawn' or 'forkserver' (multiprocessing.get_context), or choose "
            "engine='scipy'."
        )
    return queue


def is_cpu(device: cl.Device) -> bool:
    """Whether the memory of the device is that of the host."""
    return bool(device.type & cl.device_type.CPU)


def kernels(
    context: cl.Context, source: str, prelude: str = "", **macros: int | str
) -> dict[str, cl.Kernel]:
    """The kernels of a source file by name, compiled with these macros; for one thread at a time.

    Raises
    ------
    EngineError
        If the program cannot be compiled.
    """
    program = _program(context, source, prelude, tuple(macros.items()))
    return {kernel.function_name: kernel for kernel in program.all_kernels()}


@cache
def _program(
    context: cl.Context, source: str, prelude: str, macros: tuple[tuple[str, int | str], ...]
) -> cl.Program:
    text = (files("bluesky_azint.engines.opencl") / source).read_text()
    options = [f"-D{name}={value}" for name, value in macros]
    program: cl.Program = cl.Program(context, f"{prelude}\n{text}")
    try:
        program.build(options=options)
    except cl.Error as error:
        raise EngineError(f"OpenCL cannot compile {source}: {error}") from error
    return program


def c_type(dtype: np.dtype[Any]) -> str:
    """The type of OpenCL C for pixels of that type.

    Raises
    ------
    EngineError
        If there is none.
    """
    name = C_TYPES.get(dtype.str[1:])
    if name is None:
        raise EngineError(
            f"OpenCL cannot sum frames of type {dtype}; convert them, or use engine='scipy'."
        )
    return name


def sum_dtype(dtype: np.dtype[Any], *, exact: bool) -> np.dtype[Any]:
    """The type of sums of pixels: of whole ones exact, but for integers whose sums may not fit."""
    if exact and dtype.kind in "iu" and dtype.itemsize < 8:
        return np.dtype(f"{dtype.kind}8")
    return np.dtype(np.float64)


def bad_test(bad: BadValues | None, dtype: np.dtype[Any]) -> str:
    """The definition of ``BAD(v)``, whether a value, or each of a vector, is bad.

    Without `bad` none ever is.
    """
    return f"#define BAD(v) ({_condition(bad, dtype)})"


def _condition(bad: BadValues | None, dtype: np.dtype[Any]) -> str:
    if bad is None:
        return "0"
    if dtype.kind == "f":
        tests = ["(v) - (v) != 0"]  # of NaN and infinity; isfinite() is slow in PoCL
    else:
        tests = [f"(v) == {_literal(np.iinfo(dtype).max, dtype)}"]
    interval = bad.interval(dtype)
    if interval is not None:
        low, high = (_literal(end, dtype) for end in interval)
        tests.append(f"((v) >= {low} && (v) <= {high})")
    return " || ".join(tests)


def _literal(value: float, dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return f"{float(dtype.type(value)).hex()}{'f' if dtype.itemsize == 4 else ''}"
    if value == np.iinfo(np.int64).min:
        return "LONG_MIN"
    if dtype.itemsize < 4 or dtype.str[1:] == "i4":
        return f"({C_TYPES[dtype.str[1:]]})({value})"
    return f"{value}{'U' if dtype.kind == 'u' else ''}{'L' if dtype.itemsize == 8 else ''}"


def read_only(queue: cl.CommandQueue, array: np.ndarray[Any, Any]) -> cl.Buffer:
    """An array for kernels to read, where it is or copied to the device; at least one byte.

    On a CPU the array must live as long as the buffer, which keeps it.
    """
    flags = cl.mem_flags
    array = np.ascontiguousarray(array) if array.size else np.zeros(1, array.dtype)
    place = flags.USE_HOST_PTR if is_cpu(queue.device) else flags.COPY_HOST_PTR
    return cl.Buffer(queue.context, flags.READ_ONLY | place, hostbuf=array)


@contextmanager
def filled(
    queue: cl.CommandQueue, arrays: Sequence[np.ndarray[Any, Any] | None]
) -> Iterator[list[cl.Buffer]]:
    """Buffers for kernels to fill; in the end the arrays hold what these wrote.

    Where there is None in place of an array, a buffer that nothing is written to.
    """
    flags = cl.mem_flags
    cpu = is_cpu(queue.device)
    place = flags.USE_HOST_PTR if cpu else flags.COPY_HOST_PTR
    present = [np.empty(1, np.float64) if array is None else array for array in arrays]
    buffers = [
        cl.Buffer(queue.context, flags.READ_WRITE | place, hostbuf=array) for array in present
    ]
    yield buffers
    for buffer, array in zip(buffers, present, strict=True):
        if cpu:
            show(queue, buffer, array)
        else:
            cl.enqueue_copy(queue, array, buffer, is_blocking=True)
        buffer.release()


def show(queue: cl.CommandQueue, buffer: cl.Buffer, array: np.ndarray[Any, Any]) -> None:
    """Wait until the host sees what kernels wrote to a buffer that lies in an array of its own."""
    shown, _ = cl.enqueue_map_buffer(
        queue, buffer, cl.map_flags.READ, 0, array.shape, array.dtype, is_blocking=True
    )
    shown.base.release(queue)
