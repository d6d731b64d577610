//! Sequences: random ones, and those that have found something.

use tidegate::wire::capabilities::Capabilities;

use super::forms::Random;
use super::kinds::Kinds;
use crate::harness::Login;

/// Sessions of a sequence, on either side.
pub const SESSIONS: usize = 3;
/// Steps of a random sequence.
const LENGTH: usize = 100;

/// What is played: sessions and their lines, by clients that log in alike.
#[derive(Clone)]
pub struct Sequence {
    pub name: String,
    pub login: Login,
    pub lines: Vec<(usize, String)>,
}

/// The clients that are tried: what they ask for at their login.
fn logins() -> Vec<Login> {
    let old = Login { capabilities: Login::OLD | Capabilities::LOCAL_FILES, ..Login::default() };
    let with = |flags| Login { capabilities: old.capabilities | flags, ..old.clone() };
    vec![
        old.clone(),
        with(Capabilities::DEPRECATE_EOF),
        with(Capabilities::DEPRECATE_EOF | Capabilities::QUERY_ATTRIBUTES),
        with(Capabilities::FOUND_ROWS | Capabilities::DEPRECATE_EOF),
        Login { collation: 8, ..old.clone() },
        with(Capabilities::IGNORE_SPACE),
        with(Capabilities::SESSION_TRACK),
        with(Capabilities::SESSION_TRACK | Capabilities::DEPRECATE_EOF),
        with(Capabilities::COMPRESS | Capabilities::DEPRECATE_EOF),
    ]
}

impl Sequence {
    /// The random sequence of a seed.
    pub fn random(kinds: &Kinds, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let login = random.pick(&logins()).clone();
        let mut lines: Vec<_> = (0..SESSIONS).map(|session| (session, kinds.beginning())).collect();
        while lines.len() < LENGTH {
            let session = random.below(SESSIONS);
            lines.extend(kinds.lines(session, &mut random).into_iter().map(|line| (session, line)));
        }
        Self { name: format!("seed {seed}"), login, lines }
    }

    /// The sequences of a file: paragraphs, each with a heading `# name`, or `# [n] name` for the n-th of `logins`,
    /// and lines that begin with their session's number.
    pub fn cases(text: &str) -> Vec<Self> {
        let paragraphs = text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
        paragraphs.map(Self::case).collect()
    }

    fn case(paragraph: &str) -> Self {
        let mut lines = paragraph.lines();
        let heading = lines.next().and_then(|line| line.strip_prefix("# ")).expect("a heading");
        let (login, name) = match heading.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((number, name)) => (number.parse().expect("a login's number"), name),
            None => (0, heading),
        };
        let line = |line: &str| {
            let (session, text) = line.split_once(' ').expect("a session and its line");
            (session.parse().expect("a session's number"), text.to_owned())
        };
        Self { name: name.to_owned(), login: logins()[login].clone(), lines: lines.map(line).collect() }
    }
}
