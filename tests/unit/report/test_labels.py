"""Labels lie on no line and on no other label, and inside the frame; where there is no room there is none."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cluster.report.page.labels import Box, placed, width

FRAME = Box(0, 0, 300, 200)
POINTS = st.lists(st.tuples(st.floats(0, 300), st.floats(0, 200)), min_size=2, max_size=12)


def box_of(text: str, place: tuple[float, float]) -> Box:
    left, base = place
    return Box(left, base - 11, left + width(text), base + 3)


def crosses(box: Box, line: list[tuple[float, float]]) -> bool:
    """Whether a line enters a box, looked at twenty times as finely as a label is high."""
    for (x, y), (to_x, to_y) in pairwise(line):
        for number in range(401):
            at, height = x + (to_x - x) * number / 400, y + (to_y - y) * number / 400
            if box.left < at < box.right and box.top < height < box.bottom:
                return True
    return False


@given(st.lists(POINTS, min_size=1, max_size=5))
def test_a_label_touches_no_line_and_no_other_label(lines: list[list[tuple[float, float]]]) -> None:
    wishes = [(f"{2**number}", line[-1]) for number, line in enumerate(lines)]
    places = placed(wishes, lines, FRAME)
    boxes = [box_of(text, place) for (text, _), place in zip(wishes, places, strict=True) if place is not None]
    for number, box in enumerate(boxes):
        assert FRAME.holds(box)
        assert not any(crosses(box, line) for line in lines)
        assert not any(box.touches(other) for other in boxes[number + 1 :])


def test_a_label_stands_right_of_the_end_of_its_line_where_there_is_room() -> None:
    assert placed([("16", (100.0, 50.0))], [[(10.0, 50.0), (100.0, 50.0)]], FRAME) == [(106.0, 54.0)]


def test_what_has_no_room_has_no_label() -> None:
    hatched = [[(0.0, y), (300.0, y)] for y in range(0, 200, 8)]
    assert placed([("16", (100.0, 50.0))], hatched, FRAME) == [None]
