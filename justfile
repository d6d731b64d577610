# The developer's menu: `just` lists it. Every line is an ordinary command that also works without just.

_default:
    @just --list --unsorted

# Compile what is run.
build:
    cargo build

# Compile only, everything.
check:
    cargo check --all-targets

# Everything: format, lints, unit tests, scenarios, drivers, the launcher's own tests. Installs the servers it needs.
test:
    ./integration/test

# Format, lints, unit tests: no servers, under a minute once built.
unit:
    ./integration/test --unit

# Scenarios against real servers, all or those whose name contains FILTER.
scenarios *FILTER:
    ./integration/test --scenarios {{FILTER}}

# Clients of several languages, against the servers and then through Tidegate.
drivers:
    ./integration/test --drivers

# Real servers, Tidegate in front, a tour; then a proxy to connect to until Ctrl-C (`--mariadb`, `--once`).
demo *OPTIONS:
    ./integration/demo {{OPTIONS}}

# Direct, HAProxy and Tidegate in one run (`--quick`, `--mariadb`).
bench *OPTIONS:
    ./integration/bench {{OPTIONS}}

# Format in place.
fmt:
    cargo fmt

# What the tests refuse: unformatted code, lints.
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings

# sysbench through Tidegate, with the servers' own counters
soak *OPTIONS:
    ./integration/soak {{OPTIONS}}

# The same statements on one server and through Tidegate, for minutes; `--leak`: 200 sessions over 8 connections (`--time`, `--seed`)
differential *OPTIONS:
    ./integration/differential {{OPTIONS}}
# Faults at random under a workload that checks what clients were promised (`--mariadb`, `--seed`, `--faults`, `--time`, `--instances`, `--follow`)
chaos *OPTIONS:
    ./integration/chaos {{OPTIONS}}

# MariaDB's own test suite through Tidegate (`--ci` for the sample, TEST… for some)
mtr *OPTIONS:
    ./integration/mtr/run {{OPTIONS}}
