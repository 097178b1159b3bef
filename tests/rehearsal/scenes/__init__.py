"""The scenes of the rehearsal: each brings a fleet up, lets one thing go wrong, and looks at what became of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.rehearsal.day import ON_TWO_MACHINES, STUDY, Day
from tests.rehearsal.scenes import ends, losses, offers, services, short


@dataclass(frozen=True)
class Scene:
    """What happens, as code whose first line says it, and how the study uses machines."""

    play: Callable[[Day, dict[tuple[str, int], float]], None]
    resources: Mapping[str, Any] | None = None

    @property
    def study(self) -> dict[str, Any]:
        """The study of this scene."""
        return STUDY if self.resources is None else {**STUDY, "resources": dict(self.resources)}


SHORT = "refused-and-lost"
ALL = {
    SHORT: Scene(short.refused_and_lost),
    "spot-refused": Scene(offers.spot_is_refused),
    "type-refused": Scene(offers.preferred_type_is_refused),
    "spot-notice": Scene(losses.spot_notice),
    "two-lost": Scene(losses.two_machines_lost, ON_TWO_MACHINES),
    "cut-off": Scene(losses.cut_off),
    "head-lost": Scene(ends.head_lost),
    "laptop-gone": Scene(ends.laptop_gone),
    "deadline": Scene(ends.deadline),
    "s3-refused": Scene(services.s3_refused),
    "credentials": Scene(services.credentials_expire),
    "no-cards": Scene(services.no_cards),
}
