"""The bench: direct, HAProxy (TCP mode) and Tidegate in one run, against the same servers.

    main        the run: servers' sysbench tables, targets, workloads in turn, the report
    targets     what is measured: a port, and the process to account for
    workloads   the sysbench runs, their numbers
    idle        clients that hold connections: for workloads beside them, and for memory per client
    accounting  CPU and memory of processes, from /proc
    client      a minimal asynchronous MySQL client
    report      medians and ratios as Markdown

CPU per query, as a ratio to another target of the same run, can be trusted on a shared machine; queries per second and
latencies only where `noise` (other work's share of the machine's CPU) is small. CPU counters tick at 10 ms.
"""
