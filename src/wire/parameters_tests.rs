use proptest::prelude::*;

use super::*;

const EXECUTE: [u8; HEAD] = [0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0];
const TYPES: [u8; 14] = [8, 0, 8, 0x80, 1, 0, 253, 0, 12, 0, 252, 0, 5, 0];

fn values<'a>(payload: &'a [u8], count: u16, types: &'a [u8]) -> Option<Vec<Parameter<'a>>> {
    Parameters::of(payload, count, false, types, |_| None).map(|found| found.values().collect())
}

/// Seven values, one of them NULL.
fn seven() -> Vec<u8> {
    let mut payload = [&EXECUTE[..], &[0b10_0000, 1], &TYPES].concat();
    payload.extend((-3i64).to_le_bytes());
    payload.extend(u64::MAX.to_le_bytes());
    payload.push(0xff);
    payload.extend(b"\x02ab");
    payload.extend([7, 0xea, 0x07, 11, 22, 1, 2, 3]);
    payload.extend(1.5f64.to_le_bytes());
    payload
}

#[test]
fn values_of_all_kinds() {
    let payload = seven();
    let expected = [
        Parameter::Integer(-3),
        Parameter::Integer(i128::from(u64::MAX)),
        Parameter::Integer(-1),
        Parameter::Text(b"ab"),
        Parameter::Date(2026, 11, 22, Some(3_723_000_000)),
        Parameter::Null,
        Parameter::Real(1.5),
    ];
    assert_eq!(values(&payload, 7, &TYPES).unwrap(), expected);
    // Types that were sent earlier.
    let mut again = payload.clone();
    again.drain(HEAD + 2..HEAD + 2 + TYPES.len());
    again[HEAD + 1] = 0;
    assert_eq!(values(&again, 7, &TYPES).unwrap(), expected);
    for end in 0..payload.len() {
        assert_eq!(values(&payload[..end], 7, &TYPES), None);
    }
    // A type that is not known may have any length.
    assert_eq!(values(&[&EXECUTE[..], &[0, 1, 77, 0, 0]].concat(), 1, &[77, 0]), None);
}

#[test]
fn t40_the_sign_is_the_clients() {
    for (kind, bytes, signed, unsigned) in [
        (1, 0xffu64, -1, 255),
        (2, 0xffff, -1, 65_535),
        (3, 0x8000_0000, -2_147_483_648, 2_147_483_648),
        (9, 5, 5, 5),
        (8, 1 << 63, i128::from(i64::MIN), 1 << 63),
    ] {
        let width = [0, 1, 2, 4, 0, 0, 0, 0, 8, 4][usize::from(kind)];
        for (flags, expected) in [(0, signed), (NO_SIGN, unsigned)] {
            let types = [kind, flags];
            let payload = [&EXECUTE[..], &[0, 1], &types, &bytes.to_le_bytes()[..width]].concat();
            assert_eq!(values(&payload, 1, &types).unwrap(), [Parameter::Integer(expected)], "{kind}");
        }
    }
}

#[test]
fn a_day_has_no_time_and_an_offset_leaves_the_day_open() {
    let date = |kind, bytes: &[u8]| {
        let types = [kind, 0];
        let payload = [&EXECUTE[..], &[0, 1], &types, bytes].concat();
        values(&payload, 1, &types).map(|values| format!("{values:?}"))
    };
    let day = [0xea, 0x07, 11, 22];
    assert_eq!(
        date(kind::DATE, &[&[7][..], &day, &[1, 2, 3]].concat()),
        date(kind::DATE, &[&[4][..], &day].concat())
    );
    assert_eq!(date(kind::DATETIME, &[0]), Some("[Date(0, 0, 0, Some(0))]".into()));
    assert_eq!(date(kind::DATETIME, &[&[13][..], &day, &[0; 9]].concat()), Some("[Other]".into()));
    assert_eq!(date(kind::DATETIME, &[&[2][..], &day].concat()), None);
    assert_eq!(date(kind::TIME, &[8, 0, 0, 0, 0, 0, 1, 2, 3]), Some("[Other]".into()));
}

#[test]
fn query_attributes_stand_behind_the_parameters() {
    let types = [1, 0, 0, 253, 0, 1, b'a'];
    let payload = [&EXECUTE[..], &[2, 0b10, 1], &types, &[7]].concat();
    let parameters = Parameters::of(&payload, 1, true, &types, |_| None).unwrap();
    assert_eq!(parameters.values().collect::<Vec<_>>(), [Parameter::Integer(7)]);
    assert_eq!(parameters.whole().unwrap(), payload);
    let twice = [Argument::Number(9), Argument::Parameter(0)];
    let expected =
        [&EXECUTE[..], &[3, 0b100, 1, 8, 0x80, 0, 1, 0, 0, 253, 0, 1, b'a'], &[9, 0, 0, 0, 0, 0, 0, 0, 7]];
    assert_eq!(parameters.arranged(&twice).unwrap(), expected.concat());
    // As many as the statement has, at least.
    let few = [&EXECUTE[..], &[1, 0, 1], &types, &[7, 1, b'x']].concat();
    assert!(Parameters::of(&few, 2, true, &types, |_| None).is_none());
}

#[test]
fn parameters_stand_in_another_order() {
    let payload = seven();
    let parameters = Parameters::of(&payload, 7, false, &TYPES, |_| None).unwrap();
    assert_eq!(parameters.whole().unwrap(), payload);
    let order = [5, 3, 3, 0].map(Argument::Parameter);
    let order = [&order[..2], &[Argument::Number(500)], &order[2..]].concat();
    let changed = parameters.arranged(&order).unwrap();
    let types = Layout::of(&changed, 5, false).unwrap().types.unwrap();
    let text = Parameter::Text(b"ab");
    let expected = [Parameter::Null, text, Parameter::Integer(500), text, Parameter::Integer(-3)];
    assert_eq!(values(&changed, 5, &changed[types]).unwrap(), expected);
    assert_eq!(parameters.arranged(&[]).unwrap(), EXECUTE);
    assert_eq!(parameters.arranged(&[Argument::Parameter(7)]), None);
    let none = Parameters::of(&EXECUTE, 0, false, &[], |_| None).unwrap();
    assert_eq!(none.whole(), Some(EXECUTE.to_vec()));
    assert_eq!(none.arranged(&[Argument::Parameter(0)]), None);
    for attributes in [false, true] {
        let none = Parameters::of(&EXECUTE, 0, attributes, &[], |_| None).unwrap();
        let changed = none.arranged(&[Argument::Number(500)]).unwrap();
        let types = Layout::of(&changed, 1, attributes).unwrap().types.unwrap();
        let read = Parameters::of(&changed, 1, attributes, &changed[types], |_| None).unwrap();
        assert_eq!(read.values().collect::<Vec<_>>(), [Parameter::Integer(500)]);
    }
}

#[test]
fn what_was_sent_ahead_takes_its_place() {
    // Its bit among the NULLs counts for nothing, as to servers.
    let types = [8, 0, 253, 0];
    let payload = [&EXECUTE[..], &[0b10, 1], &types, &7u64.to_le_bytes()].concat();
    let long = |at| (at == 1).then_some(&b"long"[..]);
    let parameters = Parameters::of(&payload, 2, false, &types, long).unwrap();
    assert_eq!(parameters.values().collect::<Vec<_>>(), [Parameter::Integer(7), Parameter::Text(b"long")]);
    let whole = [&EXECUTE[..], &[0, 1], &types, &7u64.to_le_bytes(), b"\x04long"].concat();
    assert_eq!(parameters.whole().unwrap(), whole);
    // A number cannot be sent so.
    assert!(Parameters::of(&payload, 2, false, &types, |_| Some(&b"7"[..])).is_none());
}

#[test]
fn without_types_all_are_null() {
    let payload = [&EXECUTE[..], &[0b11, 0]].concat();
    assert_eq!(values(&payload, 2, &[]).unwrap(), [Parameter::Null; 2]);
    let parameters = Parameters::of(&payload, 2, false, &[], |_| None).unwrap();
    let with = parameters.arranged(&[Argument::Parameter(0), Argument::Number(3)]).unwrap();
    assert_eq!(with, [&EXECUTE[..], &[0b01, 1, 6, 0, 8, 0x80, 3, 0, 0, 0, 0, 0, 0, 0]].concat());
    assert_eq!(values(&[&EXECUTE[..], &[0b01, 0, 5]].concat(), 2, &[]), None);
}

#[test]
fn a_bulk_has_rows() {
    let payload = b"\xfa\x01\0\0\0\x80\0\x03\0\xfd\0\0\x07\0\0\0\0\x01x\x01\x02";
    let mut bulk = Bulk::of(payload, 2, b"\x03\0\xfd\0").unwrap();
    let mut row = Vec::new();
    assert_eq!(bulk.next(&mut row), Some(true));
    assert_eq!(row, [Parameter::Integer(7), Parameter::Text(b"x")]);
    assert_eq!((bulk.next(&mut row), &row[..]), (Some(true), &[Parameter::Null, Parameter::Other][..]));
    assert_eq!(bulk.next(&mut row), Some(false));
    let mut cut = Bulk::of(&payload[..payload.len() - 1], 2, b"\x03\0\xfd\0").unwrap();
    assert_eq!((cut.next(&mut row), cut.next(&mut row)), (Some(true), None));
    assert!(Bulk::of(&seven(), 7, &TYPES).is_none());
}

proptest! {
    #[test]
    fn no_input_panics(payload: Vec<u8>, types: Vec<u8>, count in 0u16..9, attributes: bool) {
        if let Some(parameters) = Parameters::of(&payload, count, attributes, &types, |_| None) {
            parameters.arranged(&[Argument::Parameter(0), Argument::Number(1), Argument::Parameter(7)]);
        }
        let bulk = [&[STMT_BULK_EXECUTE], &payload[..]].concat();
        if let Some(mut bulk) = Bulk::of(&bulk, count, &types) {
            let mut row = Vec::new();
            while bulk.next(&mut row) == Some(true) {}
        }
    }

    #[test]
    fn what_is_nearly_right_does_not_panic_and_reads_the_same_again(
        cut in 0usize..80, at in 0usize..80, byte: u8, count in 0u16..9
    ) {
        let mut payload = seven();
        if let Some(place) = payload.get_mut(at) {
            *place = byte;
        }
        payload.truncate(cut.max(1));
        let types = &TYPES[..usize::from(2 * count).min(TYPES.len())];
        if let Some(parameters) = Parameters::of(&payload, count, false, types, |_| None) {
            let changed = parameters.whole().unwrap();
            let again = values(&changed, count, types);
            prop_assert_eq!(format!("{:?}", again), format!("{:?}", Some(parameters.values().collect::<Vec<_>>())));
        }
    }
}
