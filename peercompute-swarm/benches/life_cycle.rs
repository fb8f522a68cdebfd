//! What the life cycle of a task costs, without the wire: both cores in one thread, frames handed over as they are.

fn main() {
    #[cfg(not(target_arch = "wasm32"))]
    divan::main();
}

#[cfg(not(target_arch = "wasm32"))]
mod life_cycle {
    use std::time::Duration;

    use bytes::Bytes;
    use peercompute_proto::v1::{Capabilities, StreamBinding, TaskSpec};
    use peercompute_swarm::{
        NewTask, Submitter, SubmitterConfig, SubmitterEvent, Worker, WorkerConfig, WorkerId,
    };

    /// Tasks in one run of a benchmark.
    const TASKS: usize = 100_000;

    /// Runs `TASKS` tasks with this input over so many workers and jobs.
    fn run(input: &Bytes, workers: u64, jobs: usize) -> usize {
        let now = Duration::ZERO;
        let mut submitter = Submitter::new(SubmitterConfig::new(StreamBinding::default()));
        let mut ends = Vec::new();
        for worker in 0..workers {
            submitter
                .add_worker(now, WorkerId(worker), None)
                .expect("room for it");
            let config = WorkerConfig::new(StreamBinding::default(), Capabilities::default());
            ends.push(Worker::new(config));
        }
        let mut open = Vec::new();
        for _ in 0..jobs {
            open.push((
                submitter
                    .open_job(TaskSpec::default())
                    .expect("room for it"),
                TASKS / jobs,
            ));
        }
        let mut done = 0;
        let mut over = 0;
        while over < jobs {
            for (job, left) in open.iter_mut().filter(|(_, left)| *left > 0) {
                let room = submitter.room(*job).tasks.min(*left);
                for _ in 0..room {
                    let task = NewTask {
                        input: input.clone(),
                        state: None,
                    };
                    submitter.push(*job, task).expect("it fits");
                }
                *left -= room;
                if *left == 0 {
                    submitter.finish_job(*job).expect("it is open");
                }
            }
            while let Some(id) = submitter.poll_ready() {
                let worker = &mut ends[id.0 as usize];
                while let Some(frame) = submitter.poll_transmit(now, id) {
                    worker.handle_frame(now, frame).expect("no violation");
                    while worker.poll_event().is_some() {}
                    while let Some(task) = worker.poll_task() {
                        worker.handle_done(task.ticket, Ok(Bytes::new()), Duration::ZERO);
                    }
                    while let Some(frame) = worker.poll_transmit(now) {
                        submitter
                            .handle_frame(now, id, frame)
                            .expect("no violation");
                    }
                }
                while let Some(event) = submitter.poll_event() {
                    match event {
                        SubmitterEvent::TaskDone { .. } => done += 1,
                        SubmitterEvent::JobDone { .. } => over += 1,
                        _ => {}
                    }
                }
            }
        }
        assert_eq!(done, TASKS / jobs * jobs);
        done
    }

    #[divan::bench(args = [1, 4, 64])]
    fn no_op_tasks(bencher: divan::Bencher<'_, '_>, workers: u64) {
        bencher
            .counter(TASKS)
            .bench(|| run(&Bytes::new(), workers, 1));
    }

    #[divan::bench]
    fn no_op_tasks_of_32_jobs(bencher: divan::Bencher<'_, '_>) {
        bencher.counter(TASKS).bench(|| run(&Bytes::new(), 4, 32));
    }

    #[divan::bench]
    fn tasks_of_64_bytes(bencher: divan::Bencher<'_, '_>) {
        let input = Bytes::from(vec![7; 64]);
        bencher.counter(TASKS).bench(|| run(&input, 4, 1));
    }
}
