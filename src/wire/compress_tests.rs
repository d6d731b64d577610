//! Frames: as the manual shows them, however they are cut, numbered as peers count, and hostile ones.

use proptest::prelude::*;

use super::*;
use crate::wire::frame::put_packet;
use crate::wire::packer::Algorithm;

const BOTH: [Algorithm; 2] = [Algorithm::Zlib, Algorithm::Zstd];

fn codec(algorithm: Algorithm, side: Side) -> Codec {
    Codec::new(algorithm.into(), side)
}

fn pack_all(codec: &mut Codec, mut packets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while !packets.is_empty() {
        let length = codec.pack(packets, &mut out);
        packets = &packets[length..];
    }
    out
}

/// Unpacks all of `frames`, given in pieces, into spaces of `room` bytes.
fn unpack_all(codec: &mut Codec, frames: &[u8], piece: usize, room: usize) -> io::Result<Vec<u8>> {
    let (mut plain, mut space) = (Vec::new(), vec![0; room]);
    for mut input in frames.chunks(piece) {
        loop {
            let done = codec.unpack(input, &mut space)?;
            plain.extend_from_slice(&space[..done.given]);
            input = &input[done.taken..];
            if done.given == 0 {
                assert!(input.is_empty(), "stuck before {input:02x?}");
                break;
            }
        }
    }
    Ok(plain)
}

/// The numbers of the frames.
fn numbers(mut frames: &[u8]) -> Vec<u8> {
    let mut numbers = Vec::new();
    while let Some(header) = Header::parse(frames) {
        numbers.push(header.sequence);
        frames = &frames[FRAME_HEADER + header.length..];
    }
    numbers
}

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_packet(&mut out, sequence, payload);
    out
}

fn frame(number: u8, due: usize, body: &[u8]) -> Vec<u8> {
    let (length, due) = (body.len().to_le_bytes(), due.to_le_bytes());
    [&[length[0], length[1], length[2], number, due[0], due[1], due[2]], body].concat()
}

#[test]
fn a_frame_of_the_manual_is_read() {
    let bytes =
        b"\x22\x00\x00\x00\x32\x00\x00\x78\x9c\xd3\x63\x60\x60\x60\x2e\x4e\xcd\x49\x4d\x2e\x51\x50\x32\x30\
                  \x34\x32\x36\x31\x35\x33\xb7\xb0\xc4\xcd\x52\x02\x00\x0c\xd1\x0a\x6c";
    let sql = b"select \"012345678901234567890123456789012345\"";
    for piece in 1..=bytes.len() {
        let mut codec = codec(Algorithm::Zlib, Side::Server);
        let plain = unpack_all(&mut codec, bytes, piece, 7).unwrap();
        assert_eq!(plain, packet(0, &[&[3], &sql[..]].concat()), "by {piece}");
    }
}

#[test]
fn short_packets_go_as_they_are() {
    for algorithm in BOTH {
        let ping = packet(0, &[0x0e]);
        assert_eq!(pack_all(&mut codec(algorithm, Side::Client), &ping), frame(0, 0, &ping));
        let mut state = 88_172_645_463_325_252_u64;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        let incompressible = packet(0, &noise.take(200).collect::<Vec<_>>());
        let out = pack_all(&mut codec(algorithm, Side::Client), &incompressible);
        assert_eq!(out, frame(0, 0, &incompressible), "{algorithm:?}: larger when packed");
    }
}

#[test]
fn a_packet_of_more_than_16_mib_passes() {
    for algorithm in BOTH {
        let payload: Vec<u8> = (0..PAYLOAD_MAX + 100).map(|n| (n / 7) as u8).collect();
        let packets = packet(0, &payload);
        let frames = pack_all(&mut codec(algorithm, Side::Client), &packets);
        assert!(frames.len() < packets.len() / 2);
        let counted = numbers(&frames);
        assert!(counted.iter().enumerate().all(|(at, number)| *number == at as u8), "{counted:?}");
        let plain = unpack_all(&mut codec(algorithm, Side::Server), &frames, 65_536, 16_384).unwrap();
        assert!(plain == packets);
    }
}

#[test]
fn each_command_begins_at_0() {
    let mut codec = codec(Algorithm::Zlib, Side::Client);
    let commands = [packet(0, b"\x03SET a=1"), packet(0, b"\x03SELECT 1"), packet(0, &[3; 70_000])].concat();
    assert_eq!(numbers(&pack_all(&mut codec, &commands)), [0, 0, 0, 1]);
    assert_eq!(codec.next_packet(), 1, "though the answer's frame has the number 2");
}

#[test]
fn a_file_counts_on_from_the_request_for_it() {
    for heard_frame in [1, 9] {
        let mut codec = codec(Algorithm::Zlib, Side::Client);
        pack_all(&mut codec, &packet(0, b"\x03LOAD DATA LOCAL"));
        let request = frame(heard_frame, 0, &packet(heard_frame, b"\xfbfile"));
        unpack_all(&mut codec, &request, 100, 100).unwrap();
        let mut file = Vec::new();
        for number in 2..600u32 {
            file.extend(packet(number as u8, &vec![b'x'; 1000]));
        }
        let counted = numbers(&pack_all(&mut codec, &file));
        assert!(counted.len() > 5);
        assert!(counted.iter().zip(heard_frame + 1..).all(|(found, due)| *found == due), "{counted:?}");
        // Its last packet may have the number 255.
        pack_all(&mut codec, &packet(255, b""));
        unpack_all(&mut codec, &frame(0, 0, &packet(0, b"\0\0\0\x02\0\0\0")), 100, 100).unwrap();
        assert_eq!(numbers(&pack_all(&mut codec, &packet(0, &[0x0e]))), [0]);
    }
}

#[test]
fn an_answer_counts_on_from_its_command_alone() {
    let mut codec = codec(Algorithm::Zlib, Side::Server);
    let early = [frame(0, 0, &packet(0, &[0x0e])), frame(0, 0, &packet(0, &[0x0e]))].concat();
    let mut space = [0; 100];
    let done = codec.unpack(&early, &mut space).unwrap();
    assert_eq!((done.taken, done.given), (12, 5), "the second command waits");
    let mut answer = packet(1, &[7; 70_000]);
    answer.extend(packet(2, b"end"));
    assert_eq!(numbers(&pack_all(&mut codec, &answer)), [1, 2]);
    let done = codec.unpack(&early[done.taken..], &mut space).unwrap();
    assert_eq!((done.taken, done.given), (12, 5));
    assert_eq!(numbers(&pack_all(&mut codec, &packet(1, b"ok"))), [1]);
    assert_eq!(numbers(&pack_all(&mut codec, &packet(1, b"\xffshutdown"))), [1], "what nobody has asked for");
}

#[test]
fn a_packet_reaches_a_client_in_one_frame() {
    for length in [0, 1000, HELD_MAX - HEADER, HELD_MAX, PAYLOAD_MAX] {
        let packets = [packet(1, &vec![b'x'; length]), packet(200, b"the end")].concat();
        for piece in [1, 3, 4, 1000, 100_000, packets.len()] {
            if length == PAYLOAD_MAX && piece < 1000 {
                continue;
            }
            let (mut sender, mut out) = (codec(Algorithm::Zlib, Side::Server), Vec::new());
            packets.chunks(piece).for_each(|piece| out.extend(pack_all(&mut sender, piece)));
            assert_eq!(out.len() < 2000, length < HELD_MAX, "{length} by {piece}");
            let (mut frames, mut ends, mut at) = (&out[..], Vec::new(), 0);
            while let Some(header) = Header::parse(frames) {
                let due = usize::from(frames[4]) | usize::from(frames[5]) << 8 | usize::from(frames[6]) << 16;
                at += if due == 0 { header.length } else { due };
                ends.push(at);
                frames = &frames[FRAME_HEADER + header.length..];
            }
            ends.retain(|end| ![HEADER + length, 2 * HEADER + length, packets.len()].contains(end));
            // A frame is shorter than the longest packet.
            assert_eq!(
                ends,
                if length == PAYLOAD_MAX { vec![PAYLOAD_MAX] } else { vec![] },
                "{length} by {piece}"
            );
            let plain = unpack_all(&mut codec(Algorithm::Zlib, Side::Client), &out, 70_000, 9000);
            assert!(plain.unwrap() == packets, "{length} by {piece}");
        }
    }
}

#[test]
fn a_client_must_count_right() {
    let mut codec = codec(Algorithm::Zlib, Side::Server);
    let ping = packet(0, &[0x0e]);
    assert!(unpack_all(&mut codec, &frame(0, 0, &ping), 100, 100).is_ok());
    assert!(unpack_all(&mut codec, &frame(1, 0, &ping), 100, 100).is_ok());
    let error = unpack_all(&mut codec, &frame(4, 0, &ping), 100, 100).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_frame_that_lies_is_refused() {
    for algorithm in BOTH {
        let mut body = vec![0; 1000];
        let length = pack(algorithm.into(), &[b'x'; 5000], &mut body).unwrap();
        body.truncate(length);
        let unpack = |due: usize, body: &[u8]| {
            let mut unpacked = 0;
            for room in [1, 100, 10_000] {
                let mut codec = codec(algorithm, Side::Server);
                unpacked += unpack_all(&mut codec, &frame(0, due, body), 10_000, room)?.len();
            }
            io::Result::Ok(unpacked)
        };
        assert_eq!(unpack(5000, &body).unwrap(), 15_000);
        for (due, body) in [
            (4999, &body[..]),
            (5001, &body),
            (PAYLOAD_MAX, &body),
            (5000, &body[..length - 1]),
            (5000, &[&body[..], &[0]].concat()),
            (5000, &[&body[..], &body[..]].concat()),
            (5000, b"neither of the two"),
            (5000, b""),
        ] {
            assert!(unpack(due, body).is_err(), "{algorithm:?} {due} {}", body.len());
        }
    }
}

proptest! {
    #[test]
    fn packets_survive_however_they_are_cut(
        lengths in proptest::collection::vec(0_usize..3000, 1..20),
        seed in any::<u8>(),
        piece in 1_usize..200,
        room in 1_usize..5000,
        zstd in any::<bool>(),
        cuts in proptest::collection::vec(0.0..1.0, 0..4),
    ) {
        let algorithm = if zstd { Algorithm::Zstd } else { Algorithm::Zlib };
        let (mut packets, mut starts, mut number) = (Vec::new(), vec![0], 1);
        for (index, length) in lengths.iter().enumerate() {
            let payload: Vec<u8> = (0..*length).map(|at| ((at * at / 31) as u8).wrapping_add(seed) >> (index % 8)).collect();
            number = put_packet(&mut packets, number, &payload);
            starts.push(packets.len());
        }
        let mut stops: Vec<usize> = cuts.iter().map(|part| (packets.len() as f64 * part) as usize).collect();
        stops.push(packets.len());
        stops.sort_unstable();
        for (side, other) in [(Side::Server, Side::Client), (Side::Client, Side::Server)] {
            if side == Side::Client {
                // A writer of commands may stop anywhere but in a header.
                stops.retain(|stop| starts.iter().all(|start| !(*start + 1..*start + HEADER).contains(stop)));
            }
            let mut sender = codec(algorithm, side);
            let (mut frames, mut from) = (Vec::new(), 0);
            for stop in &stops {
                frames.extend(pack_all(&mut sender, &packets[from..*stop]));
                from = *stop;
            }
            let plain = unpack_all(&mut codec(algorithm, other), &frames, piece, room).unwrap();
            prop_assert_eq!(&plain, &packets);
        }
    }

    #[test]
    fn no_frame_panics(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        due in 0_usize..300,
        flip in any::<proptest::sample::Index>(),
        zstd in any::<bool>(),
        piece in 1_usize..50,
        room in 1_usize..50,
    ) {
        let algorithm = if zstd { Algorithm::Zstd } else { Algorithm::Zlib };
        let _ = unpack_all(&mut codec(algorithm, Side::Server), &frame(0, due, &body), piece, room);
        let mut broken = pack_all(&mut codec(algorithm, Side::Client), &packet(0, &[b'x'; 300]));
        let at = flip.index(broken.len());
        broken[at] ^= 1 << (at % 8);
        let _ = unpack_all(&mut codec(algorithm, Side::Server), &broken, piece, room);
    }
}
