#!/usr/bin/env python3
"""Checks the dashboards without any server. Prints what is wrong, and fails if anything is.

    check.py                 needs Python 3.11 and promtool

That they load, that Prometheus can parse what they ask, that they keep to the grid, say what each panel is for, use only variables, name only metrics and labels that the reference of
metrics has, read counters only through a rate, give one state one colour, and link to dashboards and runbooks that exist.
`queries.py` runs what they ask on a real Prometheus.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "dashboards").glob("*.json"))
UIDS = {"rolecall-fleet", "rolecall-deployment", "rolecall-persistence", "rolecall-node", "rolecall-cluster", "rolecall-exporter"}
PANELS = {"stat", "timeseries", "state-timeline", "table", "bargauge", "text", "row"}
# What Prometheus makes itself, and labels that it or its configuration adds.
OF_PROMETHEUS = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity", "deployment", "node", "shard", "endpoint"}, "ALERTS_FOR_STATE": {"alertname", "severity", "deployment", "node", "shard", "endpoint"}}
OF_TARGETS = {"job", "instance", "pod"}
WINDOWS = {"rate", "irate", "increase", "delta", "idelta", "deriv", "changes", "resets", "predict_linear", "avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "last_over_time"}
OF_COUNTERS = {"rate", "irate", "increase", "resets", "last_over_time"}
FUNCTIONS = WINDOWS | {"label_replace", "label_join", "clamp_min", "clamp_max", "time", "vector", "absent", "sort", "sort_desc", "abs", "ceil", "floor", "round", "scalar"}
AGGREGATES = {"sum", "min", "max", "avg", "count", "topk", "bottomk", "count_values", "group", "quantile", "stddev"}
WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset", "inf", "nan"}

# A panel, a threshold on it, and what the alert says that fires there.
AGREED = [
    ("rolecall-deployment", "How far behind are the replicas?", 10, "RedisReplicationLag", "> 10"),
    ("rolecall-deployment", "How far behind at worst?", 10, "RedisReplicationLag", "> 10"),
    ("rolecall-deployment", "Could they fail over?", 0.5, "RedisSentinelQuorumLost", "< 0.5"),
    ("rolecall-fleet", "Which replicas lag most?", 10, "RedisReplicationLag", "> 10"),
    ("rolecall-fleet", "Whose memory is nearly full?", 0.9, "RedisMemoryNearLimit", "> 0.9"),
    ("rolecall-fleet", "Who refuses most commands?", 0.01, "RedisErrorReplies", "> 0.01"),
    ("rolecall-fleet", "Where is least room on disk?", 1.2, "RedisDiskSpaceLow", "< 1.2"),
    ("rolecall-fleet", "Whose primary changed, and why?", 2.5, "RedisRoleFlapping", "> 2.5"),
    ("rolecall-node", "How near is the limit?", 0.9, "RedisMemoryNearLimit", "> 0.9"),
    ("rolecall-persistence", "Is the disk too slow?", 2.5, "RedisAofDelayedFsync", "> 2.5"),
    ("rolecall-persistence", "How long does a fork stop the server?", 1, "RedisForkSlow", "> 1"),
    ("rolecall-persistence", "How near is the next rewrite?", 1.5, "RedisAofBloated", "> 1.5"),
    ("rolecall-persistence", "Is there room on disk?", 1.2, "RedisDiskSpaceLow", "< 1.2"),
    ("rolecall-persistence", "Is there room on disk?", 0.2, "RedisDiskSpaceLow", ">= 0.2"),
    ("rolecall-exporter", "Are they blind?", 0.25, "RolecallBlind", "> 0.25"),
]


def reference():
    """Name -> (type, labels), of every metric."""
    metrics = {}
    for line in (ROOT / "crates/catalog/REFERENCE.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) >= 5:
            metrics[cells[0].strip("`")] = (cells[1], set(filter(None, re.split(r",\s*", cells[2]))))
    return metrics


METRICS = reference()


def tokens(expression):
    return re.findall(r'"(?:[^"\\]|\\.)*"|[A-Za-z_:][A-Za-z0-9_:]*|\$\{?\w+(?::\w+)?\}?|[0-9.]+[a-z]*|=~|!~|!=|==|>=|<=|\S', re.sub(r"#.*", "", expression))


def selectors(expression):
    """Each metric that is read: its name, the labels it is chosen by, the function of its window (or nothing), and what stands around it, outermost first.

    What stands around it is functions by name, and aggregations as (name, "by" or "without" or "", labels).
    """
    found, words, stack, at, pending = [], tokens(expression), [], 0, ""
    while at < len(words):
        word = words[at]
        if word == "(":
            stack.append(pending)
            pending = ""
        elif word == ")":
            stack.pop()
        elif word in AGGREGATES:
            pending = (word, "", ())
        elif word in FUNCTIONS:
            pending = word
        elif word in ("by", "without", "on", "ignoring", "group_left", "group_right"):
            if at + 1 < len(words) and words[at + 1] == "(":
                end = words.index(")", at)
                if word in ("by", "without") and pending:
                    pending = (pending[0], word, tuple(inner for inner in words[at + 2:end] if inner != ","))
                at = end
        elif re.match(r"[A-Za-z_:]", word) and word.lower() not in WORDS:
            labels = []
            if at + 1 < len(words) and words[at + 1] == "{":
                end = words.index("}", at)
                labels = [words[i] for i in range(at + 2, end) if i + 1 < end and words[i + 1] in ("=", "!=", "=~", "!~")]
                at = end
            window = at + 1 < len(words) and words[at + 1] == "["
            found.append((word, labels, next((name for name in reversed(stack) if name in FUNCTIONS), "") if window else "", [name for name in stack if name]))
        at += 1
    return found


def doubled(around):
    """Whether two exporters that say the same would show twice, or be added up."""
    for outer in reversed([name for name in around if isinstance(name, tuple)]):
        name, how, labels = outer
        if (how == "by" and "instance" in labels) or (how == "without" and "instance" not in labels):
            continue
        # Of several the first that merges them decides. Votes may be counted.
        return name not in ("max", "min", "count")
    return True


def grouped(expression):
    """The labels that an expression groups or matches by, and those it makes itself."""
    words = tokens(expression)
    used, made = set(), set(re.findall(r'label_(?:replace|join)\s*\((?:.|\n)*?,\s*"(\w+)"\s*,', expression)) | set(re.findall(r'count_values[^"]*"(\w+)"', expression))
    for at, word in enumerate(words):
        if word in ("by", "without", "on", "ignoring", "group_left", "group_right") and at + 1 < len(words) and words[at + 1] == "(":
            used |= {inner for inner in words[at + 2:words.index(")", at)] if inner != ","}
    # The target of label_replace stands after the whole inner expression.
    made |= set(re.findall(r'"(\w+)",\s*"[^"]*",\s*"[^"]*",\s*"[^"]*"\s*\)', expression))
    return used, made


class Check:
    def __init__(self):
        self.faults, self.colours, self.titles, self.count, self.asked = [], {}, {}, 0, []

    def fault(self, where, what):
        self.faults.append(f"{where}: {what}")

    def expression(self, where, text, labels_too=()):
        self.asked.append((where, text))
        known = set(OF_TARGETS)
        for name, labels, window, around in selectors(text):
            if name in OF_PROMETHEUS:
                known |= OF_PROMETHEUS[name]
                kind, own = "gauge", OF_PROMETHEUS[name]
            elif name in METRICS:
                kind, own = METRICS[name]
            else:
                self.fault(where, f"{name} is no metric of the reference")
                continue
            own = own | OF_TARGETS | ({"shard"} if name.startswith("redis_deployment_") else set())
            known |= own
            for label in labels:
                if label not in own:
                    self.fault(where, f"{name} has no label {label}")
            if name.startswith("redis_") and not where.startswith("rolecall-exporter") and "$" not in where.split(" ")[-1] and doubled(around):
                self.fault(where, f"{name} of two exporters would show twice, or be added up")
            if kind == "counter" and window not in OF_COUNTERS:
                self.fault(where, f"{name} is a counter, and read without a rate")
            if kind != "counter" and window in {"rate", "irate", "increase"}:
                self.fault(where, f"{name} is no counter, and read through {window}")
        used, made = grouped(text)
        for label in sorted(used - known - made):
            self.fault(where, f"groups by {label}, which nothing in it has")
        return known | made

    def links(self, where, value):
        """Where links lead: dashboards and runbooks that exist."""
        for url in strings(value):
            for uid in re.findall(r"/d/([\w-]+)", url):
                if uid not in UIDS:
                    self.fault(where, f"links to {uid}, which is no dashboard")
            for name in re.findall(r"/runbooks/(\w+)", url):
                if not (ROOT / f"alerts/runbooks/{name}.md").exists():
                    self.fault(where, f"links to the runbook {name}, which does not exist")

    def states(self, where, value):
        """One text, one colour, on all dashboards."""
        for mapping in found(value, "mappings"):
            for entry in mapping:
                if entry["type"] == "value":
                    for result in entry["options"].values():
                        if "text" in result and result["text"] not in ("no", "yes"):
                            before = self.colours.setdefault(result["text"], (result.get("color"), where))
                            if before[0] != result.get("color"):
                                self.fault(where, f"«{result['text']}» is {result.get('color')} here, and {before[0]} in {before[1]}")

    def panel(self, where, panel, variables):
        self.count += 1
        for key in ("title", "description"):
            if not panel.get(key):
                self.fault(where, f"no {key}")
        if not panel.get("title", "").endswith("?"):
            self.fault(where, "the title is no question")
        if panel["type"] == "text":
            return
        defaults = panel["fieldConfig"]["defaults"]
        if not defaults.get("unit"):
            self.fault(where, "no unit")
        if not defaults.get("noValue"):
            self.fault(where, "says nothing when there is nothing")
        if not defaults.get("thresholds", {}).get("steps") or defaults["thresholds"]["steps"][0]["value"] is not None:
            self.fault(where, "thresholds do not begin at the bottom")
        sources = [panel.get("datasource")] + [target.get("datasource") for target in panel["targets"]]
        if any(source != {"type": "prometheus", "uid": "${datasource}"} for source in sources):
            self.fault(where, "reads from another datasource than the variable")
        refs = [target["refId"] for target in panel["targets"]]
        if len(set(refs)) != len(refs) or not refs:
            self.fault(where, "queries have no names of their own")
        columns = {"Time", "Value"} | {f"Value #{ref}" for ref in refs}
        for target in panel["targets"]:
            known = self.expression(f"{where} {target['refId']}", target["expr"])
            columns |= known
            for label in re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", "")):
                if label not in known:
                    self.fault(where, f"its legend has {label}, which the query has not")
            if bool(target.get("instant")) == bool(target.get("range")):
                self.fault(where, "a query is either of an instant or of a range")
            if panel["type"] == "table" and target.get("format") != "table":
                self.fault(where, "a query of a table must have the format of a table")
        if panel["type"] == "table":
            for override in panel["fieldConfig"]["overrides"]:
                if override["matcher"]["id"] == "byName" and override["matcher"]["options"] not in columns:
                    self.fault(where, f"describes the column {override['matcher']['options']}, which there is not")
        for name in re.findall(r"\$\{?(\w+)", json.dumps([panel["targets"], panel["fieldConfig"], panel.get("links", [])])):
            if name not in variables and not name.startswith("__") and not name.isdigit():
                self.fault(where, f"uses the variable {name}, which there is not")
        for text in strings([target["expr"] for target in panel["targets"]]):
            for value in re.findall(r'\b(?:deployment|node|instance|job|shard)\s*=~?\s*"([^"]*)"', text):
                if value and not value.startswith("$"):
                    self.fault(where, f"«{value}» is written into a query")
        self.states(where, panel)
        self.links(where, panel)

    def lay(self, where, panels):
        """The grid: 24 columns, nothing over anything else, no hole, no loose end to the right."""
        cells = {}
        for panel in panels:
            at = panel["gridPos"]
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    if x > 23 or (x, y) in cells:
                        self.fault(where, f"{panel.get('title')} lies over {cells.get((x, y), 'the edge')}")
                        return
                    cells[x, y] = panel.get("title")
        if not cells:
            return
        top, bottom = min(y for _, y in cells), max(y for _, y in cells)
        for y in range(top, bottom + 1):
            for x in range(24):
                if (x, y) not in cells:
                    self.fault(where, f"a hole at column {x}, line {y}")
                    return

    def dashboard(self, file):
        where = file.stem
        try:
            board = json.loads(file.read_text())
        except ValueError as error:
            return self.fault(where, f"is no JSON: {error}")
        if board.get("uid") != file.stem:
            self.fault(where, f"its uid is {board.get('uid')}")
        if board.get("title") in self.titles:
            self.fault(where, f"has the title of {self.titles[board['title']]}")
        self.titles[board.get("title")] = where
        for key, value in {"graphTooltip": 1, "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "id": None}.items():
            if board.get(key) != value:
                self.fault(where, f"{key} is {board.get(key)}")
        if board.get("schemaVersion", 0) < 39:
            self.fault(where, "its schema is older than Grafana 11")
        linked = {uid for link in board["links"] for uid in re.findall(r"/d/([\w-]+)", link.get("url", ""))}
        if linked != UIDS - {where}:
            self.fault(where, f"links to {sorted(linked)}")
        variables = {variable["name"] for variable in board["templating"]["list"]}
        first = board["templating"]["list"][0]
        if (first["name"], first["type"], first["query"]) != ("datasource", "datasource", "prometheus"):
            self.fault(where, "does not begin with the datasource")
        for variable in board["templating"]["list"][1:]:
            text = variable["query"]["query"]
            inner = re.fullmatch(r"label_values\((.+),\s*(\w+)\)", text) or re.fullmatch(r"query_result\((.+)\)", text)
            if not inner:
                self.fault(where, f"the variable {variable['name']} asks {text}")
                continue
            known = self.expression(f"{where} ${variable['name']}", inner[1])
            if text.startswith("label_values") and inner[2] not in known:
                self.fault(where, f"the variable {variable['name']} asks for {inner[2]}, which it has not")
        for query in board["annotations"]["list"]:
            if not query.get("builtIn"):
                self.expression(f"{where} annotation {query['name']}", query["target"]["expr"])
        ids, titles, outer = [], set(), []
        for panel in board["panels"]:
            ids.append(panel["id"])
            if panel["type"] not in PANELS:
                self.fault(where, f"{panel.get('title')} is a {panel['type']}")
            outer.append(panel)
            inner = panel.get("panels", [])
            if panel["type"] == "row":
                if not panel.get("title"):
                    self.fault(where, "a row has no title")
                if bool(panel["collapsed"]) != bool(inner):
                    self.fault(where, f"the row {panel['title']} is collapsed, or has panels, not both")
                self.lay(f"{where} / {panel['title']}", inner)
            for one in inner if panel["type"] == "row" else [panel]:
                name = f"{where} / {one.get('title')}"
                if one["type"] not in PANELS - {"row"}:
                    self.fault(name, f"is a {one['type']}")
                if one.get("title") in titles:
                    self.fault(name, "its title stands twice")
                titles.add(one.get("title"))
                self.panel(name, one, variables)
            ids += [one["id"] for one in inner]
        if len(set(ids)) != len(ids):
            self.fault(where, "two panels have one id")
        self.lay(where, outer)


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def found(value, key):
    """Every list that stands under this key, or is the value of a property of this name."""
    if isinstance(value, dict):
        if isinstance(value.get(key), list):
            yield value[key]
        if value.get("id") == key and isinstance(value.get("value"), list):
            yield value["value"]
        for inner in value.values():
            yield from found(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from found(inner, key)


def parsed(check):
    """Prometheus parses every query: promtool reads them as rules."""
    rules = [{"record": f"query:{at}", "expr": re.sub(r"\$\{?\w+(?::\w+)?\}?", "x", re.sub(r"\$__\w+", "1m", text))} for at, (_, text) in enumerate(check.asked)]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"groups": [{"name": "dashboards", "rules": rules}]}, file)
        file.flush()
        run = subprocess.run(["promtool", "check", "rules", "--lint=none", file.name], capture_output=True, text=True, check=False)
    for at, what in re.findall(r'"query:(\d+)"(.*)', run.stdout + run.stderr):
        check.fault(check.asked[int(at)][0], what.strip(" :,"))
    if run.returncode and not check.faults:
        check.fault("promtool", run.stderr)


def linked_from_rules(check):
    """The dashboards that alerts lead to are there, and know the variables that are given."""
    boards = {file.stem: json.loads(file.read_text()) for file in FILES}
    for file in sorted((ROOT / "alerts").glob("*.rules.yaml")):
        for uid, rest in re.findall(r"dashboard: '/d/([\w-]+)([^']*)'", file.read_text()):
            if uid not in boards:
                check.fault(file.name, f"leads to {uid}, which is no dashboard")
                continue
            names = {variable["name"] for variable in boards[uid]["templating"]["list"]}
            for name in re.findall(r"var-(\w+)=", rest):
                if name not in names:
                    check.fault(file.name, f"gives {uid} the variable {name}, which it has not")


def expressions():
    """Alert -> what its rules ask."""
    rules = {}
    for file in sorted((ROOT / "alerts").glob("*.rules.yaml")):
        for rule in file.read_text().split("- alert: ")[1:]:
            rules[rule.split()[0]] = rules.get(rule.split()[0], "") + rule.split("annotations:")[0]
    return rules


def shown(check):
    """What makes an alert fire is on some panel."""
    drawn = {name for _, text in check.asked for name, *_ in selectors(text)}
    for alert, text in expressions().items():
        read = set(re.findall(r"\b(?:redis|rolecall)_\w+", re.sub(r'"[^"]*"|#.*', "", text)))
        if read and not read & drawn:
            check.fault(alert, f"no panel shows any of {sorted(read)}")


def agreed(check):
    """Thresholds are those of the alerts."""
    rules = expressions()
    panels = {(file.stem, panel.get("title")): panel for file in FILES for outer in json.loads(file.read_text())["panels"] for panel in [outer, *outer.get("panels", [])]}
    for board, title, value, alert, text in AGREED:
        panel = panels.get((board, title))
        if panel is None:
            check.fault(board, f"has no panel «{title}»")
        elif value not in [step["value"] for steps in found(panel, "steps") for step in steps]:
            check.fault(f"{board} / {title}", f"has no threshold at {value}, where {alert} fires")
        if text not in rules.get(alert, ""):
            check.fault(f"{board} / {title}", f"{alert} does not fire at «{text}» any more")


def main():
    check = Check()
    if {file.stem for file in FILES} != UIDS:
        check.fault("dashboards", f"there are {[file.stem for file in FILES]}")
    for file in FILES:
        check.dashboard(file)
    parsed(check)
    linked_from_rules(check)
    shown(check)
    agreed(check)
    for fault in check.faults:
        print(fault)
    print(f"{len(FILES)} dashboards, {check.count} panels, {len(check.asked)} queries: {len(check.faults) or 'no'} fault{'' if len(check.faults) == 1 else 's'}")
    sys.exit(1 if check.faults else 0)


if __name__ == "__main__":
    main()
