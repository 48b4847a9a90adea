#!/usr/bin/env python3
"""Checks the dashboards without a server. Prints the errors; exits with 1 if there are any.

    check.py                 needs Python 3.11 and promtool

Checks for every dashboard:
- The file is valid JSON with the expected uid, links, variables and data source.
- Prometheus can parse every query.
- Queries use only metrics and labels of the metrics reference, and read counters with a rate.
- Queries do not count two exporters of one deployment twice.
- Panels fill the grid and have a short title, a description, a unit and a text for no data.
- Descriptions name the metrics that the panel reads.
- Column and legend names in overrides and sort orders exist.
- A state has the same colour on all dashboards.
- Links lead to existing dashboards and runbooks.
- Thresholds equal those of the alerts, and every alert has a panel that shows one of its metrics.

`queries.py` runs the queries on a real Prometheus.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "dashboards").glob("*.json"))
UIDS = {
    "rolecall-fleet",
    "rolecall-deployment",
    "rolecall-persistence",
    "rolecall-node",
    "rolecall-cluster",
    "rolecall-exporter",
}
PANEL_TYPES = {"stat", "timeseries", "state-timeline", "table", "bargauge", "text", "row"}
TITLE_LENGTH = 40
# A title is a noun phrase, so it does not begin with one of these words.
QUESTION_WORDS = set(
    "are can could did do does for has have how is should was were what when where which who whose"
    " why will would".split()
)
# Labels that tell alerts apart.
ALERT_LABELS = set("alertname severity deployment node shard endpoint limit".split())
# Metrics that Prometheus itself provides, with their labels.
PROMETHEUS_METRICS = {
    "up": set(),
    "ALERTS": ALERT_LABELS | {"alertstate"},
    "ALERTS_FOR_STATE": ALERT_LABELS,
}
# Labels that Prometheus or its configuration adds to every scraped series.
TARGET_LABELS = {"job", "instance", "pod"}
RANGE_FUNCTIONS = set(
    "rate irate increase delta idelta deriv changes resets predict_linear avg_over_time"
    " min_over_time max_over_time sum_over_time count_over_time last_over_time".split()
)
COUNTER_FUNCTIONS = {"rate", "irate", "increase", "resets", "last_over_time"}
FUNCTIONS = RANGE_FUNCTIONS | set(
    "label_replace label_join clamp_min clamp_max time vector absent sort sort_desc abs"
    " ceil floor round scalar histogram_quantile".split()
)
AGGREGATIONS = set("sum min max avg count topk bottomk count_values group quantile stddev".split())
GROUPINGS = ("by", "without", "on", "ignoring", "group_left", "group_right")
KEYWORDS = set(GROUPINGS) | {"and", "or", "unless", "bool", "offset", "inf", "nan"}

# Dashboard, panel, a threshold of the panel, the alert with this threshold, and the part of the
# alert's expression that contains it.
ALERT_THRESHOLDS = [
    ("rolecall-deployment", "Replication lag", 10, "RedisReplicationLag", "> 10"),
    ("rolecall-deployment", "Highest replication lag", 10, "RedisReplicationLag", "> 10"),
    ("rolecall-deployment", "Sentinels with quorum", 0.5, "RedisSentinelQuorumLost", "< 0.5"),
    ("rolecall-fleet", "Highest replication lag", 10, "RedisReplicationLag", "> 10"),
    ("rolecall-fleet", "Highest memory use", 0.9, "RedisMemoryNearLimit", "> 0.9"),
    ("rolecall-fleet", "Highest share of refused commands", 0.01, "RedisErrorReplies", "> 0.01"),
    ("rolecall-fleet", "Lowest free disk space", 1.2, "RedisDiskSpaceLow", "< 1.2"),
    ("rolecall-fleet", "Primary changes by cause", 2.5, "RedisRoleFlapping", "> 2.5"),
    ("rolecall-node", "Memory use / maxmemory", 0.9, "RedisMemoryNearLimit", "> 0.9"),
    (
        "rolecall-persistence",
        "Delayed fsyncs in five minutes",
        2.5,
        "RedisAofDelayedFsync",
        "> 2.5",
    ),
    ("rolecall-persistence", "Fork duration", 1, "RedisForkSlow", "> 1"),
    ("rolecall-persistence", "AOF size / rewrite trigger size", 1.5, "RedisAofBloated", "> 1.5"),
    ("rolecall-persistence", "Lowest free disk space", 1.2, "RedisDiskSpaceLow", "< 1.2"),
    ("rolecall-persistence", "Lowest free disk space", 0.2, "RedisDiskSpaceLow", ">= 0.2"),
    ("rolecall-exporter", "Blind rounds", 0.25, "RolecallBlind", "> 0.25"),
]


def read_reference():
    """Returns the type and the labels of every series of the reference, by name."""
    metrics = {}
    reference = (ROOT / "crates/catalog/REFERENCE.md").read_text()
    # The section redis_exporter has metrics of the same names with other labels. Dashboards query
    # those of Rolecall.
    own, _, of_redis_exporter = reference.partition("\n## redis_exporter\n")
    assert of_redis_exporter, "REFERENCE.md has no section redis_exporter"
    for line in own.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) >= 5:
            name, kind = cells[0].strip("`"), cells[1]
            labels = set(filter(None, re.split(r",\s*", cells[2])))
            if kind == "histogram":
                # A histogram has three series, and none of its own name.
                metrics[f"{name}_bucket"] = ("counter", labels | {"le"})
                metrics[f"{name}_count"] = metrics[f"{name}_sum"] = ("counter", labels)
            else:
                metrics[name] = (kind, labels)
    return metrics


METRICS = read_reference()


def tokenize(expression):
    """Splits a PromQL expression into tokens, without comments."""
    return re.findall(
        r'"(?:[^"\\]|\\.)*"|[A-Za-z_:][A-Za-z0-9_:]*|\$\{?\w+(?::\w+)?\}?|[0-9.]+[a-z]*'
        r"|=~|!~|!=|==|>=|<=|\S",
        re.sub(r"#.*", "", expression),
    )


def labels_in_parentheses(tokens, opening):
    """Returns the labels listed in parentheses, and the position of the closing one."""
    closing = tokens.index(")", opening)
    return [token for token in tokens[opening + 1 : closing] if token != ","], closing


def selectors(expression):
    """Returns a tuple for each metric that the expression reads.

    The tuple has the metric's name, the labels in its selector, the function that is applied to its
    range (or an empty string), and the enclosing functions and aggregations, outermost first. A
    function is its name. An aggregation is a tuple of its name, "by", "without" or "", and labels.
    """
    result, tokens, stack, position, pending = [], tokenize(expression), [], 0, ""
    while position < len(tokens):
        token = tokens[position]
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        if token == "(":
            stack.append(pending)
            pending = ""
        elif token == ")":
            stack.pop()
        elif token in AGGREGATIONS:
            pending = (token, "", ())
        elif token in FUNCTIONS:
            pending = token
        elif token in GROUPINGS:
            if following == "(":
                labels, position = labels_in_parentheses(tokens, position + 1)
                if token in ("by", "without") and pending:
                    pending = (pending[0], token, tuple(labels))
        elif re.match(r"[A-Za-z_:]", token) and token.lower() not in KEYWORDS:
            labels = []
            if following == "{":
                end = tokens.index("}", position)
                labels = [
                    tokens[index]
                    for index in range(position + 2, end)
                    if index + 1 < end and tokens[index + 1] in ("=", "!=", "=~", "!~")
                ]
                position = end
            function = ""
            if position + 1 < len(tokens) and tokens[position + 1] == "[":
                function = next((name for name in reversed(stack) if name in FUNCTIONS), "")
            result.append((token, labels, function, [name for name in stack if name]))
        position += 1
    return result


def counts_exporters_twice(enclosing):
    """Returns true if two exporters of one deployment would appear twice or be added up."""
    for outer in reversed([name for name in enclosing if isinstance(name, tuple)]):
        name, grouping, labels = outer
        if grouping == "by" and "instance" in labels:
            continue
        if grouping == "without" and "instance" not in labels:
            continue
        # The innermost aggregation over exporters decides. A count of exporters is intended.
        return name not in ("max", "min", "count")
    return True


def grouping_labels(expression):
    """Returns the labels that an expression groups or matches by, and the labels it creates."""
    tokens = tokenize(expression)
    used = set()
    created = set(re.findall(r'label_(?:replace|join)\s*\((?:.|\n)*?,\s*"(\w+)"\s*,', expression))
    created |= set(re.findall(r'count_values[^"]*"(\w+)"', expression))
    for position, token in enumerate(tokens[:-1]):
        if token in GROUPINGS and tokens[position + 1] == "(":
            used |= set(labels_in_parentheses(tokens, position + 1)[0])
    # The target label of label_replace follows the complete inner expression.
    created |= set(re.findall(r'"(\w+)",\s*"[^"]*",\s*"[^"]*",\s*"[^"]*"\s*\)', expression))
    return used, created


def strings(value):
    """Yields every string of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def lists(value, key):
    """Yields every list under this key, and every list that is the value of a property `key`."""
    if isinstance(value, dict):
        if isinstance(value.get(key), list):
            yield value[key]
        if value.get("id") == key and isinstance(value.get("value"), list):
            yield value["value"]
        for inner in value.values():
            yield from lists(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from lists(inner, key)


def is_noun_phrase(title):
    """Returns true unless the title is long, a sentence or a question."""
    first = title.split(" ")[0]
    return (
        len(title) <= TITLE_LENGTH
        and title[-1] not in "?!.:"
        and first[0].isupper()
        and first.lower() not in QUESTION_WORDS
    )


class Checker:
    """Collects the errors of all dashboards."""

    def __init__(self):
        self.errors = []
        # The colour of each state text, and the panel that used it first.
        self.colours = {}
        # The dashboard of each title.
        self.titles = {}
        self.panels = 0
        # Every query, with the place of the dashboard that contains it.
        self.queries = []

    def error(self, place, message):
        self.errors.append(f"{place}: {message}")

    def check_query(self, place, expression, is_variable=False):
        """Checks a query, and returns the labels that its result can have."""
        self.queries.append((place, expression))
        known = set(TARGET_LABELS)
        for name, labels, function, enclosing in selectors(expression):
            if name in PROMETHEUS_METRICS:
                known |= PROMETHEUS_METRICS[name]
                kind, own = "gauge", PROMETHEUS_METRICS[name]
            elif name in METRICS:
                kind, own = METRICS[name]
            else:
                self.error(place, f"unknown metric {name}")
                continue
            own = own | TARGET_LABELS
            if name.startswith("redis_deployment_"):
                own = own | {"shard"}
            known |= own
            for label in labels:
                if label not in own:
                    self.error(place, f"metric {name} has no label {label}")
            if (
                name.startswith("redis_")
                and not place.startswith("rolecall-exporter")
                and not is_variable
                and counts_exporters_twice(enclosing)
            ):
                self.error(place, f"two exporters would show {name} twice, or add it up")
            if kind == "counter" and function not in COUNTER_FUNCTIONS:
                self.error(place, f"counter {name} is used without a rate")
            if kind != "counter" and function in {"rate", "irate", "increase"}:
                self.error(place, f"{function}() is applied to {name}, which is not a counter")
        used, created = grouping_labels(expression)
        for label in sorted(used - known - created):
            self.error(place, f"groups by {label}, but no metric of the query has this label")
        return known | created

    def check_links(self, place, value):
        """Checks that links lead to existing dashboards and runbooks."""
        for url in strings(value):
            for uid in re.findall(r"/d/([\w-]+)", url):
                if uid not in UIDS:
                    self.error(place, f"link to unknown dashboard {uid}")
            for name in re.findall(r"/runbooks/(\w+)", url):
                if not (ROOT / f"alerts/runbooks/{name}.md").exists():
                    self.error(place, f"link to missing runbook {name}")

    def check_state_colours(self, place, panel):
        """Checks that a state text has the same colour on all dashboards."""
        results = [
            result
            for mappings in lists(panel, "mappings")
            for mapping in mappings
            if mapping["type"] == "value"
            for result in mapping["options"].values()
        ]
        for result in results:
            if "text" in result and result["text"] not in ("no", "yes"):
                text, colour = result["text"], result.get("color")
                expected, first_place = self.colours.setdefault(text, (colour, place))
                if colour != expected:
                    self.error(place, f'"{text}" is {colour}, but {expected} in {first_place}')

    def check_texts(self, place, panel):
        """Checks the title and the description of a panel."""
        for key in ("title", "description"):
            if not panel.get(key):
                self.error(place, f"missing {key}")
        if panel.get("title") and not is_noun_phrase(panel["title"]):
            self.error(place, f"title is not a noun phrase of at most {TITLE_LENGTH} characters")

    def check_description(self, place, panel):
        """Checks that the description names metrics that the panel reads, and no others."""
        named = set(re.findall(r"`(\w+)`", panel.get("description", "")))
        read = {name for target in panel["targets"] for name, *_ in selectors(target["expr"])}
        if not named & read:
            self.error(place, "description names no metric of the panel")
        for name in sorted(named - read):
            self.error(place, f"description names {name}, but no query reads it")

    def check_names(self, place, panel, columns):
        """Checks that overrides and sort orders refer to existing columns and series."""
        overrides = panel["fieldConfig"]["overrides"]
        legends = [target.get("legendFormat", "") for target in panel["targets"]]
        headings = set()
        for override in overrides:
            kind, name = override["matcher"]["id"], override["matcher"]["options"]
            if panel["type"] == "table":
                if kind == "byName" and name not in columns:
                    self.error(place, f"override for unknown column {name}")
                headings |= {
                    entry["value"]
                    for entry in override["properties"]
                    if entry["id"] == "displayName"
                }
            elif kind == "byName" and name not in legends:
                self.error(place, f"override for unknown series {name}")
            elif kind == "byRegexp":
                pattern = re.compile(re.sub(r"^/(.*)/$", r"\1", name))
                if not any(pattern.search(legend) for legend in legends):
                    self.error(place, f"override for unknown series {name}")
        for entry in panel["options"].get("sortBy", []):
            if entry["displayName"] not in headings:
                self.error(place, f"sorted by unknown column {entry['displayName']}")

    def check_panel(self, place, panel, variables):
        self.panels += 1
        self.check_texts(place, panel)
        if panel["type"] == "text":
            return
        self.check_description(place, panel)
        defaults = panel["fieldConfig"]["defaults"]
        if not defaults.get("unit"):
            self.error(place, "missing unit")
        if not defaults.get("noValue"):
            self.error(place, "missing noValue, the text for no data")
        steps = defaults.get("thresholds", {}).get("steps")
        if not steps or steps[0]["value"] is not None:
            self.error(place, "the first threshold must have no value")
        for source in [panel.get("datasource"), *(t.get("datasource") for t in panel["targets"])]:
            if source != {"type": "prometheus", "uid": "${datasource}"}:
                self.error(place, "data source is not the variable ${datasource}")
        refs = [target["refId"] for target in panel["targets"]]
        if len(set(refs)) != len(refs) or not refs:
            self.error(place, "missing or duplicate refId")
        columns = {"Time", "Value"} | {f"Value #{ref}" for ref in refs}
        for target in panel["targets"]:
            known = self.check_query(f"{place} {target['refId']}", target["expr"])
            columns |= known
            for label in re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", "")):
                if label not in known:
                    self.error(place, f"legend uses label {label}, which the query does not have")
            if bool(target.get("instant")) == bool(target.get("range")):
                self.error(place, "a query must be either instant or range")
            if panel["type"] == "table" and target.get("format") != "table":
                self.error(place, "a query of a table must have format table")
        self.check_names(place, panel, columns)
        texts = json.dumps([panel["targets"], panel["fieldConfig"], panel.get("links", [])])
        for name in re.findall(r"\$\{?(\w+)", texts):
            if name not in variables and not name.startswith("__") and not name.isdigit():
                self.error(place, f"unknown variable {name}")
        selected = r'\b(?:deployment|node|instance|job|shard)\s*=~?\s*"([^"]*)"'
        for expression in strings([target["expr"] for target in panel["targets"]]):
            for value in re.findall(selected, expression):
                if value and not value.startswith("$"):
                    self.error(place, f'query selects the fixed value "{value}"')
        self.check_state_colours(place, panel)
        self.check_links(place, panel)

    def check_grid(self, place, panels):
        """Checks that panels fill the 24 columns of the grid without overlaps and holes."""
        cells = {}
        for panel in panels:
            box = panel["gridPos"]
            for x in range(box["x"], box["x"] + box["w"]):
                for y in range(box["y"], box["y"] + box["h"]):
                    if x > 23 or (x, y) in cells:
                        other = cells.get((x, y), "the right edge")
                        self.error(place, f'"{panel.get("title")}" overlaps "{other}"')
                        return
                    cells[x, y] = panel.get("title")
        if not cells:
            return
        top, bottom = min(y for _, y in cells), max(y for _, y in cells)
        for y in range(top, bottom + 1):
            for x in range(24):
                if (x, y) not in cells:
                    self.error(place, f"no panel at column {x}, line {y}")
                    return

    def check_variables(self, place, variables):
        first = variables[0]
        datasource = ("datasource", "datasource", "prometheus")
        if (first["name"], first["type"], first["query"]) != datasource:
            self.error(place, "the first variable must be the data source")
        for variable in variables[1:]:
            name, query = variable["name"], variable["query"]["query"]
            match = re.fullmatch(r"label_values\((.+),\s*(\w+)\)", query) or re.fullmatch(
                r"query_result\((.+)\)", query
            )
            if not match:
                self.error(place, f"variable {name} has an unsupported query: {query}")
                continue
            known = self.check_query(f"{place} ${name}", match[1], is_variable=True)
            if query.startswith("label_values") and match[2] not in known:
                self.error(place, f"variable {name} reads label {match[2]}, which does not exist")

    def check_dashboard(self, file):
        place = file.stem
        try:
            dashboard = json.loads(file.read_text())
        except ValueError as error:
            return self.error(place, f"invalid JSON: {error}")
        if dashboard.get("uid") != file.stem:
            self.error(place, f"uid is {dashboard.get('uid')}, but the file is {file.name}")
        title = dashboard.get("title")
        if title in self.titles:
            self.error(place, f"title is also the title of {self.titles[title]}")
        self.titles[title] = place
        for key, value in {
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "id": None,
        }.items():
            if dashboard.get(key) != value:
                self.error(place, f"{key} is {dashboard.get(key)}, must be {value}")
        if dashboard.get("schemaVersion", 0) < 39:
            self.error(place, "schemaVersion must be at least 39 (Grafana 11)")
        urls = [link.get("url", "") for link in dashboard["links"]]
        linked = {uid for url in urls for uid in re.findall(r"/d/([\w-]+)", url)}
        if linked != UIDS - {place}:
            self.error(place, f"links to {sorted(linked)}, must link to all other dashboards")
        variables = dashboard["templating"]["list"]
        self.check_variables(place, variables)
        for query in dashboard["annotations"]["list"]:
            if not query.get("builtIn"):
                self.check_query(f"{place} annotation {query['name']}", query["target"]["expr"])
        names = {variable["name"] for variable in variables}
        ids, titles = [], set()
        for outer in dashboard["panels"]:
            ids.append(outer["id"])
            if outer["type"] not in PANEL_TYPES:
                self.error(place, f"{outer.get('title')} has unknown type {outer['type']}")
            inner = outer.get("panels", [])
            if outer["type"] == "row":
                if not outer.get("title"):
                    self.error(place, "row without a title")
                elif not is_noun_phrase(outer["title"]):
                    self.error(place, f"title of row {outer['title']} is not a noun phrase")
                if bool(outer["collapsed"]) != bool(inner):
                    self.error(place, f"row {outer['title']} must be collapsed if it has panels")
                self.check_grid(f"{place} / {outer['title']}", inner)
            for panel in inner if outer["type"] == "row" else [outer]:
                name = f"{place} / {panel.get('title')}"
                if panel["type"] not in PANEL_TYPES - {"row"}:
                    self.error(name, f"unexpected type {panel['type']}")
                if panel.get("title") in titles:
                    self.error(name, "duplicate title")
                titles.add(panel.get("title"))
                self.check_panel(name, panel, names)
            ids += [panel["id"] for panel in inner]
        if len(set(ids)) != len(ids):
            self.error(place, "duplicate panel id")
        self.check_grid(place, dashboard["panels"])


def check_syntax(checker):
    """Checks that Prometheus can parse every query: promtool reads them as recording rules."""
    rules = []
    for index, (_, expression) in enumerate(checker.queries):
        expression = re.sub(r"\$__\w+", "1m", expression)
        expression = re.sub(r"\$\{?\w+(?::\w+)?\}?", "x", expression)
        rules.append({"record": f"query:{index}", "expr": expression})
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"groups": [{"name": "dashboards", "rules": rules}]}, file)
        file.flush()
        command = ["promtool", "check", "rules", "--lint=none", file.name]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    for index, message in re.findall(r'"query:(\d+)"(.*)', run.stdout + run.stderr):
        checker.error(checker.queries[int(index)][0], message.strip(" :,"))
    if run.returncode and not checker.errors:
        checker.error("promtool", run.stderr)


def check_alert_links(checker):
    """Checks that alerts link to existing dashboards and set only variables that exist there."""
    dashboards = {file.stem: json.loads(file.read_text()) for file in FILES}
    for file in sorted((ROOT / "alerts").glob("*.rules.yaml")):
        for uid, rest in re.findall(r"dashboard: '/d/([\w-]+)([^']*)'", file.read_text()):
            if uid not in dashboards:
                checker.error(file.name, f"link to unknown dashboard {uid}")
                continue
            variables = dashboards[uid]["templating"]["list"]
            names = {variable["name"] for variable in variables}
            for name in re.findall(r"var-(\w+)=", rest):
                if name not in names:
                    checker.error(file.name, f"sets the unknown variable {name} of {uid}")


def alert_expressions():
    """Returns the expressions of the rules of each alert."""
    alerts = {}
    for file in sorted((ROOT / "alerts").glob("*.rules.yaml")):
        for rule in file.read_text().split("- alert: ")[1:]:
            name = rule.split()[0]
            alerts[name] = alerts.get(name, "") + rule.split("annotations:")[0]
    return alerts


def check_alert_panels(checker):
    """Checks that a panel shows at least one of the metrics of each alert."""
    shown = {name for _, expression in checker.queries for name, *_ in selectors(expression)}
    for alert, text in alert_expressions().items():
        read = set(re.findall(r"\b(?:redis|rolecall)_\w+", re.sub(r'"[^"]*"|#.*', "", text)))
        if read and not read & shown:
            checker.error(alert, f"no panel shows any of {sorted(read)}")


def check_alert_tables(checker):
    """Checks that no table of alerts merges two alerts into one row."""
    for place, expression in checker.queries:
        if "ALERTS_FOR_STATE" in expression:
            missing = ALERT_LABELS - grouping_labels(expression)[0]
            if missing:
                checker.error(place, f"alerts that differ in {sorted(missing)} are one row")


def check_alert_thresholds(checker):
    """Checks that thresholds of panels equal those of the alerts."""
    alerts = alert_expressions()
    panels = {}
    for file in FILES:
        for outer in json.loads(file.read_text())["panels"]:
            for panel in [outer, *outer.get("panels", [])]:
                panels[file.stem, panel.get("title")] = panel
    for uid, title, value, alert, text in ALERT_THRESHOLDS:
        panel = panels.get((uid, title))
        if panel is None:
            checker.error(uid, f'missing panel "{title}"')
        elif value not in [step["value"] for steps in lists(panel, "steps") for step in steps]:
            checker.error(f"{uid} / {title}", f"missing threshold {value} of alert {alert}")
        if text not in alerts.get(alert, ""):
            checker.error(f"{uid} / {title}", f'expression of {alert} does not contain "{text}"')


def main():
    checker = Checker()
    if {file.stem for file in FILES} != UIDS:
        checker.error("dashboards", f"unexpected files: {[file.stem for file in FILES]}")
    for file in FILES:
        checker.check_dashboard(file)
    check_syntax(checker)
    check_alert_links(checker)
    check_alert_panels(checker)
    check_alert_tables(checker)
    check_alert_thresholds(checker)
    for error in checker.errors:
        print(error)
    count = len(checker.errors)
    print(
        f"{len(FILES)} dashboards, {checker.panels} panels, {len(checker.queries)} queries,"
        f" {count} error{'' if count == 1 else 's'}"
    )
    sys.exit(1 if checker.errors else 0)


if __name__ == "__main__":
    main()
