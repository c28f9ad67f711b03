from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from tests.serving import HARD, Served, config, post

from weightcut.routing.server.metrics import Metrics

DEPLOY = Path(__file__).parents[4] / "deploy"
NAME = re.compile(r"\b(?:weightcut|process)_[a-z_]+\b")


def expressions() -> dict[str, str]:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    alerts = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    return found | {r["alert"]: r["expr"] for group in alerts["groups"] for r in group["rules"]}


@pytest.mark.parametrize("title", sorted(expressions()))
def test_dashboard_and_alerts_name_only_series_that_exist(title: str) -> None:
    named = set(NAME.findall(expressions()[title]))
    assert named
    assert named <= Metrics().names()


def test_every_metric_is_shown_somewhere() -> None:
    shown = " ".join(expressions().values())
    for family in Metrics().registry.collect():
        if family.name.startswith("weightcut_"):
            assert family.name in shown


def labels() -> dict[str, set[str]]:
    """Return every series' labels."""
    found = {}
    registry = Metrics().registry
    for collector, names in registry._collector_to_names.items():
        own = set(getattr(collector, "_labelnames", ()))
        found.update(
            {name: own | ({"le"} if name.endswith("_bucket") else set()) for name in names}
        )
    return found


@pytest.mark.parametrize("title", sorted(expressions()))
def test_queries_use_only_labels_that_the_series_have(title: str) -> None:
    text, known = expressions()[title], labels()
    used = {
        label for group in re.findall(r"by \(([a-z_, ]+)\)", text) for label in group.split(", ")
    }
    used |= set(re.findall(r"[{,]\s*([a-z_]+)\s*=", text))
    series = [known.get(name, set()) for name in NAME.findall(text)]
    # Where a query sums over two series, each has the labels that are named.
    assert all(used <= own for own in series) or (len(series) > 1 and used <= set().union(*series))


def test_alerts_on_breakers_outlast_their_probes() -> None:
    found = [text for text in expressions().values() if "weightcut_breaker_state" in text]
    assert len([text for text in found if ">= 1" in text]) == 2
    assert not any("== 2" in text for text in found)


def test_what_was_saved_is_what_full_would_have_cost_less_the_cost() -> None:
    served = Served(config())
    post(served, "/generate", {"prompt": "short"})
    post(served, "/generate", {"prompt": HARD})
    assert served.value("weightcut_cost_total", variant="light") == 1
    assert served.value("weightcut_cost_total", variant="full") == 2
    assert served.value("weightcut_cost_full_total") == 4
    assert served.value("weightcut_cost_saved") == 1
    assert served.value("weightcut_decisions_total", variant="full", by="router") == 1
    assert served.value("weightcut_tokens_total", variant="light", kind="completion") == 3
    assert served.value("weightcut_request_seconds_count", variant="light") == 1
