use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn sequence() -> Sequence {
    Sequence { database: "shop".into(), table: "orders".into() }
}

fn wanting() -> Segments {
    let segments = Segments::default();
    segments.want(BTreeSet::from([sequence()]));
    segments
}

/// What is written down elsewhere: the first number that nobody has.
async fn fetch(segments: &Segments, free: &mut u64) -> Fetch {
    let due = segments.due().await.pop().unwrap();
    if due.count == 0 {
        segments.is_there(&due.sequence);
    } else {
        let start = due.from.max(*free);
        *free = start + due.count;
        segments.grant(&due.sequence, start..*free);
    }
    due
}

#[tokio::test]
async fn numbers_only_grow_and_are_fetched_ahead() {
    let segments = wanting();
    let mut free = 1;
    assert_eq!(fetch(&segments, &mut free).await.count, 0);
    let (sequence, mut had) = (sequence(), Vec::new());
    let ten = async {
        for _ in 0..500 {
            had.push(segments.take(&sequence, 1, PATIENCE).await.unwrap());
        }
    };
    tokio::join!(ten, fetch(&segments, &mut free));
    assert_eq!(had, (1..=500).collect::<Vec<_>>());
    // Half of it is used: the next one is fetched while the rest is given out.
    let next = fetch(&segments, &mut free).await;
    assert_eq!((next.count, next.from), (2000, 1001));
    for number in 501..=1500 {
        assert_eq!(segments.take(&sequence, 1, PATIENCE).await, Ok(number));
    }
}

#[tokio::test]
async fn what_others_have_is_left_out() {
    let segments = wanting();
    let (mut free, sequence) = (1, sequence());
    tokio::join!(async { segments.take(&sequence, 1, PATIENCE).await.unwrap() }, fetch(&segments, &mut free));
    free = 7001;
    let rows = async { segments.take(&sequence, 2500, PATIENCE).await.unwrap() };
    let (first, fetched) = tokio::join!(rows, fetch(&segments, &mut free));
    assert_eq!((first, fetched.count), (7001, 2500), "the rows of one statement have no gap");
    // What is older than that is never given out behind it.
    let (next, _) = tokio::join!(
        async { segments.take(&sequence, 1, PATIENCE).await.unwrap() },
        fetch(&segments, &mut free)
    );
    assert_eq!(next, 9501);
}

#[tokio::test]
async fn a_counter_that_was_set_back_repeats_nothing() {
    let segments = wanting();
    let (mut free, sequence) = (1, sequence());
    tokio::join!(
        async { segments.take(&sequence, 900, PATIENCE).await.unwrap() },
        fetch(&segments, &mut free)
    );
    let counter = segments.counter(&sequence).unwrap();
    counter.lock().grant(1..3001);
    for number in 901..=3000 {
        assert_eq!(segments.take(&sequence, 1, PATIENCE).await, Ok(number));
    }
}

#[tokio::test]
async fn nobody_waits_for_ever_or_is_overtaken() {
    let segments = wanting();
    let (mut free, sequence) = (1, sequence());
    let begin = Instant::now();
    let patience = Duration::from_millis(20);
    assert_eq!(segments.take(&sequence, 1, patience).await, Err(Lacking::default()));
    assert!(begin.elapsed() >= patience);
    let gone = Sequence { table: "gone".into(), ..sequence.clone() };
    assert_eq!(segments.take(&gone, 1, PATIENCE).await, Err(Lacking::default()));
    let many = async { segments.take(&sequence, 5000, PATIENCE).await.unwrap() };
    let one = async {
        tokio::task::yield_now().await; // `many` stands in the line
        segments.take(&sequence, 1, PATIENCE).await.unwrap()
    };
    let fetches = async {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        fetch(&segments, &mut free).await;
        fetch(&segments, &mut free).await
    };
    let (many, one, _) = tokio::join!(many, one, fetches);
    assert_eq!((many, one), (1, 5001));
}

#[tokio::test]
async fn numbers_that_rows_give_are_passed() {
    let segments = wanting();
    let (mut free, sequence) = (1, sequence());
    for (given, next) in [(5, 6), (3, 7), (900, 901), (7000, 7001), (6500, 7002), (u64::MAX, 7003)] {
        let row = async {
            segments.pass(&sequence, given, PATIENCE).await.unwrap();
            segments.take(&sequence, 1, PATIENCE).await.unwrap()
        };
        tokio::pin!(row);
        let number = loop {
            tokio::select! {
                biased;
                number = &mut row => break number,
                _ = fetch(&segments, &mut free) => {}
            }
        };
        assert_eq!(number, next, "behind {given}");
    }
    let patience = Duration::from_millis(20);
    assert_eq!(segments.pass(&sequence, 1 << 40, patience).await, Err(Lacking::default()));
}

/// Carries out what is due until this is done.
async fn fetching<T>(segments: &Segments, free: &mut u64, done: impl Future<Output = T>) -> T {
    tokio::pin!(done);
    loop {
        tokio::select! {
            biased;
            done = &mut done => return done,
            _ = fetch(segments, free) => {}
        }
    }
}

#[tokio::test]
async fn numbers_beside_those_that_rows_give_are_none_of_them() {
    let segments = wanting();
    let (mut free, sequence) = (1, sequence());
    let mut made = Vec::new();
    for (count, given) in [
        (3, vec![2]),                // within what is at hand: behind it
        (2, vec![1 << 40]),          // far away: left to be passed once it is in
        (4000, vec![2500, 1 << 40]), // within what was fetched for these rows
        (0, vec![9000]),
        (1, vec![1 << 63]),
    ] {
        let take = segments.take_beside(&sequence, count, || given.iter().copied(), PATIENCE);
        made.push(fetching(&segments, &mut free, take).await.unwrap());
    }
    assert_eq!((made[0], made[1], made[3]), (3, 6, 0));
    assert!(made[2] > 2500 && made[4] > made[2] + 3999 && made[4] < 1 << 40, "{made:?}");
    let there = segments.take_beside(&sequence, 1, || [9000].into_iter(), PATIENCE);
    assert!(fetching(&segments, &mut free, there).await.unwrap() > 9000);
    let patience = Duration::from_millis(20);
    let gone = Sequence { table: "gone".into(), ..sequence };
    let take = segments.take_beside(&gone, 1, || [5].into_iter(), patience);
    assert_eq!(take.await, Err(Lacking::default()));
}

#[tokio::test]
async fn a_number_that_is_in_is_left_behind_and_nobody_waits() {
    let segments = wanting();
    let (mut free, sequence) = (1, sequence());
    let one = || segments.take(&sequence, 1, PATIENCE);
    assert_eq!(fetching(&segments, &mut free, one()).await, Ok(1));
    segments.leave(&sequence, 10);
    assert_eq!(one().await, Ok(11));
    // What was at hand is below, and so is what is on its way.
    let due = segments.due();
    segments.leave(&sequence, 70_000);
    drop(due);
    segments.grant(&sequence, 1001..3001);
    assert!(free < 70_000, "nobody has written it down yet");
    let due = fetch(&segments, &mut free).await;
    assert_eq!((due.from, one().await), (70_001, Ok(70_001)));
    segments.leave(&sequence, 69_000);
    segments.leave(&sequence, u64::MAX);
    segments.leave(&Sequence { table: "gone".into(), ..sequence.clone() }, 1);
    assert_eq!(one().await, Ok(70_002));
}

#[test]
fn segments_are_as_large_as_they_are_used_up_fast() {
    let (mut state, mut now) = (State::default(), Instant::now());
    let mut lengths = Vec::new();
    for pause in [0, 1, 1, 60, 200, 200, 200, 200] {
        now += Duration::from_secs(pause);
        assert!(state.ask(0, now));
        lengths.push(std::mem::take(&mut state.wanted));
    }
    assert_eq!(lengths, [1000, 2000, 4000, 4000, 2000, 1000, 1000, 1000]);
    for _ in 0..20 {
        state.ask(0, now);
        state.wanted = 0;
    }
    assert_eq!(state.length, MOST);
}
