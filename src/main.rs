//! The `tidegate` command: arguments, logging, start.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tidegate::config::{self, Config, ConfigError, ListenAddress, LogFormat, Secret};
use tidegate::explain;
use tidegate::frontend::proxy::{Proxy, check_files};
use tidegate::frontend::steering::Reread;
use tidegate::plan::sharded::Planner;
use tidegate::survey;
use tidegate::topology::{System, catalog};
use tokio::signal::unix::{SignalKind, signal};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

/// Time that `tidegate health` gives the other side.
const HEALTH_LIMIT: Duration = Duration::from_secs(3);
/// Lines of the log that may wait for their reader.
const LOG_LINES: usize = 16_384;

/// A MySQL-protocol proxy: writes to the primary, reads to replicas weighted by their lag.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy.
    #[command(group(clap::ArgGroup::new("what").required(true).args(["config", "server"])))]
    Run {
        /// The rules file.
        #[arg(
            long,
            short,
            value_name = "FILE",
            conflicts_with = "server",
            required_unless_present = "server"
        )]
        config: Option<PathBuf>,
        /// Servers as host:port, instead of a file, in one option or in several. The monitor's account comes from
        /// TIDEGATE_MONITOR_USER and TIDEGATE_MONITOR_PASSWORD.
        #[arg(long, short, value_name = "HOST:PORT", num_args = 1..)]
        server: Vec<String>,
        /// Address to listen on, or unix:PATH, instead of the file's.
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<ListenAddress>,
        /// Address of /healthz, /readyz and /metrics, instead of the file's.
        #[arg(long, value_name = "ADDRESS")]
        http: Option<SocketAddr>,
    },
    /// Check a rules file and print every error in it; exit code 1 when there is any.
    Check {
        /// The rules file.
        file: PathBuf,
        /// Hold the rules for sharded tables against the tables that the servers have.
        #[arg(long)]
        connect: bool,
        /// The account to connect with, which must see the tables; its password comes from TIDEGATE_CHECK_PASSWORD.
        /// The monitor's when not given.
        #[arg(long, value_name = "NAME", requires = "connect")]
        user: Option<String>,
    },
    /// Print where statements would go, and why; no server is asked.
    Route {
        /// The rules file.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Read the statements as MariaDB would, not MySQL.
        #[arg(long)]
        mariadb: bool,
        /// The default database, for statements on tables that the file shards.
        #[arg(long, short, value_name = "NAME", requires = "config")]
        database: Option<String>,
        /// The statements.
        #[arg(required = true)]
        sql: Vec<String>,
    },
    /// Ask a running Tidegate whether it is ready; exit code 0 when it is.
    Health {
        /// Its HTTP address.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4408")]
        http: SocketAddr,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config, server, listen, http } => run(config, &server, listen, http),
        Command::Check { file, connect, user } => check(&file, connect.then_some(user.as_deref())),
        Command::Route { config, mariadb, database, sql } => {
            route(config, mariadb, database.as_deref(), &sql)
        }
        Command::Health { http } => health(http),
    }
}

/// The file first, then the files that it names: `tidegate run` must take what is found right here. Then the servers, where these are to
/// be asked, as the account of that name or as the monitor.
fn check(file: &Path, connect: Option<Option<&str>>) -> ExitCode {
    let outcome = config::check(file);
    if outcome.code == 0
        && let Ok(config) = config::read(file)
    {
        let name = file.display();
        let placed = |error| format!("error: {error}\n --> {name}\n");
        let errors: Vec<_> = match check_files(&config) {
            Err(error) => vec![placed(error.to_string())],
            Ok(()) => explain::failing_tests(&config).into_iter().map(placed).collect(),
        };
        let (warnings, errors) = match connect {
            Some(user) if errors.is_empty() => survey(&config, user),
            _ => (Vec::new(), errors),
        };
        warnings.iter().chain(&errors).for_each(|text| print(&format!("{text}\n"), true));
        let count = errors.len();
        if count > 0 {
            print(&format!("{name}: {count} error{}\n", if count == 1 { "" } else { "s" }), true);
            return ExitCode::FAILURE;
        }
    }
    print(&outcome.text, outcome.code != 0);
    ExitCode::from(outcome.code)
}

/// What the servers' tables say of the rules: warnings, and errors.
fn survey(config: &Config, user: Option<&str>) -> (Vec<String>, Vec<String>) {
    let given = std::env::var("TIDEGATE_CHECK_PASSWORD").unwrap_or_default();
    let (user, password) = match user {
        Some(user) => (user, &Secret::new(given)),
        None => (&*config.monitor.user, &config.monitor.password),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return (Vec::new(), vec![format!("error: {error}\n")]),
    };
    let (mut catalogs, mut errors) = (BTreeMap::new(), Vec::new());
    for (id, wanted) in survey::wanted(&config.rules) {
        let Some(cluster) = config.clusters.get(id.place()) else { continue };
        match runtime.block_on(catalog::read(cluster, user, password, &wanted)) {
            Ok(catalog) => drop(catalogs.insert(id, catalog)),
            Err(error) => {
                errors.push(format!("error: cluster {} cannot be asked as `{user}`: {error}\n", cluster.name))
            }
        }
    }
    let (found, warnings): (Vec<_>, Vec<_>) =
        survey::compare(config, &catalogs).into_iter().partition(|finding| finding.is_error);
    errors.extend(found.iter().map(ToString::to_string));
    let tables = survey::granting(&config.rules);
    if !tables.is_empty() {
        let (home, monitor) = (config.home(), &config.monitor);
        match runtime.block_on(catalog::lacks(home, &monitor.user, &monitor.password, &tables)) {
            Ok(lacking) => errors.extend(survey::lacking(&monitor.user, &home.name, &lacking)),
            Err(error) => errors.push(format!(
                "error: cluster {} cannot be asked as `{}`, by whom ids for `generate` are granted: {error}\n",
                home.name, monitor.user
            )),
        }
    }
    (warnings.iter().map(ToString::to_string).collect(), errors)
}

/// A file whose tests of its own rules fail is as wrong as one that cannot be read.
fn read_and_test(file: &Path) -> Result<Config, Vec<ConfigError>> {
    let config = config::read(file)?;
    let failing: Vec<_> = explain::failing_tests(&config)
        .into_iter()
        .map(|error| ConfigError::of_rules(&file.to_string_lossy(), error))
        .collect();
    if failing.is_empty() { Ok(config) } else { Err(failing) }
}

fn run(
    file: Option<PathBuf>,
    servers: &[String],
    listen: Option<ListenAddress>,
    http: Option<SocketAddr>,
) -> ExitCode {
    let (has_file, servers) = (file.is_some(), servers.to_vec());
    let read = move || {
        let loaded = match &file {
            Some(file) => read_and_test(file),
            None => Config::for_servers(&servers).map_err(|error| vec![error]),
        };
        loaded.map(|mut config| {
            if let Some(listen) = &listen {
                config.listen = vec![listen.clone()];
            }
            config.http = http.or(config.http);
            config
        })
    };
    let config = match read() {
        Ok(config) => config,
        Err(errors) => {
            errors.iter().for_each(|error| print(&format!("{error}\n"), true));
            return ExitCode::FAILURE;
        }
    };
    let _log = start_log(&config);
    allow_descriptors(&config);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    runtime.block_on(serve(config, has_file.then(|| Box::new(read) as Reread)))
}

/// Runs until SIGTERM or SIGINT, then drains; a second signal ends at once. SIGHUP has the rules read again.
async fn serve(config: Config, reread: Option<Reread>) -> ExitCode {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let (mut terminate, mut interrupt, mut hangup) = match kinds.map(signal) {
        [Ok(terminate), Ok(interrupt), Ok(hangup)] => (terminate, interrupt, hangup),
        [Err(error), ..] | [_, Err(error), _] | [.., Err(error)] => {
            return fail(&format!("cannot wait for signals: {error}"));
        }
    };
    let mut asked_to_end = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let proxy = tokio::select! {
        started = Proxy::start_with(config, reread, Arc::new(System)) => match started {
            Ok(proxy) => proxy,
            Err(error) => return fail(&error.to_string()),
        },
        () = asked_to_end() => return ExitCode::SUCCESS,
    };
    for address in proxy.addresses() {
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "Tidegate accepts clients");
    }
    loop {
        tokio::select! {
            () = asked_to_end() => break,
            // What came of it stands in the log.
            _ = hangup.recv() => drop(proxy.reload().await),
        }
    }
    tokio::select! {
        () = proxy.drain() => ExitCode::SUCCESS,
        () = asked_to_end() => ExitCode::FAILURE,
    }
}

fn route(file: Option<PathBuf>, mariadb: bool, database: Option<&str>, statements: &[String]) -> ExitCode {
    let rules = match file.map(|file| config::read(&file)).transpose() {
        Ok(config) => config.map(|config| config.rules).unwrap_or_default(),
        Err(errors) => {
            errors.iter().for_each(|error| print(&format!("{error}\n"), true));
            return ExitCode::FAILURE;
        }
    };
    let planner = Planner::new(Arc::new(rules));
    for sql in statements {
        print(&format!("{}\n", explain::line(sql.as_bytes(), mariadb)), false);
        print(&explain::sharded(sql.as_bytes(), mariadb, database, &planner), false);
    }
    ExitCode::SUCCESS
}

fn health(address: SocketAddr) -> ExitCode {
    let ask = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, HEALTH_LIMIT)?;
        stream.set_read_timeout(Some(HEALTH_LIMIT))?;
        stream.set_write_timeout(Some(HEALTH_LIMIT))?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(64 * 1024).read_to_string(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) if answer.split(' ').nth(1) == Some("200") => ExitCode::SUCCESS,
        Ok(answer) => fail(answer.split("\r\n\r\n").nth(1).unwrap_or("no answer").trim()),
        Err(error) => fail(&format!("{address}: {error}")),
    }
}

/// Raises the limit of open files as far as the system lets us, and says so where it is too low for the configuration.
fn allow_descriptors(config: &Config) {
    let servers: usize = config.clusters.iter().map(|cluster| cluster.servers.len() * cluster.pool.max).sum();
    let wanted = u64::try_from(config.limits.clients + servers).unwrap_or(u64::MAX).saturating_add(64);
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => {
            tracing::warn!(
                limit,
                wanted,
                "the limit of open files is too low for limits.clients and pool.max; raise it (LimitNOFILE=)"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}

/// Starts the log. A thread of its own writes it, so that a reader that stops reading cannot stop a core; what the reader
/// leaves beyond [`LOG_LINES`] is dropped. The guard writes the rest when it is dropped.
fn start_log(config: &Config) -> WorkerGuard {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.filter).unwrap_or_default();
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(LOG_LINES).lossy(true).finish(io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match config.log.format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    guard
}

fn fail(message: &str) -> ExitCode {
    print(&format!("tidegate: {message}\n"), true);
    ExitCode::FAILURE
}

/// Writes to the terminal; that it has gone is no error of ours.
fn print(text: &str, to_stderr: bool) {
    let _ = if to_stderr {
        io::stderr().write_all(text.as_bytes())
    } else {
        io::stdout().write_all(text.as_bytes())
    };
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_readme_names_every_command_and_option() {
        let readme = include_str!("../README.md");
        let program = Arguments::command();
        program.clone().debug_assert();
        for command in program.get_subcommands() {
            let name = command.get_name();
            assert!(
                readme.contains(&format!("`tidegate {name}")),
                "README.md does not name `tidegate {name}`"
            );
            for option in command.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(
                    readme.contains(&format!("`--{option}")),
                    "README.md does not name --{option} of {name}"
                );
            }
        }
    }

    #[test]
    fn servers_come_in_one_option_or_in_several() {
        for line in [
            "run --server a:1 b:2 --listen 127.0.0.1:1",
            "run --listen 127.0.0.1:1 --server a:1 --server b:2",
        ] {
            let arguments = Arguments::parse_from(std::iter::once("tidegate").chain(line.split(' ')));
            let Command::Run { server, .. } = arguments.command else { panic!("{line}") };
            assert_eq!(server, ["a:1", "b:2"], "{line}");
        }
    }
}
