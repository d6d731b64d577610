//! Replies: where they end however they are cut, of either age, and hostile ones.

use super::*;
use crate::wire::frame::put_packet;
use crate::wire::ok::{Ok, put_end};

const OLD: Capabilities = Capabilities::PROTOCOL_41;
const NEW: Capabilities = Capabilities::PROTOCOL_41.union(Capabilities::DEPRECATE_EOF);

fn packets(payloads: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = 1;
    for payload in payloads {
        sequence = put_packet(&mut out, sequence, payload);
    }
    out
}

fn end(status: Status, capabilities: Capabilities) -> Vec<u8> {
    let mut out = Vec::new();
    put_end(&mut out, status, 0, capabilities);
    out
}

fn result_set(status: Status, capabilities: Capabilities) -> Vec<Vec<u8>> {
    let mut list = vec![vec![2], b"\x03def-a".to_vec(), b"\x03def-b".to_vec()];
    if !capabilities.contains(Capabilities::DEPRECATE_EOF) {
        list.push(end(Status::empty(), capabilities));
    }
    list.push(b"\x01a\x01b".to_vec());
    list.push(b"\xfb\xfb".to_vec());
    list.push(end(status, capabilities));
    list
}

/// Feeds `bytes` in pieces of `piece`; gives the terminals and checks that the reply ends with the last byte.
fn scan(expect: Expect, capabilities: Capabilities, bytes: &[u8], piece: usize) -> Vec<Terminal> {
    let mut scanner = Scanner::new(expect, capabilities);
    let (mut mark, mut seen, mut found) = (0, piece.min(bytes.len()), Vec::new());
    while !scanner.is_done() {
        match scanner.advance(&bytes[mark..seen]) {
            Step::More(plain) => mark += plain,
            Step::Need { start, .. } => mark += start,
            Step::End { end, terminal, .. } => {
                mark += end;
                found.push(terminal);
                continue;
            }
            Step::Malformed => panic!("malformed at {mark}"),
        }
        assert!(seen < bytes.len() || scanner.is_done(), "reply does not end: {scanner:?}");
        seen = (seen + piece).min(bytes.len());
    }
    assert_eq!(mark, bytes.len());
    found
}

#[test]
fn replies_end_where_they_end_however_they_are_cut() {
    let ok = |status| {
        let mut out = Vec::new();
        Ok { status, ..Ok::default() }.put(&mut out, 0, NEW);
        out
    };
    for capabilities in [OLD, NEW] {
        let rows_end = if capabilities == NEW { Terminal::Ok } else { Terminal::Eof };
        let mut multi = result_set(Status::MORE_RESULTS, capabilities);
        multi.extend(result_set(Status::MORE_RESULTS, capabilities));
        multi.push(ok(Status::AUTOCOMMIT));
        let multi: Vec<&[u8]> = multi.iter().map(Vec::as_slice).collect();
        let cases: [(Expect, Vec<u8>, Vec<Terminal>); 5] = [
            (Expect::Results, packets(&[&ok(Status::empty())]), vec![Terminal::Ok]),
            (Expect::Results, packets(&multi), vec![rows_end, rows_end, Terminal::Ok]),
            (Expect::Results, packets(&[b"\xff\x10\x04#42000bad"]), vec![Terminal::Err]),
            (
                Expect::Rows,
                packets(&[b"\x00\x00a", &end(Status::LAST_ROW_SENT, capabilities)]),
                vec![rows_end],
            ),
            (Expect::Text, packets(&[b"Uptime: 1"]), vec![Terminal::Text]),
        ];
        for (expect, bytes, terminals) in cases {
            for piece in 1..=bytes.len() {
                assert_eq!(
                    scan(expect, capabilities, &bytes, piece),
                    terminals,
                    "{capabilities:?} {expect:?} by {piece}"
                );
            }
        }
    }
}

fn eof(status: Status) -> Vec<u8> {
    let [low, high] = status.bits().to_le_bytes();
    vec![0xfe, 0, 0, low, high]
}

#[test]
fn another_result_follows_out_parameters() {
    let columns = eof(Status::MORE_RESULTS | Status::PS_OUT_PARAMS);
    let bytes = packets(&[
        &[1],
        b"\x03def",
        &columns,
        b"\x00\x00a",
        &eof(Status::AUTOCOMMIT),
        b"\x00\x00\x00\x02\x00\x00\x00",
    ]);
    for piece in 1..=bytes.len() {
        assert_eq!(scan(Expect::Results, OLD, &bytes, piece)[0], Terminal::Eof);
    }
}

#[test]
fn word_of_session_state_behind_columns_is_shown() {
    let columns = eof(Status::SESSION_STATE_CHANGED);
    let bytes = packets(&[&[1], b"\x03def", &columns, b"\x01a", &eof(Status::AUTOCOMMIT)]);
    for piece in 1..=bytes.len() {
        assert_eq!(scan(Expect::Results, OLD, &bytes, piece), [Terminal::ColumnsEof, Terminal::Eof]);
    }
}

#[test]
fn prepared_definitions_are_counted() {
    let eof = end(Status::empty(), OLD);
    for (parameters, columns) in [(0u8, 0u8), (1, 0), (0, 2), (2, 3)] {
        for capabilities in [OLD, NEW] {
            let first = [0, 1, 0, 0, 0, columns, 0, parameters, 0, 0, 0, 0];
            let mut list: Vec<&[u8]> = vec![&first];
            for count in [parameters, columns] {
                list.extend((0..count).map(|_| &b"\x03def"[..]));
                if count > 0 && capabilities == OLD {
                    list.push(&eof);
                }
            }
            let bytes = packets(&list);
            for piece in 1..=bytes.len() {
                let found = scan(Expect::Prepared, capabilities, &bytes, piece);
                assert_eq!(found[0], Terminal::PrepareOk);
            }
        }
    }
}

#[test]
fn a_row_of_16_mib_that_starts_with_fe_is_a_row() {
    let mut row = vec![0xfe];
    row.extend_from_slice(&(PAYLOAD_MAX as u64).to_le_bytes());
    row.resize(PAYLOAD_MAX + 9, b'x');
    for capabilities in [OLD, NEW] {
        let mut list = vec![vec![1], b"\x03def".to_vec()];
        if capabilities == OLD {
            list.push(end(Status::empty(), OLD));
        }
        list.push(row.clone());
        list.push(end(Status::empty(), capabilities));
        let list: Vec<&[u8]> = list.iter().map(Vec::as_slice).collect();
        assert_eq!(scan(Expect::Results, capabilities, &packets(&list), 100_000).len(), 1);
    }
}

#[test]
fn an_open_cursor_ends_the_reply_behind_the_columns() {
    let bytes = packets(&[&[1], b"\x03def", &end(Status::CURSOR_EXISTS, OLD)]);
    assert_eq!(scan(Expect::Cursor, OLD, &bytes, 3), [Terminal::Eof]);
}

#[test]
fn a_routines_cursor_ends_no_reply_of_which_none_was_asked() {
    let rows_end = end(Status::CURSOR_EXISTS, OLD);
    let bytes = packets(&[&[1], b"\x03def", &rows_end, b"\x01a", &rows_end]);
    assert_eq!(scan(Expect::Results, OLD, &bytes, 3), [Terminal::Eof]);
}

#[test]
fn definitions_may_be_left_out() {
    // As MySQL 9.7 answers with resultset_metadata=NONE.
    for old in [true, false] {
        let age = if old { OLD } else { NEW };
        let capabilities = age | Capabilities::OPTIONAL_RESULTSET_METADATA;
        let eof = end(Status::AUTOCOMMIT, age);
        let mut rows: Vec<&[u8]> = vec![&[2, 0]];
        let mut prepared: Vec<&[u8]> = vec![b"\0\x01\0\0\0\x02\0\x01\0\0\0\0\0"];
        if old {
            rows.push(&eof);
            prepared.extend([&eof[..], &eof]);
        }
        rows.extend([&b"\x011\x012"[..], &eof]);
        let with = [vec![&[1, 1], &b"\x03def"[..]], if old { vec![&eof[..]] } else { vec![] }, vec![&eof]];
        let (rows, prepared, with) = (packets(&rows), packets(&prepared), packets(&with.concat()));
        for piece in 1..=rows.len() {
            assert_eq!(scan(Expect::Results, capabilities, &rows, piece).len(), 1, "{old} by {piece}");
            assert_eq!(scan(Expect::Results, capabilities, &with, piece).len(), 1, "{old} by {piece}");
            let found = scan(Expect::Prepared, capabilities, &prepared, piece);
            assert_eq!(found[0], Terminal::PrepareOk, "{old} by {piece}");
        }
    }
}

#[test]
fn progress_is_no_error() {
    let report = b"\xff\xff\xff\x01\x01\x02\x10\x27\0\x10copy to tmp table";
    let mut ok = Vec::new();
    Ok::default().put(&mut ok, 0, NEW);
    let bytes = packets(&[report, report, &ok]);
    let failed = packets(&[report, b"\xff\x10\x04#42000bad"]);
    for piece in 1..=bytes.len() {
        let capabilities = NEW | Capabilities::PROGRESS;
        assert_eq!(scan(Expect::Results, capabilities, &bytes, piece), [Terminal::Ok], "by {piece}");
        assert_eq!(scan(Expect::Results, capabilities, &failed, piece), [Terminal::Err], "by {piece}");
    }
    assert_eq!(scan(Expect::Results, NEW, &packets(&[report]), 3), [Terminal::Err]);
}

#[test]
fn a_result_may_have_more_columns_than_16_bits_count() {
    let mut list: Vec<&[u8]> = vec![&[0xfd, 0xa1, 0x09, 0x01]];
    list.extend((0..68_001).map(|_| &b"\x03def"[..]));
    let rows_end = end(Status::empty(), NEW);
    list.push(&rows_end);
    assert_eq!(scan(Expect::Results, NEW, &packets(&list), 100_000), [Terminal::Ok]);
}

#[test]
fn garbage_is_refused() {
    for bytes in [&packets(&[&[0xfc, 0xff, 0xff]])[..], &[0, 0, 0, 1, 0], &packets(&[&[0xfe, 1]])] {
        let step = Scanner::new(Expect::Results, NEW).advance(bytes);
        assert!(!matches!(step, Step::End { .. }), "{bytes:?} {step:?}");
    }
}
