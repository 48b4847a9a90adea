#!/usr/bin/env python3
"""Draws the dashboards as PNG files with the data of a Prometheus, without a Grafana.

    viewer.py FOLDER PROMETHEUS START END [--dashboard NAME] [--narrow] [--rows]
              [--scrape SECONDS] [VARIABLE=VALUE...]

START and END are Unix timestamps. --narrow draws the layout of a phone, where Grafana stacks the
panels. --rows expands collapsed rows. --scrape is the scrape interval, 2 s by default.

The viewer fills in variables, chooses steps and places panels like Grafana, and plots with the same
library. `viewer/viewer.js` lists what it does not draw. It needs tests/setup.sh and Chromium.
"""

import argparse
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile

from queries import ROOT, Prometheus, choices, legend, substitute

# Pixels: height of a grid cell, gap between cells, widths of the page.
CELL, GAP, WIDE, NARROW = 30, 8, 1600, 390
UPLOT = ROOT / "target/testbed/node/node_modules/uplot/dist"
HERE = pathlib.Path(__file__).resolve().parent / "viewer"
# Grafana's steps in seconds: the upper bound of the calculated step, and the rounded step.
STEPS = (
    (1.5, 1),
    (3.5, 2),
    (7.5, 5),
    (12.5, 10),
    (17.5, 15),
    (25, 20),
    (45, 30),
    (90, 60),
    (210, 120),
    (450, 300),
    (750, 600),
    (1050, 900),
    (1500, 1200),
    (2700, 1800),
)


def seconds(text):
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def round_step(step):
    """Rounds a step like Grafana does."""
    return next((rounded for bound, rounded in STEPS if step < bound), 3600)


def intervals(points, step):
    """Returns the intervals in which an annotation query is above 0, as [first, last]."""
    found = []
    for timestamp, value in points:
        if float(value) <= 0:
            continue
        if found and timestamp - found[-1][1] <= step:
            found[-1][1] = timestamp
        else:
            found.append([timestamp, timestamp])
    return found


class Viewer:
    """Collects the data that viewer.js draws."""

    def __init__(self, prometheus, start, end, scrape):
        self.prometheus, self.start, self.end, self.scrape = prometheus, start, end, scrape

    def fill(self, text, values, step):
        """Replaces the variables of a query, including those that Grafana defines."""
        defaults = {
            "__range": f"{int(self.end - self.start)}s",
            "__rate_interval": f"{int(max(step + self.scrape, 4 * self.scrape))}s",
            "__interval": f"{step}s",
        }
        return substitute(text, {**defaults, **values})

    def query(self, target, values, step):
        """Returns the series of a query: labels, name and points."""
        expression = self.fill(target["expr"], values, int(step))
        if target.get("instant"):
            result = self.prometheus.instant(expression, self.end)
            points = [[series["value"]] for series in result]
        else:
            # Grafana aligns the range to multiples of the step.
            start, end = (math.floor(time / step) * step for time in (self.start, self.end))
            parameters = {"query": expression, "start": start, "end": end, "step": step}
            result = self.prometheus.get("query_range", **parameters)["result"]
            points = [series["values"] for series in result]
        return [
            {"labels": series["metric"], "name": legend(target, series["metric"]), "points": values}
            for series, values in zip(result, points)
        ]

    def panel(self, panel, values, width):
        """Returns a panel with the data of its queries."""
        if panel["type"] == "row":
            return {"panel": panel}
        least = max(self.scrape, seconds(panel["interval"]) if panel.get("interval") else 0)
        # One point per pixel.
        step = max(least, round_step((self.end - self.start) / max(width, 100)))
        frames = [
            {"ref": target["refId"], "series": self.query(target, values, step)}
            for target in panel.get("targets", [])
        ]
        return {"panel": panel, "step": step, "frames": frames}

    def place(self, dashboard, rows):
        """Returns the panels from top to bottom: panel, grid line, and true for expanded rows."""
        placed, shift = [], 0
        for panel in dashboard["panels"]:
            inner = panel.get("panels", []) if rows else []
            line = panel["gridPos"]["y"] + shift
            placed.append((panel, line, bool(inner)))
            if inner:
                boxes = [one["gridPos"] for one in inner]
                top = min(box["y"] for box in boxes)
                placed += [(one, one["gridPos"]["y"] - top + line + 1, False) for one in inner]
                shift += max(box["y"] + box["h"] for box in boxes) - top
        return sorted(placed, key=lambda entry: (entry[1], entry[0]["gridPos"]["x"]))

    def annotations(self, dashboard, values):
        result = []
        for query in dashboard["annotations"]["list"]:
            if query.get("builtIn") or not query["enable"]:
                continue
            target = {**query["target"], "instant": False}
            step = max(seconds(target["interval"]), self.scrape)
            for series in self.query(target, values, step):
                for first, _ in intervals(series["points"], step):
                    result.append({"time": first, "color": query["iconColor"]})
        return result

    def dashboard(self, dashboard, values, narrow, rows):
        """Returns the panels with position and size in pixels, and the header of the page."""
        width = NARROW if narrow else WIDE
        column = (width - 2 * GAP + GAP) / 24
        panels, below, bottom = [], 0, 0
        for panel, line, expanded in self.place(dashboard, rows):
            grid = panel["gridPos"]
            box = {
                "left": grid["x"] * column,
                "top": line * (CELL + GAP),
                "width": grid["w"] * column - GAP,
                "height": grid["h"] * (CELL + GAP) - GAP,
            }
            if narrow:
                box = {**box, "left": 0, "top": below, "width": width - 2 * GAP}
                below += box["height"] + GAP
            bottom = max(bottom, box["top"] + box["height"])
            data = self.panel(panel, values, box["width"])
            panels.append({**data, "box": box, "expanded": expanded})
        variables = [
            {"label": variable["label"], "value": values.get(variable["name"], "Prometheus")}
            for variable in dashboard["templating"]["list"]
            if variable["hide"] != 2
        ]
        return {
            "title": dashboard["title"],
            "start": self.start,
            "end": self.end,
            "width": width,
            "height": bottom + GAP,
            "narrow": narrow,
            "variables": variables,
            "links": [link["title"] for link in dashboard["links"]],
            "panels": panels,
            "annotations": self.annotations(dashboard, values),
        }


def page(data):
    """Returns the HTML page that draws a dashboard."""
    text = json.dumps(data).replace("</", "<\\/")
    style = (UPLOT / "uPlot.min.css").read_text() + (HERE / "viewer.css").read_text()
    script = (HERE / "viewer.js").read_text()
    return (
        f"<!doctype html><meta charset=utf-8><title>{data['title']}</title>"
        f"<style>{style}</style><body>"
        f"<script>{(UPLOT / 'uPlot.iife.min.js').read_text()}</script>"
        f"<script>const dashboard = {text};{script}</script>"
    )


def draw(data, picture, height):
    """Draws a page with Chromium. Returns the messages that the page logged."""
    with tempfile.TemporaryDirectory() as folder:
        html = pathlib.Path(folder) / "page.html"
        html.write_text(page(data))
        command = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu"]
        command += ["--force-device-scale-factor=1", f"--user-data-dir={folder}/profile"]
        command += [f"--window-size={data['width']},{height}", "--virtual-time-budget=3000"]
        command += ["--enable-logging=stderr", f"--screenshot={picture.resolve()}", html.as_uri()]
        run = subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
    return re.findall(r'CONSOLE\S* "(.*)", source', run.stderr)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("prometheus")
    parser.add_argument("start", type=float)
    parser.add_argument("end", type=float)
    parser.add_argument("--dashboard")
    parser.add_argument("--narrow", action="store_true")
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--scrape", type=float, default=2)
    parser.add_argument("variables", nargs="*")
    arguments = parser.parse_intermixed_args()
    wanted = dict(variable.split("=", 1) for variable in arguments.variables)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    prometheus = Prometheus(arguments.prometheus.rstrip("/"))
    viewer = Viewer(prometheus, arguments.start, arguments.end, arguments.scrape)
    for file in sorted((ROOT / "dashboards").glob("*.json")):
        name = file.stem.removeprefix("rolecall-")
        if arguments.dashboard not in (None, name):
            continue
        dashboard = json.loads(file.read_text())
        combinations = choices(prometheus, dashboard, arguments.start, arguments.end)
        values = next(
            (
                values
                for values in combinations
                if all(values.get(key, value) in (value, ".*") for key, value in wanted.items())
            ),
            None,
        )
        if values is None:
            sys.exit(f"{name}: no data for {wanted}")
        values = {key: wanted.get(key, value) for key, value in values.items()}
        data = viewer.dashboard(dashboard, values, arguments.narrow, arguments.rows)
        picture = arguments.folder / f"{name}{'-narrow' if arguments.narrow else ''}.png"
        # The header with the title and the variables is above the panels.
        height = int(data["height"]) + (190 if arguments.narrow else 100)
        messages = draw(data, picture, height)
        if "complete" not in messages:
            sys.exit(f"{name}: {' '.join(messages)}")
        count = sum(len(item["panel"].get("targets", [])) for item in data["panels"])
        print(f"{picture}: {count} queries, {data['width']} x {height}", flush=True)
        for message in messages:
            if message != "complete":
                print(f"    {message}", flush=True)


if __name__ == "__main__":
    main()
