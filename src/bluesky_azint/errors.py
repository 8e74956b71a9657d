"""What can go wrong, as one small tree.

::

    AzintError (ValueError)
    ├── GeometryError   a geometry or a detector that cannot be used as it is
    ├── RecipeError     a request for something that cannot be computed
    │   └── ConfigError    a configuration file in which something is wrong
    ├── FrameError      a frame that does not fit what it is reduced with
    │   └── FramesMissing  frames that cannot be read
    ├── DocumentError   a document that is none
    ├── FormatError     a file that is not what it should be
    │   └── ChunkError  a packed frame in it that is damaged
    ├── EngineError     an engine that is not there, or that failed
    ├── StoreError      a calibration that is not there, or that must not change
    ├── AddressError    a network address at which nothing can be served
    ├── ReductionError  a pattern that somebody waits for, and that does not come
    │   ├── ReductionFailed   because the frame could not be reduced
    │   └── ReductionTimeout  in the time that there was
    └── CalibrationError  an image that no geometry can be fitted to
        └── CalibrationRefused  one whose geometry cannot be trusted

Every message says what is wrong, where, and how to mend it.
"""


class AzintError(ValueError):
    """Base of every error raised on purpose by this package."""


class GeometryError(AzintError):
    """A geometry or a detector cannot be used as it is."""


class RecipeError(AzintError):
    """Something is asked for that cannot be computed, or that does not exist."""


class ConfigError(RecipeError):
    """A configuration file is not there, or something in it is wrong."""


class FrameError(AzintError):
    """A frame does not fit the geometry or the recipe it is reduced with."""


class FramesMissing(FrameError):
    """Frames cannot be read where they should be.

    Parameters
    ----------
    message
        Why not.
    until
        The number, within their asset, of the next frame that may be readable again.
    """

    def __init__(self, message: str, *, until: int) -> None:
        super().__init__(message)
        self.until = until


class DocumentError(AzintError):
    """What should be a document of Bluesky cannot be used as one."""


class FormatError(AzintError):
    """A file is not what it should be."""


class ChunkError(FormatError):
    """A packed frame of a file is damaged."""


class EngineError(AzintError):
    """An integration engine is not available, or failed."""


class StoreError(AzintError):
    """A calibration is not in the store, or would have to be changed."""


class ReductionError(AzintError):
    """A pattern that somebody waits for does not come."""


class ReductionFailed(ReductionError):
    """The frame that somebody waits for could not be reduced, or was lost on the way."""


class ReductionTimeout(ReductionError):
    """The pattern that somebody waits for did not come in time."""


class AddressError(AzintError):
    """Nothing can be served at a network address."""


class CalibrationError(AzintError):
    """No geometry can be fitted to an image."""


class CalibrationRefused(CalibrationError):
    """A calibration was refused, and whoever asked for it wanted that to be an error."""
