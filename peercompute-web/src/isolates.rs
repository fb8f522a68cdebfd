//! Web Workers, as the pool's isolates.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use bytes::Bytes;
use futures::{
    future::{Either, select},
    lock::Mutex,
};
use js_sys::{Function, Uint8Array, Uint32Array, WebAssembly};
use peercompute_compute::{
    COMPILE_TIME, CheckedModule, Checking, Isolate, Isolates, ModuleError, Portable,
    PortableModule, PortableShader, ProgramHash, Returned, TaskError, TaskInput, Unsupported,
};
use peercompute_rt::{BoxFuture, Runtime};
use prost::Message as _;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

use crate::object::{Given, bytes, error, object, optional};

#[wasm_bindgen]
extern "C" {
    /// A worker of the page, see `isolate.js`.
    type PageIsolate;

    /// Has it run a task. The promise is kept with what it answers; it is never kept after `end`.
    #[wasm_bindgen(method, catch)]
    async fn run(this: &PageIsolate, request: JsValue) -> Result<JsValue, JsValue>;

    /// Has it open the browser's GPU, which goes on when nobody waits for it any more. It is over at once where it has been.
    #[wasm_bindgen(method, catch, js_name = openGpu)]
    async fn open_gpu(this: &PageIsolate) -> Result<JsValue, JsValue>;

    /// Where an input of so many bytes is to be put.
    #[wasm_bindgen(method)]
    fn room(this: &PageIsolate, size: u32) -> Uint8Array;

    /// Ends what runs. The next task has a new worker.
    #[wasm_bindgen(method)]
    fn end(this: &PageIsolate);
}

const NO_WORKER: &str = "the browser starts no worker; allow workers from this page's origin";

/// Modules that the browser has compiled, at most.
const MAX_COMPILED: usize = 64;

/// Opens workers by a function of the page.
pub(crate) struct PageIsolates {
    open: Function,
    runtime: Runtime,
    compiled: Rc<RefCell<Compiled>>,
    shaders: Rc<Mutex<Option<Opened>>>,
    /// The worker that looks at modules.
    checks: Rc<Option<Opened>>,
}

impl PageIsolates {
    pub(crate) fn new(open: Function, runtime: Runtime) -> Self {
        let [shaders, checks] = [open_by(&open), open_by(&open)];
        Self {
            open,
            runtime,
            compiled: Rc::default(),
            shaders: Rc::new(Mutex::new(shaders)),
            checks: Rc::new(checks),
        }
    }
}

/// Which starts its worker with its first task.
fn open_by(open: &Function) -> Option<Opened> {
    let isolate = open.call0(&JsValue::NULL).ok();
    isolate.map(|it| Opened(it.into()))
}

/// Ends with whoever has opened it.
struct Opened(PageIsolate);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Isolates for PageIsolates {
    fn open(&self) -> Box<dyn Isolate> {
        Box::new(WebIsolate {
            isolate: open_by(&self.open),
            compiled: self.compiled.clone(),
            shaders: self.shaders.clone(),
            is_waiting: false,
        })
    }

    fn check(&self, module: Bytes, memory: u64) -> Option<BoxFuture<'static, Checking>> {
        let (checks, runtime) = (self.checks.clone(), self.runtime.clone());
        Some(Box::pin(async move {
            let Some(Opened(isolate)) = &*checks else {
                return Err(unchecked(NO_WORKER));
            };
            let running = Running(Some(isolate));
            let request = object([
                ("check", JsValue::TRUE),
                ("memory", (memory as f64).into()),
                ("input", bytes(&module)),
            ]);
            let answer = Box::pin(isolate.run(request));
            let answer = select(answer, runtime.sleep(COMPILE_TIME)).await;
            // A module may have left the worker with much memory.
            drop(running);
            match answer {
                Either::Left((Ok(answer), _)) => read_checked(&answer),
                Either::Left((Err(thrown), _)) => Err(unchecked(&message(&thrown))),
                Either::Right(_) => Err(unchecked(&format!(
                    "it took longer than {} s",
                    COMPILE_TIME.as_secs()
                ))),
            }
        }))
    }
}

/// What a worker says of a module.
fn read_checked(answer: &JsValue) -> Checking {
    let given = Given(answer);
    let (output, memory) = (given.bytes("output"), given.number("memory"));
    if let (Ok(Some(output)), Ok(Some(memory))) = (output, memory) {
        return Ok(Ok(CheckedModule {
            memory: memory as u64,
            bytes: output.into(),
        }));
    }
    let reason = message(answer);
    match given.text("kind").ok().flatten().as_deref() {
        Some("refused") => Ok(Err(ModuleError::Refused { reason })),
        _ => Err(unchecked(&reason)),
    }
}

/// A module at which nobody could look.
fn unchecked(reason: &str) -> Unsupported {
    Unsupported::Rejected {
        program: "of this job".to_owned(),
        reason: format!(
            "no worker of this page could look at it: {reason}; ask again, or open the page again"
        ),
    }
}

/// Compiled modules, and which came first.
#[derive(Default)]
struct Compiled {
    modules: HashMap<Key, JsValue>,
    order: VecDeque<Key>,
}

/// A module's hash, and its memory.
type Key = (ProgramHash, u64);

struct WebIsolate {
    isolate: Option<Opened>,
    compiled: Rc<RefCell<Compiled>>,
    /// The worker of the page that has the device: one shader at a time.
    shaders: Rc<Mutex<Option<Opened>>>,
    /// For that worker, or for its device.
    is_waiting: bool,
}

impl Isolate for WebIsolate {
    fn run(
        &mut self,
        program: Portable,
        input: TaskInput,
    ) -> BoxFuture<'_, Result<Bytes, TaskError>> {
        self.is_waiting = false;
        Box::pin(async move {
            let Opened(isolate) = self.isolate.as_ref().ok_or_else(no_worker)?;
            let request = match program {
                Portable::Shader(shader) => {
                    return shade(&self.shaders, &mut self.is_waiting, shader, input).await;
                }
                Portable::Builtin(program) => object([
                    ("program", bytes(&program.encode_to_vec())),
                    ("state", optional(input.state)),
                    ("input", hand_over(isolate, &input)),
                ]),
                Portable::Module(module) => {
                    if input.state.is_some() {
                        return Err(TaskError::InvalidInput {
                            program: "a WebAssembly module".to_owned(),
                            reason: "it takes no starting state; leave the state out".to_owned(),
                        });
                    }
                    let memory = module.memory as f64;
                    object([
                        ("module", self.compile(module).await?),
                        ("memory", memory.into()),
                        ("input", hand_over(isolate, &input)),
                    ])
                }
                other => {
                    return Err(TaskError::Refused {
                        program: format!("{other:?}"),
                        reason: "this version does not run it in a worker; update it".to_owned(),
                    });
                }
            };
            run(isolate, request).await
        })
    }

    fn has_only_waited(&self) -> bool {
        self.is_waiting
    }
}

/// The input where the worker takes it from.
fn hand_over(isolate: &PageIsolate, input: &TaskInput) -> JsValue {
    let room = isolate.room(input.bytes.len() as u32);
    room.copy_from(&input.bytes);
    room.into()
}

/// Runs a shader when those before it have ended and the device is open.
async fn shade(
    shaders: &Mutex<Option<Opened>>,
    is_waiting: &mut bool,
    shader: PortableShader,
    input: TaskInput,
) -> Result<Bytes, TaskError> {
    *is_waiting = true;
    let seat = shaders.lock().await;
    let Opened(isolate) = seat.as_ref().ok_or_else(no_worker)?;
    // What a hung shader has left behind may keep the browser's GPU from opening.
    let open = isolate.open_gpu().await;
    open.map_err(|thrown| lost(&thrown))
        .and_then(|it| read(&it))?;
    *is_waiting = false;
    let request = object([
        ("shader", (&*shader.source).into()),
        ("entryPoint", (&*shader.entry_point).into()),
        (
            "workgroups",
            Uint32Array::from(&shader.workgroups[..]).into(),
        ),
        ("uniforms", bytes(&shader.uniforms)),
        ("outputBytes", (shader.output_bytes as f64).into()),
        ("input", bytes(&input.bytes)),
    ]);
    let outcome = run(isolate, request).await;
    match &outcome {
        Ok(_) | Err(TaskError::Refused { .. } | TaskError::LoopsTooLong { .. }) => {}
        // Another worker has a device that is whole.
        Err(_) => isolate.end(),
    }
    outcome
}

async fn run(isolate: &PageIsolate, request: JsValue) -> Result<Bytes, TaskError> {
    let mut running = Running(Some(isolate));
    let answer = isolate.run(request).await;
    running.0 = None;
    answer
        .map_err(|thrown| lost(&thrown))
        .and_then(|it| read(&it))
}

fn no_worker() -> TaskError {
    TaskError::Refused {
        program: "the task".to_owned(),
        reason: NO_WORKER.to_owned(),
    }
}

impl WebIsolate {
    /// The module as the browser has compiled it, apart from the page's thread.
    async fn compile(&self, module: PortableModule) -> Result<JsValue, TaskError> {
        let key = (module.hash, module.memory);
        if let Some(module) = self.compiled.borrow().modules.get(&key) {
            return Ok(module.clone());
        }
        let promise = WebAssembly::compile(&Uint8Array::from(&module.bytes[..]).into());
        let compiled = JsFuture::from(promise)
            .await
            .map_err(|thrown| TaskError::Refused {
                program: "the module".to_owned(),
                reason: format!("this browser does not compile it: {}", message(&thrown)),
            })?;
        let mut kept = self.compiled.borrow_mut();
        if kept.modules.insert(key, compiled.clone()).is_none() {
            kept.order.push_back(key);
        }
        if kept.order.len() > MAX_COMPILED
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.modules.remove(&oldest);
        }
        Ok(compiled)
    }
}

/// Ends what runs when it is dropped.
struct Running<'a>(Option<&'a PageIsolate>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(isolate) = self.0 {
            isolate.end();
        }
    }
}

/// A worker's answer: `output`, what a module's `run` has `returned` with the bytes that it means, or what `failed`.
fn read(answer: &JsValue) -> Result<Bytes, TaskError> {
    let given = Given(answer);
    let output = || given.bytes("output").ok().flatten();
    let text = |name| given.text(name).ok().flatten().unwrap_or_default();
    let number = |name| given.number(name).ok().flatten().unwrap_or(0.0);
    match text("kind").as_str() {
        "output" => output().map(Bytes::from).ok_or_else(|| {
            let reason = "the worker answered without an output".to_owned();
            TaskError::Trapped { reason }
        }),
        // The worker hands over only what lies inside the memory.
        "returned" => {
            let output = output().unwrap_or_default();
            let returned = Returned {
                pointer: 0,
                length: output.len() as u32,
                gave_up: given.flag("gaveUp").ok().flatten().unwrap_or(false),
            };
            returned.read(&output, u64::MAX)
        }
        "abi" => Err(TaskError::AbiViolated {
            reason: text("message"),
        }),
        "memory" => Err(TaskError::OutOfMemory {
            limit: number("limit") as u64,
            reason: text("message"),
        }),
        "stack" => Err(TaskError::Trapped {
            reason: format!(
                "its calls went deeper than the browser's stack: {}",
                text("message")
            ),
        }),
        "refused" => Err(TaskError::Refused {
            program: text("program"),
            reason: text("message"),
        }),
        "rounds" => Err(TaskError::LoopsTooLong {
            reason: text("message"),
        }),
        "noDevice" => Err(TaskError::NoDevice {
            reason: text("message"),
        }),
        "invalid" => Err(TaskError::InvalidInput {
            program: text("program"),
            reason: text("message"),
        }),
        _ => Err(TaskError::Trapped {
            reason: text("message"),
        }),
    }
}

/// What an operation says in a worker, as [`read`] understands it.
pub(crate) fn failure(failure: &TaskError) -> JsValue {
    match failure {
        TaskError::InvalidInput { program, reason } => object([
            ("kind", "invalid".into()),
            ("program", program.into()),
            ("message", reason.into()),
        ]),
        other => object([
            ("kind", "trap".into()),
            ("message", other.to_string().into()),
        ]),
    }
}

/// The worker itself has failed.
fn lost(thrown: &JsValue) -> TaskError {
    TaskError::Panicked {
        message: format!("its worker failed: {}", message(thrown)),
    }
}

pub(crate) fn message(thrown: &JsValue) -> String {
    let message = Given(thrown).text("message").ok().flatten();
    message.unwrap_or_else(|| format!("{thrown:?}"))
}

/// What the page is told where it gives nothing to open workers with.
pub(crate) fn no_workers() -> JsValue {
    error(
        "NO_WORKERS",
        "openIsolate is not a function; use the package's NodeKernel.create",
    )
}
