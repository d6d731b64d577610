"""Medians per workload and target as Markdown, with the ratios to HAProxy of the same run."""

import statistics

COLUMNS = {"qps": "queries/s", "p50_ms": "p50 ms", "p95_ms": "p95 ms", "p99_ms": "p99 ms", "cpu_us": "CPU µs/query", "noise": "noise", "errors": "errors"}
BASE = "haproxy"


def report(results: list, memory: dict, failures: list) -> str:
    lines = [f"| workload | target | {' | '.join(COLUMNS.values())} | CPU ÷ {BASE} | queries/s ÷ {BASE} |", "|---|---|" + "--:|" * (len(COLUMNS) + 2)]
    for workload in dict.fromkeys(result["workload"] for result in results):
        medians = {target: _medians(results, workload, target)
                   for target in dict.fromkeys(r["target"] for r in results if r["workload"] == workload)}
        for target, values in medians.items():
            base = medians.get(BASE, {})
            cells = [_number(values[column]) for column in COLUMNS]
            ratios = [_ratio(values["cpu_us"], base.get("cpu_us")), _ratio(values["qps"], base.get("qps"))]
            lines.append(f"| {workload} | {target} | {' | '.join(cells + ratios)} |")
    lines += ["", "| target | memory per idle client, KiB |", "|---|--:|", *(f"| {target} | {kib:.1f} |" for target, kib in memory.items())]
    lines += ["", *(f"FAILED {failure}" for failure in failures)] if failures else []
    return "\n".join(lines)


def _medians(results: list, workload: str, target: str) -> dict:
    runs = [result for result in results if (result["workload"], result["target"]) == (workload, target)]
    found = {}
    for column in COLUMNS:
        values = [run[column] for run in runs if run[column] is not None]
        found[column] = statistics.median(values) if values else None
    return found


def _ratio(value, base) -> str:
    return f"{value / base:.2f}" if value and base else "–"


def _number(value) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.1f}" if value >= 100 else f"{value:.2f}"
