"""The page's requests: their values, checked."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from d2m_model.generate.params import FARTHEST_SHIFT, FASTEST, SLOWEST
from d2m_model.rhythm.beats_file import MOST_BEATS
from d2m_model.studio.history import Edits
from d2m_model.studio.job import MOST_NUMBER
from dataset_tools.lib.core.errors import UserError

Seconds = float


class Request(BaseModel):
    """Values of one request; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


R = TypeVar("R", bound=Request)


class AudioFile(Request):
    """An audio file of the job, by its number."""

    sound: int = Field(ge=1)


class TakeRequest(Request):
    """New takes, or one with a part of an earlier take generated again."""

    level: Literal["high", "low"] = "high"
    seed: int = Field(0, ge=0, lt=2**53)
    style: Annotated[str, Field(max_length=200)] | AudioFile = ""
    strictness: float = Field(1.0, ge=0, le=20)
    loudness: float = Field(-16.0, ge=-70, le=0)
    count: int = Field(1, ge=1, le=20)
    from_: int | None = Field(None, alias="from", ge=1)
    redo: tuple[Seconds, Seconds] | None = Field(None, strict=False)
    keep: tuple[Seconds, Seconds] | None = Field(None, strict=False)

    @model_validator(mode="after")
    def _together(self) -> "TakeRequest":
        if (self.from_ is not None) != ((self.redo or self.keep) is not None) or (self.redo and self.keep):
            raise ValueError("from goes together with one of redo and keep")
        if self.from_ is not None and self.count > 1:
            raise ValueError("one take at a time has a part generated again")
        for region in (self.redo, self.keep):
            if region and not 0 <= region[0] < region[1]:
                raise ValueError("a region must end after it starts")
        if not self.strictness and self.style:
            raise ValueError(
                "a style changes nothing where strictness is 0; leave it out, or give a strictness above 0"
            )
        return self


class BeatsRequest(Request):
    """The person's beats, in seconds."""

    beats: list[Seconds] = Field(max_length=MOST_BEATS)
    downbeats: list[Seconds] = Field([], max_length=MOST_BEATS)


class SaveRequest(BeatsRequest):
    """The person's beats, and the edits that led to them."""

    history: Edits | None = None


class NameRequest(Request):
    """A name for a take; an empty one takes its name away."""

    name: str = Field(max_length=1000)


class ChangeRequest(BeatsRequest):
    """A change of all beats."""

    operation: Literal["halve", "double", "tempo", "shift", "snap", "reset"]
    bpm: float = Field(120.0, ge=SLOWEST, le=FASTEST)
    seconds: float = Field(0.0, ge=-FARTHEST_SHIFT, le=FARTHEST_SHIFT)
    to: Annotated[str, Field(max_length=20)] | Annotated[int, Field(ge=1, le=MOST_NUMBER)] = "motion"


class OwnMusicRequest(Request):
    """Music from the person's songs: an offered folder, or those sent to the job."""

    folder: int | Literal["uploaded"]
    loudness: float = Field(-16.0, ge=-70, le=0)


class ExportRequest(Request):
    """A file to download."""

    kind: Literal["video", "wav", "beats", "midi", "click", "project"]
    take: int | None = Field(None, ge=1)
    mix: float = Field(0.0, ge=0, le=1)
    """Gain of the video's own audio under the music of an exported video."""


class DancerRequest(Request):
    """The dancer to follow."""

    dancer: int = Field(ge=0)


class ClipRequest(Request):
    """A clip of the corpus."""

    clip: str = Field(max_length=200)


class CancelRequest(Request):
    """What to stop: everything, or one take or export."""

    what: Literal["all", "take", "export"] = "all"
    number: int | None = Field(None, ge=1)
    name: str | None = Field(None, max_length=60)


class AgainRequest(Request):
    """What to do once more: all that failed or was cancelled, or only one of the takes."""

    number: int | None = Field(None, ge=1)


def read_request(kind: type[R], body: bytes) -> R:
    """The values of a JSON body. Raises UserError, with the first mistake."""
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}") from None
