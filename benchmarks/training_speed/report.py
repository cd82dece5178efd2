"""The results: every run is kept with its machine and commit; one table of the newest of each kind of machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training_speed.cases import CASES

Result = dict[str, Any]
"""One run: ``machine``, ``commit``, ``date``, ``limits`` by place, and ``cases``: case, place, and then ``sides``."""

FALL = 0.05
BEGIN, END = "<!-- From benchmarks/results/speed.json, by benchmarks/speed.py. -->", "<!-- -->"


def load(path: Path) -> list[Result]:
    """Return all runs, oldest first."""
    return json.loads(path.read_text())["runs"] if path.exists() else []


def add(path: Path, result: Result) -> None:
    """Add a run to those in the file."""
    path.write_text(json.dumps({"runs": [*load(path), result]}, indent=1) + "\n")


def falls(before: list[Result], result: Result) -> list[str]:
    """Return a sentence for each ratio to the textbook that is lower by more than 5% than on such a machine before.

    Each is compared with the last run on a machine of the same kind that has it.
    """
    earlier: dict[tuple[str, str, str], tuple[float, str]] = {}
    for old in before:
        if old["machine"]["kind"] == result["machine"]["kind"]:
            earlier |= {where: (ratio, old["commit"]) for where, ratio in _ratios(old)}
    found = []
    for where, ratio in _ratios(result):
        old_ratio, commit = earlier.get(where, (0.0, ""))
        if ratio < (1 - FALL) * old_ratio:
            case, place, side = where
            found.append(f"{case}, {side} on {place}: {ratio:.2f} times the textbook, {old_ratio:.2f} at {commit}")
    return found


def _ratios(result: Result) -> Iterator[tuple[tuple[str, str, str], float]]:
    for case, places in result["cases"].items():
        for place, measured in places.items():
            for side, figures in measured["sides"].items():
                if side != "textbook" and "ratio" in figures:
                    yield (case, place, side), figures["ratio"]


def table(runs: list[Result]) -> str:
    """Return the newest figures of each kind of machine in Markdown: a row for each side that trained."""
    newest: dict[str, dict[tuple[str, str], tuple[Result, dict[str, Any]]]] = {}
    for run in runs:
        for case, places in run["cases"].items():
            for place, measured in places.items():
                newest.setdefault(run["machine"]["kind"], {})[case, place] = run, measured
    lines: list[str] = []
    for kind, found in newest.items():
        measured_at = dict.fromkeys(
            f"commit {run['commit']} of {run['date']}, torch {run['machine']['torch']}" for run, _ in found.values()
        )
        lines += [f"**{kind}**: {'; '.join(measured_at)}.", ""]
        for place, limits in {place: run["limits"].get(place) for (_, place), (run, _) in found.items()}.items():
            if limits:
                rates = ", ".join(f"{rate:,.2f} TFLOP/s in {name}" for name, rate in limits.items() if name != "copy")
                lines += [f"{place}: products at {rates}; copies at {limits['copy']:,.0f} GB/s.", ""]
        lines += ["| | place | side | images/s | times the textbook | share | peak, MB |", "|---" * 7 + "|"]
        order = list(CASES)
        for (case, place), (_, measured) in sorted(found.items(), key=lambda item: order.index(item[0][0])):
            for side, figures in measured["sides"].items():
                if "skipped" not in figures:
                    lines.append(_row(f"{CASES[case].text}, batch {measured['batch_size']}", place, side, figures))
        lines.append("")
    return "\n".join(lines)


def _row(case: str, place: str, side: str, figures: dict[str, Any]) -> str:
    low, high = figures["ratio_quartiles"]
    ratio = "" if side == "textbook" else f"{figures['ratio']:.2f} ({low:.2f} to {high:.2f})"
    share = f"{figures['share']:.0%}" if "share" in figures else ""
    rate = f"{figures['images_per_second']:,.0f}"
    return f"| {case} | {place} | {side} | {rate} | {ratio} | {share} | {figures['peak_mb']} |"


def write_table(document: Path, runs: list[Result]) -> None:
    """Put the table into the document, in place of the one between its marks."""
    text = document.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    if not mark:
        raise SystemExit(f"{document} has no line {BEGIN}")
    _, end, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n\n{table(runs)}{end}{after}", encoding="utf-8")
