"""Parse names of AIST++. gBR_sBM_c01_d04_mBR0_ch01 has genre, situation, camera, dancer, music and choreography."""

import re
from dataclasses import dataclass

GENRES = {
    "gBR": "break", "gPO": "pop", "gLO": "lock", "gMH": "middle hip-hop", "gLH": "LA-style hip-hop",
    "gHO": "house", "gWA": "waack", "gKR": "krump", "gJS": "street jazz", "gJB": "ballet jazz",
}  # fmt: skip
"""Code -> genre, in the order of the rows (0 to 9) of D2M-GAN's published genre embedding."""

_NAME = re.compile(
    r"(?P<genre>g[A-Z]{2})_(?P<situation>s[A-Z]{2})_c(?P<camera>All|\d{2})_d\d{2}_(?P<music>m[A-Z]{2}\d)_ch\d{2}"
)


@dataclass(frozen=True)
class Name:
    """The name of a video (one camera) or a sequence (all cameras, `cAll`) of AIST++."""

    text: str
    genre: str
    """Code, a key of GENRES."""
    situation: str
    """'sBM' basic or 'sFM' advanced dance."""
    camera: int | None
    """1 to 9; None for a sequence."""
    music: str

    @property
    def sequence(self) -> str:
        """Name of the annotation files, which cover all cameras."""
        return re.sub(r"_c\d{2}_", "_cAll_", self.text)

    @property
    def tempo(self) -> int:
        """Beats per minute, from the number of the song: AIST has six tempi per genre, 80 to 130, for house 110 to 135."""
        step, first = (5, 110) if self.genre == "gHO" else (10, 80)
        return first + step * int(self.music[-1])

    def video(self, camera: int) -> str:
        """Name of the video of a camera (1 to 9)."""
        return self.sequence.replace("_cAll_", f"_c{camera:02d}_")


def parse_name(text: str) -> Name:
    """Parse a name of AIST++. Raises ValueError for any other name."""
    found = _NAME.fullmatch(text)
    if not found or found["genre"] not in GENRES:
        raise ValueError(f"'{text}' is not a name of AIST++ such as gBR_sBM_c01_d04_mBR0_ch01")
    camera = None if found["camera"] == "All" else int(found["camera"])
    if camera is not None and not 1 <= camera <= 9:
        raise ValueError(f"'{text}': AIST++ has cameras c01 to c09, found c{found['camera']}")
    return Name(text, found["genre"], found["situation"], camera, found["music"])
