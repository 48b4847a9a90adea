#!/usr/bin/env python3
"""Runs all queries of the dashboards on a real Prometheus, with the parameters Grafana would use.

    queries.py PROMETHEUS [START [END]]  PROMETHEUS is a URL, for example http://127.0.0.1:23490;
                                         START and END are Unix timestamps
    queries.py lab ROLECALL [SERVER]     starts the lab of lab.py, waits for the end of its
                                         incident, runs the queries and stops the lab

The queries are those of panels, annotations and variables. Each variable takes each of its values
in turn ("All" if it allows several). A range query runs once for the complete time range. An
instant query runs for every 20 s of it, because some results exist only during the incident.

It is an error if Prometheus refuses a query, if a panel shows the same series twice (for example
one per exporter), or if a query never returns data and is not in EXPECTED_EMPTY.
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

# Queries without data in the lab, by dashboard, panel and refId, with the reason.
EXPECTED_EMPTY = {
    ("rolecall-cluster", "annotation: Split brains", "Anno"): (
        "no shard of the lab has two masters for a complete round"
    ),
    ("rolecall-cluster", "Slots of failing nodes", "A"): (
        "a suspected node becomes a failed one within one scrape interval"
    ),
    ("rolecall-cluster", "Slot migration traffic", "A"): (
        "only servers with atomic slot migration report it: Redis 8.4, Valkey 9"
    ),
    ("rolecall-cluster", "Slot migration traffic", "B"): (
        "only servers with atomic slot migration report it: Redis 8.4, Valkey 9"
    ),
    ("rolecall-deployment", "Restarts, role changes and link drops", "B"): (
        "no node of the lab is replaced by an older process"
    ),
    ("rolecall-exporter", "Missed, blind and slow rounds", "C"): (
        "no deployment of the lab is large enough for a slow computation"
    ),
    ("rolecall-node", "Servers and role", "A"): (
        "no servers of the lab take turns at one address"
    ),
}


class Prometheus:
    """Client of the Prometheus HTTP API. Caches replies."""

    def __init__(self, url):
        self.url, self.requests, self.cache = url, 0, {}

    def get(self, path, **parameters):
        key = path, tuple(sorted(parameters.items()))
        if key not in self.cache:
            self.requests += 1
            data = urllib.parse.urlencode(parameters, doseq=True).encode()
            try:
                with urllib.request.urlopen(f"{self.url}/api/v1/{path}", data, timeout=60) as reply:
                    self.cache[key] = json.load(reply)["data"]
            except urllib.error.HTTPError as error:
                raise ValueError(json.load(error).get("error", str(error))) from None
        return self.cache[key]

    def range(self, expression, start, end):
        parameters = {"query": expression, "start": start, "end": end, "step": STEP}
        return self.get("query_range", **parameters)["result"]

    def instant(self, expression, timestamp):
        return self.get("query", query=expression, time=timestamp)["result"]

    def series(self, selector, start, end):
        parameters = {"match[]": selector, "start": start, "end": end}
        data = urllib.parse.urlencode(parameters).encode()
        self.requests += 1
        with urllib.request.urlopen(f"{self.url}/api/v1/series", data, timeout=60) as reply:
            return json.load(reply)["data"]


def substitute(text, values):
    """Replaces Grafana variables ($name, ${name}, ${name:format}) by their values."""
    return re.sub(
        r"\$(\w+)|\$\{(\w+)(?::\w+)?\}",
        lambda match: str(values.get(match[1] or match[2], match[0])),
        text,
    )


def fill(text, values, start, end):
    """Replaces the variables of a query, including those that Grafana defines."""
    defaults = {
        "__range": f"{int(end - start)}s",
        "__rate_interval": f"{max(4 * SCRAPE, STEP + SCRAPE)}s",
        "__interval": f"{STEP}s",
    }
    return substitute(text, {**defaults, **values})


def variable_options(prometheus, variable, values, start, end):
    """Returns the options of a variable, given the values of the variables before it."""
    query = fill(variable["query"]["query"], values, start, end)
    match = re.fullmatch(r"label_values\((.+),\s*(\w+)\)", query)
    if match:
        series = prometheus.series(match[1], start, end)
        return sorted({labels[match[2]] for labels in series if match[2] in labels})
    expression = re.fullmatch(r"query_result\((.+)\)", query)[1]
    pattern = variable["regex"].strip("/")
    options = []
    for result in prometheus.instant(expression, end):
        labels = ",".join(f'{name}="{value}"' for name, value in result["metric"].items())
        match = re.search(pattern, f"{{{labels}}}")
        if match:
            options.append(match[1])
    return options


def choices(prometheus, dashboard, start, end):
    """Returns all combinations of variable values of a dashboard."""
    combinations = [{}]
    for variable in dashboard["templating"]["list"][1:]:
        name = variable["name"]
        extended = []
        for values in combinations:
            options = variable_options(prometheus, variable, values, start, end)
            if variable.get("multi"):
                extended.append({**values, name: ".*"})
            elif variable["hide"] == 2:
                extended.append({**values, name: (options or [""])[0]})
            else:
                extended += [{**values, name: option} for option in options]
        combinations = extended
    return combinations


def legend(target, labels):
    """Returns the name of a series: the target's legend with the labels filled in."""
    return re.sub(
        r"\{\{\s*(\w+)\s*\}\}",
        lambda match: labels.get(match[1], ""),
        target.get("legendFormat", ""),
    ).strip()


def queries(dashboard):
    """Returns the queries of annotations and panels: title, target and panel (or None)."""
    result = [
        (f"annotation: {annotation['name']}", annotation["target"], None)
        for annotation in dashboard["annotations"]["list"]
        if not annotation.get("builtIn")
    ]
    for outer in dashboard["panels"]:
        for panel in [outer, *outer.get("panels", [])]:
            if panel["type"] not in ("row", "text"):
                result += [(panel["title"], target, panel) for target in panel["targets"]]
    return result


class Run:
    """Runs the queries and collects errors and statistics."""

    def __init__(self, prometheus, start, end):
        self.prometheus, self.start, self.end = prometheus, start, end
        self.errors = []
        # Each query: dashboard, title and refId.
        self.keys = []
        # Number of series that each query returned.
        self.returned = collections.Counter()
        # Queries for which a duplicate series has been reported.
        self.duplicates = set()
        # States that each timeline showed.
        self.states = collections.defaultdict(set)
        # The refId of each series of a panel.
        self.series = {}

    def dashboard(self, file):
        dashboard = json.loads(file.read_text())
        combinations = choices(self.prometheus, dashboard, self.start, self.end)
        if not combinations:
            self.errors.append(f"{file.stem}: a variable has no values")
        for title, target, panel in queries(dashboard):
            key = file.stem, title, target["refId"]
            self.keys.append(key)
            for values in combinations:
                if not self.query(key, target, panel, values):
                    break

    def query(self, key, target, panel, values):
        """Runs a query with these variable values. Returns false if Prometheus refuses it."""
        expression = fill(target["expr"], values, self.start, self.end)
        try:
            if target.get("instant"):
                times = range(int(self.start) + 20, int(self.end), 20)
                replies = [self.prometheus.instant(expression, timestamp) for timestamp in times]
            else:
                replies = [self.prometheus.range(expression, self.start, self.end)]
        except ValueError as error:
            self.errors.append(f"{key}: {error}\n    {expression}")
            return False
        if panel and panel["type"] == "state-timeline":
            self.check_states(key, panel, replies)
        for reply in replies:
            self.returned[key] += len(reply)
            self.check_names(key, target, panel, values, reply)
        return True

    def check_states(self, key, panel, replies):
        """Checks that a timeline has a text for each state."""
        mappings = panel["fieldConfig"]["defaults"]["mappings"]
        known = {state for mapping in mappings for state in mapping["options"]}
        values = [value for reply in replies for result in reply for _, value in result["values"]]
        for value in set(values):
            self.states[key[:2]].add(value)
            if value not in known:
                self.errors.append(f"{key}: no text for value {value}")

    def check_names(self, key, target, panel, values, reply):
        """Checks that no series of a panel appears twice."""
        if target.get("format") == "table":
            names = [json.dumps(result["metric"], sort_keys=True) for result in reply]
        else:
            names = [legend(target, result["metric"]) for result in reply]
        if len(set(names)) < len(names) and key not in self.duplicates and panel:
            name = collections.Counter(names).most_common(1)[0][0]
            self.errors.append(f"{key}: shows {name!r} twice")
            self.duplicates.add(key)
        # Lines of one chart need different names, also if they come from different queries.
        if panel and panel["type"] in ("timeseries", "state-timeline"):
            for name in set(names):
                series = (*key[:2], json.dumps(values, sort_keys=True), name)
                other = self.series.setdefault(series, key[2])
                if other != key[2]:
                    self.errors.append(f"{key}: {name!r} is also a series of {other}")

    def report(self):
        """Prints errors and statistics. Returns the exit code."""
        empty = [key for key in self.keys if not self.returned[key]]
        for key in empty:
            if key not in EXPECTED_EMPTY:
                self.errors.append(f"{key}: never returned data")
        for key in EXPECTED_EMPTY:
            if key not in self.keys:
                self.errors.append(f"{key}: expected to be empty, but does not exist")
            elif self.returned[key]:
                print(f"{key}: expected to be empty, but returned data")
        for error in self.errors:
            print(error)
        print(
            f"{len(self.keys)} queries, {self.prometheus.requests} requests:"
            f" {len(self.keys) - len(empty)} queries with data, {len(empty)} without,"
            f" {len(self.errors)} errors"
        )
        for key in empty:
            print("   empty:", " / ".join(key), "-", EXPECTED_EMPTY.get(key, "unexpected"))
        for (uid, title), states in self.states.items():
            print("   states:", uid, "/", title, "-", " ".join(sorted(states)))
        return 1 if self.errors else 0


def run_queries(prometheus, start, end):
    """Runs the queries of all dashboards, prints the result and returns the exit code."""
    run = Run(prometheus, start, end)
    for file in sorted((ROOT / "dashboards").glob("*.json")):
        run.dashboard(file)
    return run.report()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] == "lab":
        start = time.time()
        with lab.running(*sys.argv[2:]) as running:
            running.incident()
            prometheus = Prometheus(f"http://127.0.0.1:{lab.PROMETHEUS}")
            sys.exit(run_queries(prometheus, start, time.time()))
    end = float(sys.argv[3]) if len(sys.argv) > 3 else time.time()
    start = float(sys.argv[2]) if len(sys.argv) > 2 else end - 600
    sys.exit(run_queries(Prometheus(sys.argv[1].rstrip("/")), start, end))


if __name__ == "__main__":
    main()
