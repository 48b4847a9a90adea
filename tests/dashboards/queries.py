#!/usr/bin/env python3
"""Runs every query of every panel, annotation and variable of the dashboards on a real Prometheus, as Grafana would.

    queries.py PROMETHEUS [START [END]]      for example http://127.0.0.1:23490 and the seconds since the epoch that lab.py prints
    queries.py lab ROLECALL [SERVER]         on that of lab.py, which it starts, lets live through its incident, and stops

Variables get every value that they have there, one after the other (All where several may be chosen). A query of a range is asked once for
all the time, one of an instant every 20 s of it, so that what shows only in trouble is found. It fails if a query is refused, if a panel shows the same
twice (two exporters must not), or if a query never returns anything and is not listed below with the reason.
"""

import collections
import json
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import lab

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRAPE, STEP = 2, 10

# Rightly empty on the fleet of lab.py: dashboard, panel, letter of the query.
EMPTY = {
    ("rolecall-cluster", "annotation: Split brains", "Anno"): "no shard of the lab has two masters for as long as a round",
    ("rolecall-cluster", "Which slots do nodes hold for failing?", "A"): "a node is held to have failed within a scrape of being suspected",
    ("rolecall-cluster", "Are slots carried over?", "A"): "only servers that move slots themselves tell: Redis 8.4, Valkey 9",
    ("rolecall-cluster", "Are slots carried over?", "B"): "only servers that move slots themselves tell: Redis 8.4, Valkey 9",
    ("rolecall-deployment", "Which nodes were restarted, or lost their link?", "B"): "no other, older server answers in place of one in the lab",
}


class Prometheus:
    def __init__(self, url):
        self.url, self.asked, self.cache = url, 0, {}

    def get(self, path, **parameters):
        key = path, tuple(sorted(parameters.items()))
        if key not in self.cache:
            self.asked += 1
            data = urllib.parse.urlencode(parameters, doseq=True).encode()
            try:
                with urllib.request.urlopen(f"{self.url}/api/v1/{path}", data, timeout=60) as answer:
                    self.cache[key] = json.load(answer)["data"]
            except urllib.error.HTTPError as error:
                raise ValueError(json.load(error).get("error", str(error))) from None
        return self.cache[key]

    def range(self, expression, start, end):
        return self.get("query_range", query=expression, start=start, end=end, step=STEP)["result"]

    def instant(self, expression, at):
        return self.get("query", query=expression, time=at)["result"]

    def series(self, selector, start, end):
        data = urllib.parse.urlencode({"match[]": selector, "start": start, "end": end}).encode()
        self.asked += 1
        with urllib.request.urlopen(f"{self.url}/api/v1/series", data, timeout=60) as answer:
            return json.load(answer)["data"]


def fill(text, values, start, end):
    """Variables as Grafana fills them in: those of which several may be chosen as a regular expression."""
    values = {"__range": f"{int(end - start)}s", "__rate_interval": f"{max(4 * SCRAPE, STEP + SCRAPE)}s", "__interval": f"{STEP}s", **values}
    return re.sub(r"\$(\w+)|\$\{(\w+)(?::\w+)?\}", lambda match: values.get(match[1] or match[2], match[0]), text)


def choices(prometheus, board, start, end):
    """Each set of values of the variables of a dashboard that there is to choose."""
    chosen = [{}]
    for variable in board["templating"]["list"][1:]:
        then = []
        for values in chosen:
            query = fill(variable["query"]["query"], values, start, end)
            labels = re.fullmatch(r"label_values\((.+),\s*(\w+)\)", query)
            if labels:
                options = sorted({series[labels[2]] for series in prometheus.series(labels[1], start, end) if labels[2] in series})
            else:
                inner = re.fullmatch(r"query_result\((.+)\)", query)[1]
                texts = ["{%s}" % ",".join(f'{name}="{value}"' for name, value in result["metric"].items()) for result in prometheus.instant(inner, end)]
                options = [match[1] for text in texts for match in [re.search(variable["regex"].strip("/"), text)] if match]
            if variable.get("multi"):
                then.append({**values, variable["name"]: ".*"})
            elif variable["hide"] == 2:
                then.append({**values, variable["name"]: (options or [""])[0]})
            else:
                then += [{**values, variable["name"]: option} for option in options]
        chosen = then
    return chosen


def legend(target, labels):
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), target.get("legendFormat", "")).strip()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] == "lab":
        start = time.time()
        with lab.running(*sys.argv[2:]) as fleet:
            fleet.incident()
            sys.exit(ask(Prometheus(f"http://127.0.0.1:{lab.PROMETHEUS}"), start, time.time()))
    end = float(sys.argv[3]) if len(sys.argv) > 3 else time.time()
    start = float(sys.argv[2]) if len(sys.argv) > 2 else end - 600
    sys.exit(ask(Prometheus(sys.argv[1].rstrip("/")), start, end))


def ask(prometheus, start, end):
    """Asks everything, prints what is wrong, and returns whether anything is."""
    faults, filled, total, twice, seen, drawn = [], collections.Counter(), [], set(), collections.defaultdict(set), {}
    for file in sorted((ROOT / "dashboards").glob("*.json")):
        board = json.loads(file.read_text())
        asked = [("annotation: " + query["name"], query["target"], None) for query in board["annotations"]["list"] if not query.get("builtIn")]
        panels = [inner for panel in board["panels"] for inner in [panel, *panel.get("panels", [])] if inner["type"] not in ("row", "text")]
        asked += [(panel["title"], target, panel) for panel in panels for target in panel["targets"]]
        sets = choices(prometheus, board, start, end)
        if not sets:
            faults.append(f"{file.stem}: a variable has no value")
        for title, target, panel in asked:
            key = file.stem, title, target["refId"]
            total.append(key)
            for values in sets:
                expression = fill(target["expr"], values, start, end)
                try:
                    if target.get("instant"):
                        answers = [prometheus.instant(expression, at) for at in range(int(start) + 20, int(end), 20)]
                    else:
                        answers = [prometheus.range(expression, start, end)]
                except ValueError as error:
                    faults.append(f"{key}: {error}\n    {expression}")
                    break
                if panel and panel["type"] == "state-timeline":
                    states = {state for mapping in panel["fieldConfig"]["defaults"]["mappings"] for state in mapping["options"]}
                    for value in {value for answer in answers for result in answer for _, value in result["values"]}:
                        seen[title, file.stem].add(value)
                        if value not in states:
                            faults.append(f"{key}: has no text for {value}")
                for answer in answers:
                    filled[key] += len(answer)
                    names = [json.dumps(result["metric"], sort_keys=True) if target.get("format") == "table" else legend(target, result["metric"]) for result in answer]
                    if len(set(names)) < len(names) and key not in twice and panel:
                        double = [name for name, count in collections.Counter(names).items() if count > 1]
                        # A stat with one value has no name to tell apart.
                        faults.append(f"{key}: shows {double[0]!r} twice")
                        twice.add(key)
                    if panel and panel["type"] in ("timeseries", "state-timeline"):
                        for name in set(names):
                            other = drawn.setdefault((file.stem, title, json.dumps(values, sort_keys=True), name), target["refId"])
                            if other != target["refId"]:
                                faults.append(f"{key}: {name!r} is also a line of {other}")
    nothing = [key for key in total if not filled[key]]
    for key in nothing:
        if key not in EMPTY:
            faults.append(f"{key}: never returned anything")
    for key in EMPTY:
        if key not in total:
            faults.append(f"{key}: listed as empty, and does not exist")
        elif filled[key]:
            print(f"{key}: listed as empty, and returned something")
    for fault in faults:
        print(fault)
    print(f"{len(total)} queries, asked {prometheus.asked} times: {len(total) - len(nothing)} return data, {len(nothing)} are empty, {len(faults)} faults")
    for key in nothing:
        print("   empty:", " / ".join(key), "-", EMPTY.get(key, "?"))
    for (title, board), values in seen.items():
        print("   states:", board, "/", title, "-", " ".join(sorted(values)))
    return 1 if faults else 0


if __name__ == "__main__":
    main()
