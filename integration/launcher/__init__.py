"""The servers' launcher: real MySQL and MariaDB servers as processes in a temporary directory.

Map (each module's head says what it owns):

    cli          the command line of `integration/servers`
    install      get servers and tools: from PATH, by apt, or from Debian's archive without root
    binaries     what is installed: how to run a server of each dialect
    accounts     the test accounts and databases, as data and as SQL
    certificates the test CA and the servers' certificate
    template     one initialised data directory per server version, copied for each server
    server       one server process: options, start, stop, kill, pause
    fleet        all servers of one run, their replication, the JSON that describes them
    control      line commands (`kill main-1`) from stdin and the control socket
    watchdog     ends servers and removes the directory when the launcher is killed
    client       a minimal MySQL client for root over the Unix socket
    ports        free ports that no other launcher and no outgoing connection takes
    cache        the cache folder and its locks

Python's standard library only.
"""
