"""The sysbench workloads: their options, one run of one against one target, and the numbers of that run."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from launcher import binaries
from launcher.cache import LauncherError
from launcher.watchdog import die_with_parent

from . import accounting
from .targets import Target

USER, PASSWORD, DATABASE = "app", "app-pw", "test"
LUA = Path(__file__).resolve().parent / "lua"
TEXT, PREPARED = "--db-ps-mode=disable", "--db-ps-mode=auto"
BULK_ROWS = 10_000


@dataclass(frozen=True)
class Workload:
    name: str
    script: str
    threads: int
    options: tuple
    idle_clients: int = 0


def workloads(idle_clients: int) -> list:
    return [
        Workload("point-text", "oltp_point_select", 16, (TEXT,)),
        Workload("point-ps", "oltp_point_select", 16, (PREPARED,)),
        Workload("read-only", "oltp_read_only", 16, (TEXT,)),
        Workload("read-write", "oltp_read_write", 16, (TEXT,)),
        Workload("bulk", str(LUA / "bulk_select.lua"), 4, (TEXT, f"--bulk-rows={BULK_ROWS}")),
        Workload("churn", str(LUA / "churn.lua"), 16, (TEXT,)),
        Workload("point-text-idle", "oltp_point_select", 16, (TEXT,), idle_clients),
    ]


@dataclass(frozen=True)
class Tables:
    count: int
    rows: int


def prepare(primary_port: int, tables: Tables) -> None:
    done = subprocess.run([*sysbench("oltp_read_write", primary_port, tables), "--threads=2", "prepare"], capture_output=True, text=True,
                          timeout=600)
    if done.returncode:
        raise LauncherError(f"sysbench cannot prepare its tables: {(done.stderr or done.stdout)[-800:]}")


def run(workload: Workload, target: Target, tables: Tables, seconds: int, server_pids: list, apart: bool, database: str = DATABASE) -> dict:
    """One run's numbers; raises when sysbench or a single query fails."""
    before = _reading(target, server_pids)
    done = subprocess.run([*sysbench(workload.script, target.port, tables, database), f"--threads={workload.threads}", f"--time={seconds}",
                           "--report-interval=0", "--histogram=on", "--rand-type=uniform", *workload.options, "run"],
                          capture_output=True, text=True, timeout=seconds + 120, preexec_fn=_apart if apart else die_with_parent)
    after = _reading(target, server_pids)
    said = done.stdout
    queries = _number(said, r"queries:\s+(\d+)") or _number(said, r"transactions:\s+(\d+)") or _number(said, r"total number of events:\s+(\d+)")
    if workload.name == "churn":
        queries = _number(said, r"total number of events:\s+(\d+)") or queries
    if done.returncode or not queries:
        raise LauncherError(f"{workload.name} on {target.name}: sysbench failed: {(done.stderr or said)[-800:].strip()}")
    elapsed_s = _number(said, r"total time:\s+([\d.]+)s")
    used = {name: after[name] - before[name] for name in before}
    histogram = [(float(value), int(count)) for value, count in re.findall(r"^\s*([\d.]+) \|\**\s+(\d+)\s*$", said, re.M)]
    return {
        "target": target.name, "workload": workload.name, "queries": int(queries), "qps": queries / elapsed_s,
        **{f"p{share}_ms": _percentile(histogram, share / 100) for share in (50, 95, 99)},
        "errors": int(_number(said, r"ignored errors:\s+(\d+)")),
        "cpu_us": used["proxy"] * 1e6 / queries if target.pid else None,
        "noise": max(0.0, used["busy"] - used["proxy"] - used["servers"] - used["sysbench"]) / max(used["all"], 1e-9),
    }


def _apart() -> None:
    """In the child before exec: the servers are in sessions of their own, so the proxies are left alone in this one."""
    os.setsid()
    die_with_parent()


def sysbench(script: str, port: int, tables: Tables, database: str = DATABASE) -> list:
    """The program and the options of every run."""
    program = shutil.which("sysbench", path=binaries.SEARCH_PATH)
    if not program:
        raise LauncherError("sysbench is missing: run `integration/servers install tools`")
    return [program, script, "--mysql-host=127.0.0.1", f"--mysql-port={port}", f"--mysql-user={USER}", f"--mysql-password={PASSWORD}",
            f"--mysql-db={database}", "--mysql-ssl=off", f"--tables={tables.count}", f"--table-size={tables.rows}"]


def _reading(target: Target, server_pids: list) -> dict:
    busy, total = accounting.machine_cpu_s()
    return {"proxy": accounting.cpu_s(target.pid) if target.pid else 0.0, "servers": sum(map(accounting.cpu_s, server_pids)),
            "sysbench": accounting.children_cpu_s(), "busy": busy, "all": total}


def _number(text: str, pattern: str) -> float:
    match = re.search(pattern, text)
    return float(match[1]) if match else 0.0


def _percentile(histogram: list, share: float):
    wanted, seen = sum(count for _, count in histogram) * share, 0
    for value, count in histogram:
        seen += count
        if seen >= wanted:
            return value
    return None
