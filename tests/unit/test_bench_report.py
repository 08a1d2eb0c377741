"""What benches print and write is what they measured."""

from __future__ import annotations

import json

import pytest

from tests.bench.report import Goal, Report, Row, medians


@pytest.fixture
def report():
    return Report(
        rows=[
            Row("ours", "burst", {"finished_per_s": 1234.5678, "p50_ms": 8.0}),
            Row("theirs", "burst", {"finished_per_s": 60.25}),
            Row("ours", "fan-out", {"per_s": 450.0}),
        ],
        goals=[Goal.at_least("speed", 20.49, 2), Goal.at_most("wait", 5.1, 5)],
    )


def test_a_median_is_of_the_rounds_that_have_the_metric():
    rounds = [{"a": 1.0}, {"a": 9.0, "b": 4.0}, {"a": 2.0}]
    assert medians(rounds) == {"a": 2.0, "b": 4.0}


@pytest.mark.parametrize(
    ("goal", "ok"),
    [
        (Goal.at_least("x", 2.0, 2.0), True),
        (Goal.at_least("x", 1.999, 2.0), False),
        (Goal.at_most("x", 2.0, 2.0), True),
        (Goal.at_most("x", 2.001, 2.0), False),
    ],
)
def test_a_goal_is_reached_at_its_figure(goal, ok):
    assert goal.ok is ok


def test_the_json_is_what_was_measured(report, tmp_path, capsys):
    path = tmp_path / "report.json"
    report.publish(path)
    assert capsys.readouterr().out == report.table() + "\n"
    assert json.loads(path.read_text()) == {
        "rows": [
            {
                "system": "ours",
                "case": "burst",
                "metrics": {"finished_per_s": 1234.568, "p50_ms": 8.0},
            },
            {"system": "theirs", "case": "burst", "metrics": {"finished_per_s": 60.25}},
            {"system": "ours", "case": "fan-out", "metrics": {"per_s": 450.0}},
        ],
        "goals": [
            {"name": "speed, at least", "value": 20.49, "goal": 2, "ok": True},
            {"name": "wait, at most", "value": 5.1, "goal": 5, "ok": False},
        ],
    }


def test_the_table_has_a_line_a_system_and_marks_what_was_not_measured(report):
    lines = report.table().splitlines()
    assert [line.split() for line in lines] == [
        ["burst"],
        ["finished_per_s", "p50_ms"],
        ["ours", "1,235", "8.00"],
        ["theirs", "60.2", "-"],
        [],
        ["fan-out"],
        ["per_s"],
        ["ours", "450"],
        [],
        ["Goals"],
        ["reached", "speed,", "at", "least:", "20.5", "(goal", "2.00)"],
        ["MISSED", "wait,", "at", "most:", "5.10", "(goal", "5.00)"],
    ]


def test_a_report_of_nothing_is_empty():
    assert Report().table() == ""
