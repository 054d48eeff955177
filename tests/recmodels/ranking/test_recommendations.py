"""Recommendations: ids that belong to scores."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from recmodels.ranking import Recommendations, TopK


@pytest.mark.parametrize(
    "item_ids",
    [
        np.array([10, 20, 30]),
        np.array(["a", "bb", "ccc"]),
        np.array(["a", "bb", "ccc"], dtype=np.dtypes.StringDType(coerce=False)),
    ],
)
def test_recommendations_hold_plain_ids(item_ids):
    top = TopK(np.array([[2, 0], [1, 2]]), np.array([[3.0, 1.0], [2.0, 1.0]]))
    recommendations = Recommendations.of(item_ids, top)
    ids = item_ids.tolist()
    assert recommendations.ids == ((ids[2], ids[0]), (ids[1], ids[2]))
    assert {type(id) for user in recommendations.ids for id in user} == {type(ids[0])}
    assert recommendations.scores is top.scores
    assert len(recommendations) == 2


def test_recommendations_are_frozen():
    recommendations = Recommendations(((1,),), np.zeros((1, 1)))
    with pytest.raises(FrozenInstanceError):
        recommendations.ids = ()  # type: ignore[misc]


def test_recommendations_print_their_head():
    ids = tuple(tuple(range(7)) for _ in range(6))
    lines = repr(Recommendations(ids, np.zeros((6, 7)))).splitlines()
    assert lines[0] == "Recommendations of 7 items for 6 users"
    assert lines[1] == "  0: 0 (0), 1 (0), 2 (0), 3 (0), 4 (0), ..."
    assert lines[-1] == "  ..."
    assert len(lines) == 1 + 5 + 1


@pytest.mark.parametrize(
    ("ids", "shape", "message"),
    [
        (((1, 2),), (2, 2), "ids of 1 users"),
        (((1, 2), (3,)), (2, 2), r"ids\[1\]: 1 ids came with 2 scores"),
        (((1, 2),), (1, 1), r"ids\[0\]: 2 ids came with 1 scores"),
        ((), (0,), "ids of 0 users"),
    ],
)
def test_recommendations_of_two_shapes_are_refused(ids, shape, message):
    with pytest.raises(ValueError, match=message):
        Recommendations(ids, np.zeros(shape))


def test_users_with_fewer_items_have_fewer_ids():
    top = TopK(
        np.array([[2, -1], [1, 0], [-1, -1]]), np.array([[3.0, -np.inf], [2, 1], [-np.inf] * 2])
    )
    recommendations = Recommendations.of(np.array(["a", "b", "c"]), top)
    assert recommendations.ids == (("c",), ("b", "a"), ())
    assert repr(recommendations).splitlines()[1] == "  0: 'c' (3)"


def test_an_item_of_score_minus_infinity_keeps_its_id():
    top = TopK(np.array([[2, 0]]), np.array([[3.0, -np.inf]]))
    assert Recommendations.of(np.array(["a", "b", "c"]), top).ids == (("c", "a"),)
