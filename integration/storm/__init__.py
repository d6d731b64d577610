"""Faults at random under a workload that knows what must never happen; see `integration/chaos`.

Map (each module's head says what it owns):

    main      the command line, the rounds, the report
    site      the cluster and its Tidegates: who is the primary, is all whole again, what only a person may mend
    network   relays in front of the servers that cut, hold and delay by who talks to whom
    faults    what can happen, drawn from a seed
    clients   the workload: sessions through Tidegate
    history   what was promised to the clients; pure: finds lost and doubled rows, stale reads, wrong sums
    evidence  what is kept when a promise was broken

Python's standard library only.
"""
