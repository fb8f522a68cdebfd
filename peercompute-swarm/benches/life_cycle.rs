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
        JobId, NewTask, Submitter, SubmitterConfig, SubmitterEvent, Worker, WorkerConfig,
        WorkerEvent, WorkerId,
    };

    const NOW: Duration = Duration::ZERO;
    /// Tasks in one run of a benchmark.
    const TASKS: usize = 100_000;

    /// A submitter with open jobs, and workers that have claimed them: what a node looks like after its first second.
    struct Rig {
        submitter: Submitter,
        workers: Vec<Worker>,
        jobs: Vec<JobId>,
    }

    impl Rig {
        fn new(workers: u64, jobs: usize) -> Self {
            let mut submitter = Submitter::new(SubmitterConfig::new(StreamBinding::default()));
            for worker in 0..workers {
                submitter
                    .add_worker(NOW, WorkerId(worker), None)
                    .expect("room for it");
            }
            let config = WorkerConfig::new(StreamBinding::default(), Capabilities::default());
            let workers = (0..workers).map(|_| Worker::new(config.clone())).collect();
            let open = |_| {
                submitter
                    .open_job(TaskSpec::default())
                    .expect("room for it")
            };
            let jobs = (0..jobs).map(open).collect();
            let mut rig = Self {
                submitter,
                workers,
                jobs,
            };
            rig.run(&Bytes::new());
            rig
        }

        /// Runs `TASKS` tasks with this input, as much as there is room for at a time.
        fn run(&mut self, input: &Bytes) {
            let share = TASKS / self.jobs.len();
            let mut left = vec![share; self.jobs.len()];
            let mut done = 0;
            while done < share * self.jobs.len() {
                for (&job, left) in self.jobs.iter().zip(&mut left) {
                    let room = self.submitter.room(job).tasks.min(*left);
                    *left -= room;
                    for _ in 0..room {
                        let task = NewTask {
                            input: input.clone(),
                            state: None,
                        };
                        self.submitter.push(job, task).expect("there is room");
                    }
                }
                while let Some(id) = self.submitter.poll_ready() {
                    self.serve(id);
                    while let Some(event) = self.submitter.poll_event() {
                        done += usize::from(matches!(event, SubmitterEvent::TaskDone { .. }));
                    }
                }
            }
        }

        fn serve(&mut self, id: WorkerId) {
            let worker = &mut self.workers[id.0 as usize];
            while let Some(frame) = self.submitter.poll_transmit(NOW, id) {
                worker.handle_frame(NOW, frame).expect("no violation");
                while let Some(event) = worker.poll_event() {
                    if let WorkerEvent::JobOpened { job, .. } = event {
                        worker.accept_job(job);
                    }
                }
                while let Some(task) = worker.poll_task() {
                    worker.handle_done(task.ticket, Ok(Bytes::new()), Duration::ZERO);
                }
                while let Some(frame) = worker.poll_transmit(NOW) {
                    self.submitter
                        .handle_frame(NOW, id, frame)
                        .expect("no violation");
                }
            }
        }
    }

    #[divan::bench(args = [1, 4, 64])]
    fn no_op_tasks(bencher: divan::Bencher<'_, '_>, workers: u64) {
        let mut rig = Rig::new(workers, 1);
        bencher
            .counter(TASKS)
            .bench_local(|| rig.run(&Bytes::new()));
    }

    #[divan::bench]
    fn no_op_tasks_of_32_jobs(bencher: divan::Bencher<'_, '_>) {
        let mut rig = Rig::new(4, 32);
        bencher
            .counter(TASKS)
            .bench_local(|| rig.run(&Bytes::new()));
    }

    #[divan::bench]
    fn tasks_of_64_bytes(bencher: divan::Bencher<'_, '_>) {
        let input = Bytes::from(vec![7; 64]);
        let mut rig = Rig::new(4, 1);
        bencher.counter(TASKS).bench_local(|| rig.run(&input));
    }
}
