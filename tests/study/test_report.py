"""The report holds every number, needs nothing from outside, and is sound HTML."""

import copy
import html
import re
from html.parser import HTMLParser

import pytest

from sobolev_pruning.study._figures._numbers import grouped, r_squared, scientific
from sobolev_pruning.study._report import ReportFigure, render_report

PUBLISHED = {
    "oversized": {"values": 0.999545, "deltas": 0.998700, "gammas": 0.997033},
    "pruned": {"values": 0.999296, "deltas": 0.996718, "gammas": 0.902470},
    "finetuned_nn_data": {"values": 0.999805, "deltas": 0.999479, "gammas": 0.987393},
    "finetuned_reference": {"values": 0.999962, "deltas": 0.999863, "gammas": 0.997374},
}
AFTER_PRUNING = ("pruned", "finetuned_vanilla", "finetuned_nn_data", "finetuned_reference")
VOID = {"meta", "img", "br", "hr", "link"}


def measures(seed: int) -> dict:
    """Numbers that differ from one another, so that none stands in for another."""
    names = ("values", "deltas", "gammas", "hessian")
    return {
        "r2": {name: 1 - (seed + 0.17) * 1.7e-7 * 10**i for i, name in enumerate(names)},
        "rmse": {name: (seed + 0.13) * 1.3e-5 * 10**i for i, name in enumerate(names)},
        "max_error": {name: (seed + 0.11) * 1.9e-4 * 10**i for i, name in enumerate(names)},
    }


def stage(name: str, network: list[int], parameters: int, seed: int) -> dict:
    numbers = {**measures(seed), "training_law": measures(seed + 20)}
    return {"name": name, "network": network, "parameters": parameters, "seconds": seed + 0.5, **numbers}


SUMMARY = {
    "seed": 3,
    "seconds": 71.23,
    "stages": [
        stage("oversized", [7, 128, 128, 1], 17665, 1),
        *(stage(name, [7, 8, 8, 1], 145, i) for i, name in enumerate(AFTER_PRUNING, 2)),
        *(stage(name, [7, 3, 3, 1], 40, i) for i, name in enumerate(AFTER_PRUNING, 6)),
    ],
    "published": PUBLISHED,
}
FIGURES = [
    ReportFigure("paths", "Sample <paths>", 'A "caption" & more', b"\x89PNG\r\n\x1a\n" + bytes(16)),
    ReportFigure("kink", "The kink", "", b"<svg/>"),
]


def report(summary=SUMMARY, figures=FIGURES, config="steps = 3\n", environment=None) -> str:
    return render_report(summary, figures, config, {"jax": "0.10.0"} if environment is None else environment)


def visible_text(page: str) -> str:
    """Without markup; spans that only group digits leave nothing behind."""
    return html.unescape(re.sub(r"<[^>]*>", "", page))


def plain_r2(value: float) -> str:
    return r_squared(value, separator="")


class Balance(HTMLParser):
    """Follows opening and closing tags, and collects links, anchors and sources."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name in ("src", "href"):
                self.links.append(value)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def parsed(page: str) -> Balance:
    balance = Balance()
    balance.feed(page)
    balance.close()
    return balance


def test_tags_are_balanced_and_anchors_exist():
    balance = parsed(report())
    assert not balance.open
    assert len(set(balance.ids)) == len(balance.ids)
    for link in balance.links:
        if link.startswith("#"):
            assert link[1:] in balance.ids


def test_nothing_is_loaded_and_nothing_runs():
    page = report()
    balance = parsed(page)
    assert all(link.startswith(("#", "data:image/")) for link in balance.links)
    assert not balance.tags & {"script", "link", "iframe", "object"}
    assert "http" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_every_number_is_there():
    text = visible_text(report())
    for each in SUMMARY["stages"]:
        for block in (each, each["training_law"]):
            for value in block["r2"].values():
                assert plain_r2(value) in text
                assert scientific(1 - value) in text
            for measure in ("rmse", "max_error"):
                for value in block[measure].values():
                    assert scientific(value) in text
        assert grouped(each["parameters"]) in text
        assert "-".join(map(str, each["network"])) in text
        assert f"{each['seconds']:.1f} s" in text
    for row in PUBLISHED.values():
        for value in row.values():
            assert plain_r2(value) in text
    assert "seed 3" in text
    assert "71.2 s" in text
    assert "0.10.0" in text


def test_what_users_write_is_escaped():
    hostile = '<script>alert("x")</script> & $style ${headline}'
    figure = ReportFigure('a"b', hostile, hostile, b"<svg/>")
    page = report(figures=[figure], config=hostile, environment={hostile: hostile})
    assert "<script>" not in page
    assert page.count(html.escape(hostile)) >= 6
    assert not parsed(page).open


def test_headline_is_about_the_smallest_network():
    text = visible_text(re.search(r"<h1>(.*?)</h1>", report(), re.DOTALL)[1])
    assert "40 parameters" in text
    for value in SUMMARY["stages"][-1]["r2"].values():
        assert (plain_r2(value) in text) == (value != SUMMARY["stages"][-1]["r2"]["hessian"])


def test_cells_below_the_published_are_said_to_be():
    every = 3 * 7  # quantities; one oversized network and three published stages of two sizes
    assert f"{every} of {every} cells reach the published value." in report()
    assert 'class="below"><i' not in report()
    worse = copy.deepcopy(SUMMARY)
    worse["stages"][-1]["r2"]["gammas"] = 0.9
    page = report(worse)
    assert f"{every - 1} of {every} cells reach the published value; 1 does not." in page
    assert page.count('class="below"><i') == 1


def test_equal_to_the_published_is_reached():
    equal = copy.deepcopy(SUMMARY)
    equal["stages"][-1]["r2"]["values"] = PUBLISHED["finetuned_reference"]["values"]
    assert 'class="below"><i' not in report(equal)


@pytest.mark.parametrize("stages", [[], SUMMARY["stages"][:1], SUMMARY["stages"][5:]], ids=["none", "first", "last"])
def test_part_of_a_run_is_reported(stages):
    page = report({**SUMMARY, "stages": stages, "published": {} if not stages else PUBLISHED})
    assert not parsed(page).open


def test_images_are_embedded_by_their_kind():
    page = report()
    assert 'src="data:image/png;base64,iVBORw0KGgo' in page
    assert 'src="data:image/svg+xml;base64,' in page
