use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::{
    flow::{IDLE_FLOWS, MIN_CHARGE},
    *,
};
use crate::pool::Priority;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Task {
    number: u64,
    flow: FlowKey,
    load: usize,
    brief: bool,
}

impl Item for Task {
    fn load(&self) -> usize {
        self.load
    }

    fn is_brief(&self) -> bool {
        self.brief
    }

    fn flow(&self) -> FlowKey {
        self.flow
    }

    fn number(&self) -> u64 {
        self.number
    }
}

fn flow(client: u64, priority: Priority) -> FlowKey {
    FlowKey {
        client,
        group: 0,
        priority,
    }
}

fn normal(client: u64) -> FlowKey {
    flow(client, Priority::Normal)
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![
        Just(Priority::Low),
        Just(Priority::Normal),
        Just(Priority::High)
    ]
}

fn at(micros: u64) -> Instant {
    Instant::from_start(Duration::from_micros(micros))
}

fn ran(micros: u64) -> Tally {
    let mut tally = Tally::default();
    tally.add(1, Duration::from_micros(micros));
    tally
}

fn take(
    queue: &mut FairQueue<Task>,
    worker: usize,
    workers: usize,
    most: usize,
    now: Instant,
) -> VecDeque<Task> {
    let mut taken = VecDeque::new();
    queue.take(worker, workers, most, now, &mut taken);
    taken
}

#[derive(Clone, Debug)]
enum Step {
    /// Loads, and whether they are brief.
    Push(u64, Priority, Vec<(usize, bool)>),
    /// After settling, by this worker up to this many.
    Take(usize, usize),
    /// This worker puts back this many of what it took last, and settles.
    PutBack(usize, usize),
    /// The items of the client whose number leaves this remainder modulo 5.
    Remove(u64, u64),
    Clear,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u64, priority(), vec((0..40usize, any::<bool>()), 0..6))
            .prop_map(|(client, priority, loads)| Step::Push(client, priority, loads)),
        4 => (0..WORKERS, 0..6usize).prop_map(|(worker, count)| Step::Take(worker, count + 1)),
        2 => (0..WORKERS, 0..6usize).prop_map(|(worker, count)| Step::PutBack(worker, count)),
        2 => (0..4u64, 0..5u64).prop_map(|(client, remainder)| Step::Remove(client, remainder)),
        1 => Just(Step::Clear),
        2 => (0..100_000u64).prop_map(Step::Pass),
    ]
}

const WORKERS: usize = 3;
const MAX_ITEMS: usize = 16;
const MAX_BYTES: usize = 200;

/// What is removed comes by flow, the highest priority first.
fn by_flow(mut tasks: Vec<Task>) -> Vec<Task> {
    tasks.sort_by_key(|task| {
        (
            task.flow.client,
            std::cmp::Reverse(task.flow.priority),
            task.number,
        )
    });
    tasks
}

proptest! {
    /// The model is a plain vector in the order of submission, and what each worker has taken out of it.
    #[test]
    fn the_queue_is_a_bounded_vector_of_which_flows_are_taken_from_the_front(
        steps in vec(step(), 1..120),
    ) {
        let mut queue = FairQueue::new(MAX_ITEMS, MAX_BYTES);
        let mut model: Vec<Task> = Vec::new();
        let mut taken: Vec<VecDeque<Task>> = vec![VecDeque::new(); WORKERS];
        let mut number = 0;
        let mut micros = 0;
        for step in steps {
            let now = at(micros);
            match step {
                Step::Push(client, priority, loads) => {
                    let flow = flow(client, priority);
                    let items: Vec<_> = loads
                        .iter()
                        .map(|&(load, brief)| {
                            number += 1;
                            Task { number, flow, load, brief }
                        })
                        .collect();
                    let bytes: usize = items.iter().map(|item| item.load).sum();
                    let room = MAX_ITEMS.saturating_sub(model.len());
                    let held: usize = model.iter().map(|item| item.load).sum();
                    let room_bytes = MAX_BYTES.saturating_sub(held);
                    let expected = if items.len() > room {
                        Err(Excess::Items { room })
                    } else if bytes > room_bytes {
                        Err(Excess::Bytes { room: room_bytes })
                    } else {
                        Ok(())
                    };
                    prop_assert_eq!(queue.check_room(items.len(), bytes), expected);
                    if expected.is_ok() {
                        model.extend(&items);
                        queue.push_all(flow, items.into_iter(), || now);
                    }
                }
                Step::Take(worker, most) => {
                    queue.settle(worker, ran(50));
                    taken[worker] = take(&mut queue, worker, WORKERS, most, now);
                    let Some(first) = taken[worker].front() else {
                        prop_assert!(model.is_empty());
                        continue;
                    };
                    let flow: Vec<_> = model.iter().filter(|task| task.flow == first.flow).copied().collect();
                    let briefs = flow.iter().take_while(|task| task.brief).take(most).count();
                    prop_assert_eq!(&taken[worker], &&flow[..briefs.max(1)]);
                    model.retain(|task| !taken[worker].contains(task));
                }
                Step::PutBack(worker, count) => {
                    let kept = taken[worker].len().saturating_sub(count);
                    let back = taken[worker].split_off(kept);
                    taken[worker].clear();
                    model.extend(&back);
                    model.sort_by_key(|task| task.number);
                    queue.put_back(back, now);
                    queue.settle(worker, ran(70));
                }
                Step::Remove(client, remainder) => {
                    let removed = queue.remove(client, |item| item.number % 5 == remainder);
                    let expected: Vec<_> = model
                        .extract_if(.., |item| item.flow.client == client && item.number % 5 == remainder)
                        .collect();
                    prop_assert_eq!(removed, by_flow(expected));
                }
                Step::Clear => prop_assert_eq!(queue.clear(), by_flow(std::mem::take(&mut model))),
                Step::Pass(time) => micros += time,
            }
            prop_assert_eq!(queue.bytes(), model.iter().map(|item| item.load).sum::<usize>());
            prop_assert_eq!(queue.len(), model.len());
        }
        // What is left comes out in order, too.
        while queue.len() > 0 {
            queue.settle(0, ran(10));
            let first = take(&mut queue, 0, 1, 1, at(micros)).pop_front().expect("something waits");
            let expected = model.iter().position(|task| task.flow == first.flow).map(|i| model.remove(i));
            prop_assert_eq!(Some(first), expected);
        }
    }
}

/// Workers on virtual time, and flows that always have something waiting.
struct Machine {
    queue: FairQueue<Task>,
    /// When each worker ends what it is at, what that is, and when it began.
    workers: Vec<(u64, Option<Task>, u64)>,
    now: u64,
    number: u64,
    /// The flows in the order in which their tasks began.
    begun: Vec<FlowKey>,
}

impl Machine {
    fn new(workers: usize) -> Self {
        Self {
            queue: FairQueue::new(usize::MAX, usize::MAX),
            workers: vec![(0, None, 0); workers],
            now: 0,
            number: 0,
            begun: Vec::new(),
        }
    }

    fn push(&mut self, flow: FlowKey, count: usize) {
        let first = self.number;
        self.number += count as u64;
        let tasks = (0..count).map(|index| Task {
            number: first + index as u64,
            flow,
            load: 1,
            brief: false,
        });
        self.queue.push_all(flow, tasks, || at(self.now));
    }

    /// Goes on to the next moment at which a worker is done, tells whose task that was and how long it took, and has that worker take another one, which takes `time` of its flow.
    fn step(&mut self, mut time: impl FnMut(FlowKey) -> u64) -> Option<(FlowKey, u64)> {
        let count = self.workers.len();
        let index = (0..count)
            .min_by_key(|&index| self.workers[index].0)
            .expect("there are workers");
        let (end, task, began) = self.workers[index];
        self.now = self.now.max(end);
        let mut done = None;
        if let Some(task) = task {
            self.queue.settle(index, ran(end - began));
            done = Some((task.flow, end - began));
        }
        let next = take(&mut self.queue, index, count, 1, at(self.now)).pop_front();
        // One with nothing to do looks again soon.
        let time = next.map_or(1, |task| time(task.flow));
        self.workers[index] = (self.now + time, next, self.now);
        self.begun.extend(next.map(|task| task.flow));
        done
    }

    /// Runs a task of each of these flows, so that it is known how long they take.
    fn meet(&mut self, flows: impl IntoIterator<Item = (FlowKey, u64)>) {
        for (flow, time) in flows {
            self.push(flow, 1);
            while self.queue.len() > 0 || self.queue.workers_at_it > 0 {
                self.step(|_| time);
            }
        }
        self.begun.clear();
    }

    fn at_work(&self, flow: FlowKey) -> usize {
        let tasks = self.workers.iter().filter_map(|worker| worker.1);
        tasks.filter(|task| task.flow == flow).count()
    }
}

/// Numbers without a pattern, of an xorshift generator.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed | 1;
    move |bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    }
}

fn share(flow: FlowKey, micros: u64) -> i128 {
    flow.share(Duration::from_micros(micros)).0 as i128
}

proptest! {
    /// The distance is that of what the workers may have begun before they knew better: one longest task of either flow for each worker, and one for the last worker that is kept.
    #[test]
    fn busy_flows_share_the_time_by_their_weights(
        workers in 1..5usize,
        one in priority(),
        other in priority(),
        longest in (1..40_000u64, 1..40_000u64),
        seed in any::<u64>(),
    ) {
        let (one, other) = (flow(1, one), flow(2, other));
        let mut random = random(seed);
        let mut machine = Machine::new(workers);
        machine.meet([(one, longest.0), (other, longest.1)]);
        machine.push(one, 1001);
        machine.push(other, 1001);
        let longest = |flow| if flow == one { longest.0 } else { longest.1 };
        let bound = (workers as i128 + 1) * (share(one, longest(one)) + share(other, longest(other)));
        let (mut of_one, mut of_other) = (0, 0);
        for _ in 0..1000 {
            let Some((flow, run)) = machine.step(|flow| 1 + random(longest(flow))) else {
                continue;
            };
            *(if flow == one { &mut of_one } else { &mut of_other }) += share(flow, run);
            prop_assert!((of_one - of_other).abs() <= bound, "{of_one} {of_other} {bound}");
        }
    }

    #[test]
    fn a_late_flow_begins_before_any_other_has_had_much_more_than_a_longest_task(
        workers in 1..5usize,
        flows in vec((priority(), 1..100_000u64), 1..12),
        late in priority(),
        before in 0..500usize,
        seed in any::<u64>(),
    ) {
        let mut random = random(seed);
        let mut machine = Machine::new(workers);
        let late = flow(0, late);
        let longest: Vec<_> = [1].into_iter().chain(flows.iter().map(|flow| flow.1)).collect();
        let flows: Vec<_> = (1..).zip(&flows).map(|(client, &(priority, _))| flow(client, priority)).collect();
        let longest = |flow: FlowKey| longest[flow.client as usize];
        let all = || flows.iter().copied().chain([late]);
        machine.meet(all().map(|flow| (flow, longest(flow))));
        for &flow in &flows {
            machine.push(flow, 1000);
        }
        let mut time = |flow| 1 + random(longest(flow));
        for _ in 0..before {
            machine.step(&mut time);
        }
        let most = all().map(|flow| share(flow, longest(flow)));
        let bound = (workers as i128 + 1) * most.max().unwrap_or_default();
        machine.push(late, 1);
        machine.begun.clear();
        let mut had = BTreeMap::<FlowKey, i128>::new();
        while !machine.begun.contains(&late) {
            if let Some((flow, run)) = machine.step(&mut time) {
                let had = had.entry(flow).or_default();
                *had += share(flow, run);
                prop_assert!(*had <= bound, "{flow:?} had {had} of {bound}");
            }
        }
    }

    #[test]
    fn among_equals_a_late_flow_begins_after_at_most_one_task_of_each_other(
        workers in 1..5usize,
        flows in 1..30u64,
        before in 0..200usize,
        time in 1..100_000u64,
    ) {
        let mut machine = Machine::new(workers);
        for client in 1..=flows {
            machine.push(normal(client), 1000);
        }
        for _ in 0..before {
            machine.step(|_| time);
        }
        let late = normal(100);
        machine.push(late, 1);
        machine.begun.clear();
        while !machine.begun.contains(&late) {
            machine.step(|_| time);
            let others: BTreeSet<_> = machine.begun.iter().collect();
            prop_assert_eq!(others.len(), machine.begun.len(), "one went twice: {:?}", machine.begun);
        }
    }
}

#[test]
fn a_low_flow_is_not_starved_by_an_endless_stream_of_new_high_ones() {
    let mut machine = Machine::new(1);
    let low = flow(0, Priority::Low);
    machine.push(low, 10);
    machine.step(|_| 1000);
    let mut begun = Vec::new();
    for client in 1..1000 {
        machine.push(flow(client, Priority::High), 1);
        machine.step(|_| 1000);
        if machine.begun.last() == Some(&low) {
            begun.push(client);
            machine.step(|_| 1000);
        }
    }
    // At any time one of the others waits and one runs, so that its share is 1 of 2 times 64 + 1.
    let gaps: Vec<_> = begun.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(
        gaps.len() >= 4 && gaps.iter().all(|gap| (127..=131).contains(gap)),
        "{gaps:?}"
    );
}

#[test]
fn of_flows_that_start_together_the_higher_priority_goes_first() {
    let mut machine = Machine::new(1);
    let priorities = [Priority::Low, Priority::Normal, Priority::High];
    for priority in priorities {
        machine.push(flow(1, priority), 1);
    }
    for _ in 0..3 {
        machine.step(|_| 1);
    }
    let begun: Vec<_> = machine.begun.iter().map(|flow| flow.priority).collect();
    assert_eq!(begun, [Priority::High, Priority::Normal, Priority::Low]);
}

#[test]
fn a_flow_that_always_comes_back_with_one_task_gets_no_more_than_its_share() {
    let mut machine = Machine::new(1);
    let (low, busy) = (flow(1, Priority::Low), normal(2));
    machine.push(busy, 20_000);
    machine.push(low, 1);
    let mut of_low = 0;
    for _ in 0..9000 {
        if let Some((flow, _)) = machine.step(|_| 100)
            && flow == low
        {
            of_low += 1;
            machine.push(low, 1);
        }
    }
    assert!((900..=1010).contains(&of_low), "{of_low}");
}

#[test]
fn a_flow_with_tasks_of_a_minute_does_not_get_more_places_than_its_share() {
    const MINUTE: u64 = 60_000_000;
    let mut machine = Machine::new(16);
    let (long, short) = (normal(1), normal(2));
    machine.push(short, 2_000_000);
    for _ in 0..100 {
        machine.step(|_| 1000);
    }
    machine.push(long, 10_000);
    let mut most = 0;
    // Two seconds, in which none of the long ones ends.
    while machine.now < 2_000_000 {
        machine.step(|flow| if flow == long { MINUTE } else { 1000 });
        most = most.max(machine.at_work(long));
    }
    assert!((7..=9).contains(&most), "{most} places of 16");
}

#[test]
fn the_last_worker_is_kept_from_a_flow_that_has_the_others_at_long_tasks() {
    const MINUTE: u64 = 60_000_000;
    let mut machine = Machine::new(2);
    let (long, short) = (normal(1), normal(2));
    machine.meet([(long, 20_000), (short, 1000)]);
    machine.push(long, 1000);
    machine.push(short, 100_000);
    // After 20 milliseconds both will have had as much, and none of the long ones has ended.
    let start = machine.now;
    while machine.now < start + MINUTE - 1 {
        machine.step(|flow| if flow == long { MINUTE } else { 1000 });
        assert!(machine.at_work(long) <= 1, "at {}", machine.now - start);
    }
    assert_eq!(machine.at_work(long), 1);
}

#[test]
fn what_runs_is_not_held_against_those_who_come_while_it_does() {
    const SECOND: u64 = 1_000_000;
    let mut machine = Machine::new(4);
    let (busy, late) = (normal(1), normal(2));
    machine.meet([(busy, SECOND), (late, SECOND)]);
    machine.push(busy, 100);
    while machine.at_work(busy) < 4 {
        machine.step(|_| SECOND);
    }
    machine.push(late, 100);
    machine.begun.clear();
    while machine.begun.len() < 4 {
        machine.step(|_| SECOND);
    }
    // It catches up on the four that ran, but for the last worker.
    assert_eq!(machine.begun[..3], [late; 3]);
    assert_eq!(machine.begun[3], busy);
}

#[test]
fn a_flow_whose_tasks_take_less_than_before_is_back_in_its_turn_at_once() {
    let mut machine = Machine::new(2);
    let (one, other) = (normal(1), normal(2));
    machine.meet([(one, 1_000_000), (other, 1000)]);
    machine.push(one, 200);
    machine.push(other, 200);
    for _ in 0..100 {
        machine.step(|_| 1000);
    }
    let of_one = machine.begun.iter().filter(|&&flow| flow == one).count();
    assert!((45..=55).contains(&of_one), "{of_one} of 100");
}

#[test]
fn what_a_flow_had_before_is_forgotten_beyond_a_bound() {
    let mut machine = Machine::new(1);
    let (low, high) = (flow(1, Priority::Low), flow(2, Priority::High));
    machine.meet([(high, 1_000_000), (low, 1_000_000)]);
    machine.push(low, 1);
    // A minute, which counts as much as 64 of the other.
    machine.step(|_| 60_000_000);
    machine.push(high, 10_000);
    machine.step(|_| 1_000_000);
    machine.push(low, 1);
    machine.begun.clear();
    while !machine.begun.contains(&low) {
        machine.step(|_| 1_000_000);
    }
    let bound = 64 * MEMORY.as_secs() as usize;
    // Its own next task counts, too, of which it is not known that it is shorter.
    let next = 64 * 16;
    let waited = machine.begun.len();
    assert!((bound..=bound + next + 64).contains(&waited), "{waited}");
}

#[test]
fn a_lone_flow_gets_every_worker_however_long_its_tasks() {
    let mut machine = Machine::new(4);
    let lone = normal(1);
    machine.push(lone, 100);
    for round in 1..10 {
        while machine.now < round * 60_000_000 - 1
            && machine.workers.iter().any(|w| w.0 <= machine.now)
        {
            machine.step(|_| 60_000_000);
        }
        assert_eq!(machine.at_work(lone), 4);
        machine.step(|_| 60_000_000);
    }
}

#[test]
fn what_a_flow_had_while_it_was_alone_is_not_held_against_it() {
    let mut machine = Machine::new(1);
    let (one, other) = (normal(1), normal(2));
    machine.push(one, 50);
    for _ in 0..=50 {
        machine.step(|_| 1_000_000);
    }
    assert_eq!((machine.queue.len(), machine.queue.workers_at_it), (0, 0));
    machine.push(other, 20);
    machine.push(one, 20);
    machine.begun.clear();
    for _ in 0..20 {
        machine.step(|_| 1_000_000);
    }
    let of_one = machine.begun.iter().filter(|&&flow| flow == one).count();
    assert_eq!(of_one, 10);
}

#[test]
fn tasks_that_take_no_time_by_the_clock_take_turns_too() {
    let mut queue = FairQueue::new(1000, 1000);
    let task = |client, number| Task {
        number,
        flow: normal(client),
        load: 0,
        brief: true,
    };
    for client in 0..3 {
        queue.push_all(
            normal(client),
            (0..10u32).map(|n| task(client, n.into())),
            || at(0),
        );
    }
    let mut begun = Vec::new();
    for _ in 0..6 {
        begun.extend(
            take(&mut queue, 0, 1, 1, at(0))
                .iter()
                .map(|task| task.flow.client),
        );
        queue.settle(0, ran(0));
    }
    assert_eq!(begun, [0, 1, 2, 0, 1, 2]);
    assert!(MIN_CHARGE > Duration::ZERO);
}

#[test]
fn flows_that_are_over_are_forgotten() {
    let mut machine = Machine::new(1);
    for client in 0..10_000 {
        machine.push(normal(client), 1);
        machine.step(|_| 10);
    }
    let known = machine.queue.flows.len();
    assert!(known <= IDLE_FLOWS + 2, "{known}");
}

#[test]
fn memory_for_many_tasks_is_kept_once_and_not_for_each_idle_flow() {
    let mut machine = Machine::new(1);
    for client in 0..10 {
        machine.push(normal(client), 1000);
        while machine.queue.len() > 0 {
            machine.step(|_| 10);
        }
        machine.step(|_| 10);
    }
    let capacity: usize = (0..10)
        .map(|client| machine.queue.flows.flow(normal(client)).waiting.capacity())
        .sum();
    assert!(capacity <= 160, "{capacity}");
}
