#!/usr/bin/env python3
"""Draws the dashboards as pictures, with what a Prometheus has: there may be no Grafana where they are tested, and they must be looked at.

    viewer.py FOLDER PROMETHEUS START END [--board NAME] [--narrow] [--rows] [--scrape SECONDS] [VARIABLE=VALUE...]

START and END are seconds since the epoch. --narrow is a telephone, where Grafana puts panels below one another; --rows opens the collapsed rows.
It fills in variables, chooses steps and lays panels out as Grafana does, and draws with the same library; `viewer/viewer.js` says what it does not draw.
It needs `tests/setup.sh` and Chromium.
"""

import argparse
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from queries import ROOT, Prometheus, choices, legend

CELL, GAP, WIDE, NARROW = 30, 8, 1600, 390
UPLOT = ROOT / "target/testbed/node/node_modules/uplot/dist"
HERE = pathlib.Path(__file__).resolve().parent / "viewer"


def seconds(text):
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def nice(step):
    """The step that Grafana rounds to."""
    for limit, rounded in ((1.5, 1), (3.5, 2), (7.5, 5), (12.5, 10), (17.5, 15), (25, 20), (45, 30), (90, 60), (210, 120), (450, 300), (750, 600), (1050, 900), (1500, 1200), (2700, 1800)):
        if step < limit:
            return rounded
    return 3600


class Viewer:
    def __init__(self, prometheus, start, end, scrape):
        self.prometheus, self.start, self.end, self.scrape = prometheus, start, end, scrape

    def fill(self, text, values, step):
        values = {"__range": f"{int(self.end - self.start)}s", "__rate_interval": f"{int(max(step + self.scrape, 4 * self.scrape))}s", "__interval": f"{step}s", **values}
        return re.sub(r"\$(\w+)|\$\{(\w+)(?::\w+)?\}", lambda match: str(values.get(match[1] or match[2], match[0])), text)

    def ask(self, target, values, step):
        """The series of a query: labels, name, points."""
        expression = self.fill(target["expr"], values, int(step))
        if target.get("instant"):
            return [{"labels": one["metric"], "name": legend(target, one["metric"]), "points": [[*one["value"]]]} for one in self.prometheus.instant(expression, self.end)]
        # Steps lie on multiples of themselves, as Grafana aligns them.
        start, end = math.floor(self.start / step) * step, math.floor(self.end / step) * step
        answer = self.prometheus.get("query_range", query=expression, start=start, end=end, step=step)["result"]
        return [{"labels": one["metric"], "name": legend(target, one["metric"]), "points": one["values"]} for one in answer]

    def panel(self, panel, values, width):
        if panel["type"] == "row":
            return {"panel": panel}
        least = max(self.scrape, seconds(panel["interval"]) if panel.get("interval") else 0)
        # As many points as pixels.
        step = max(least, nice((self.end - self.start) / max(width, 100)))
        return {"panel": panel, "step": step, "frames": [{"ref": target["refId"], "series": self.ask(target, values, step)} for target in panel.get("targets", [])]}

    def board(self, board, values, narrow, rows):
        """The panels with where they are: left, top, width and height in pixels."""
        width = NARROW if narrow else WIDE
        placed, shift, bottom = [], 0, 0
        for panel in board["panels"]:
            inner = panel.get("panels", []) if rows else []
            placed.append((panel, panel["gridPos"]["y"] + shift, bool(inner)))
            if inner:
                top = min(one["gridPos"]["y"] for one in inner)
                placed += [(one, one["gridPos"]["y"] - top + panel["gridPos"]["y"] + shift + 1, False) for one in inner]
                shift += max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in inner) - top
        panels, below = [], 0
        for panel, y, opened in sorted(placed, key=lambda one: (one[1], one[0]["gridPos"]["x"])):
            at = panel["gridPos"]
            column = (width - 2 * GAP + GAP) / 24
            box = {"left": at["x"] * column, "top": y * (CELL + GAP), "width": at["w"] * column - GAP, "height": at["h"] * (CELL + GAP) - GAP}
            if narrow:
                box = {"left": 0, "top": below, "width": width - 2 * GAP, "height": box["height"]}
                below += box["height"] + GAP
            bottom = max(bottom, box["top"] + box["height"])
            panels.append({**self.panel(panel, values, box["width"]), "box": box, "opened": opened})
        notes = []
        for query in board["annotations"]["list"]:
            if not query.get("builtIn") and query["enable"]:
                step = max(seconds(query["target"]["interval"]), self.scrape)
                for one in self.ask({**query["target"], "instant": False}, values, step):
                    notes += [{"at": at, "color": query["iconColor"]} for at, _ in self.regions(one["points"], step)]
        shown = [{"label": variable["label"], "value": values.get(variable["name"], "Prometheus")} for variable in board["templating"]["list"] if variable["hide"] != 2]
        return {"title": board["title"], "start": self.start, "end": self.end, "width": width, "height": bottom + GAP, "narrow": narrow, "variables": shown, "links": [link["title"] for link in board["links"]],
                "panels": panels, "annotations": notes}

    def regions(self, points, step):
        """Points in a row are one annotation."""
        found = []
        for at, value in points:
            if float(value) <= 0:
                continue
            if found and at - found[-1][1] <= step:
                found[-1][1] = at
            else:
                found.append([at, at])
        return found


def page(data):
    def inside(name):
        return (HERE / name).read_text()
    text = json.dumps(data).replace("</", "<\\/")
    return (f"<!doctype html><meta charset=utf-8><title>{data['title']}</title><style>{(UPLOT / 'uPlot.min.css').read_text()}{inside('viewer.css')}</style><body>"
            f"<script>{(UPLOT / 'uPlot.iife.min.js').read_text()}</script><script>const board = {text};{inside('viewer.js')}</script>")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("prometheus")
    parser.add_argument("start", type=float)
    parser.add_argument("end", type=float)
    parser.add_argument("--board")
    parser.add_argument("--narrow", action="store_true")
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--scrape", type=float, default=2)
    parser.add_argument("variables", nargs="*")
    told = parser.parse_intermixed_args()
    wanted = dict(word.split("=", 1) for word in told.variables)
    told.folder.mkdir(parents=True, exist_ok=True)
    viewer = Viewer(Prometheus(told.prometheus.rstrip("/")), told.start, told.end, told.scrape)
    for file in sorted((ROOT / "dashboards").glob("*.json")):
        name = file.stem.removeprefix("rolecall-")
        if told.board not in (None, name):
            continue
        board = json.loads(file.read_text())
        sets = choices(viewer.prometheus, board, told.start, told.end)
        values = next((one for one in sets if all(one.get(key, value) in (value, ".*") for key, value in wanted.items())), None)
        if values is None:
            sys.exit(f"{name}: has no {wanted}")
        values = {key: wanted.get(key, value) for key, value in values.items()}
        data = viewer.board(board, values, told.narrow, told.rows)
        picture = told.folder / f"{name}{'-narrow' if told.narrow else ''}.png"
        with tempfile.TemporaryDirectory() as folder:
            html = pathlib.Path(folder) / "page.html"
            html.write_text(page(data))
            # Around the panels there is a head with the name and the variables.
            height = int(data["height"]) + (190 if told.narrow else 100)
            run = subprocess.run(["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu", "--force-device-scale-factor=1", f"--user-data-dir={folder}/profile",
                                  f"--window-size={data['width']},{height}", "--virtual-time-budget=3000", "--enable-logging=stderr", f"--screenshot={picture.resolve()}", html.as_uri()],
                                 check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        said = re.findall(r'CONSOLE\S* "(.*)", source', run.stderr)
        if "drawn" not in said:
            sys.exit(f"{name}: {' '.join(said)}")
        print(f"{picture}: {sum(len(one['panel'].get('targets', [])) for one in data['panels'])} queries, {data['width']} x {height}", flush=True)
        print("".join(f"    {one}\n" for one in said if one != "drawn"), end="", flush=True)


if __name__ == "__main__":
    main()
