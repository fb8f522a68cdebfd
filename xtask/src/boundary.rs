//! Proof that the crates import only what the architecture's table of rooms allows, and that the pure ones stay pure.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{context::Context, process::output_of};

/// What a room may import of the other rooms.
#[derive(Clone, Copy, Debug)]
enum Imports {
    These(&'static [&'static str]),
    /// Every library but the façade.
    Libraries,
    /// Every library and the façade: what stands where a user stands.
    Everything,
}

/// A folder at the top level that holds one crate.
#[derive(Clone, Copy, Debug)]
struct Room {
    folder: &'static str,
    package: &'static str,
    /// Decides without I/O, clock, threads or async.
    pure: bool,
    imports: Imports,
}

impl Room {
    const fn of(folder: &'static str, imports: &'static [&'static str]) -> Self {
        Self {
            folder,
            package: folder,
            pure: false,
            imports: Imports::These(imports),
        }
    }

    const fn pure(folder: &'static str, imports: &'static [&'static str]) -> Self {
        Self {
            folder,
            package: folder,
            pure: true,
            imports: Imports::These(imports),
        }
    }

    const fn top(folder: &'static str, package: &'static str, imports: Imports) -> Self {
        Self {
            folder,
            package,
            pure: false,
            imports,
        }
    }

    fn allows(&self, package: &str) -> bool {
        let is_library = || LIBRARIES.iter().any(|room| room.package == package);
        match self.imports {
            Imports::These(list) => list.contains(&package),
            Imports::Libraries => is_library(),
            Imports::Everything => is_library() || package == FACADE,
        }
    }
}

const RT: &str = "peercompute-rt";
const MAP: &str = "peercompute-map";
const PROTO: &str = "peercompute-proto";
const SCHED: &str = "peercompute-sched";
const SWARM: &str = "peercompute-swarm";
const STATE: &str = "peercompute-state";
const GPU: &str = "peercompute-gpu";
const COMPUTE: &str = "peercompute-compute";
const NET: &str = "peercompute-net";
const KERNEL: &str = "peercompute-kernel";
const FACADE: &str = "peercompute";

/// The crates that others may import, of the table of rooms in ARCHITECTURE.md.
const LIBRARIES: &[Room] = &[
    Room::of(RT, &[]),
    Room::pure(MAP, &[]),
    Room::pure(PROTO, &[]),
    Room::pure(SCHED, &[PROTO, MAP]),
    Room::pure(SWARM, &[PROTO, MAP]),
    Room::of(STATE, &[RT, PROTO]),
    Room::of(GPU, &[RT]),
    Room::of(COMPUTE, &[RT, PROTO, GPU, MAP]),
    Room::of("peercompute-guest", &[]),
    Room::of(NET, &[RT, PROTO, MAP]),
    Room::of(
        KERNEL,
        &[RT, PROTO, MAP, SCHED, SWARM, STATE, GPU, COMPUTE, NET],
    ),
    Room::of("peercompute-relay", &[RT, PROTO, NET]),
    Room::of(
        "peercompute-coordinator",
        &[RT, PROTO, SCHED, SWARM, STATE, GPU, COMPUTE, NET, KERNEL],
    ),
    Room::of(
        "peercompute-web",
        &[RT, PROTO, SCHED, SWARM, STATE, GPU, COMPUTE, NET, KERNEL],
    ),
    Room::of("peercompute-web-gpu", &[GPU]),
];

/// The rest of the table. A crate that is in neither part fails the check.
const TOPS: &[Room] = &[
    Room::top(FACADE, FACADE, Imports::Libraries),
    Room::top("examples", "peercompute-examples", Imports::Everything),
    Room::top("fuzz", "peercompute-fuzz", Imports::Libraries),
    Room::of("xtask", &[]),
];

fn rooms() -> impl Iterator<Item = &'static Room> {
    LIBRARIES.iter().chain(TOPS)
}

/// What a pure room never reaches, by way of whatever dependency: runtimes, sockets and devices. A name that ends in `*` stands for
/// every crate whose name begins so.
const IMPURE: &[&str] = &[
    "tokio*",
    "libp2p*",
    "wgpu*",
    "mio",
    "socket2",
    "quinn*",
    "hyper*",
    "axum*",
    "reqwest",
    "h2",
    "async-std",
    "async-io",
    "async-net",
    "smol",
    "polling",
    "if-watch",
    "netlink-sys",
    "rtnetlink",
    "rustls",
    "native-tls",
    "hickory-*",
    "tungstenite",
    "soketto",
    "web-sys",
    "futures-timer",
    "rayon*",
];

/// One crate of the workspace and what its manifest asks for.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    package: String,
    /// Relative to the workspace's root.
    folder: String,
    /// The workspace's crates among its dependencies, for whatever purpose and target.
    imports: BTreeSet<String>,
}

/// Fails with every import that the table does not allow.
pub(crate) fn check(context: &Context) -> Result<()> {
    let metadata = output_of(&mut context.cargo([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--locked",
    ]))?;
    let members = members(&metadata, &context.root)?;
    let mut faults = import_faults(&members);
    let mut proven = Vec::new();
    for room in LIBRARIES
        .iter()
        .filter(|room| room.pure && members.iter().any(|member| member.package == room.package))
    {
        let tree = output_of(&mut context.cargo([
            "tree",
            "--package",
            room.package,
            "--edges",
            "normal",
            "--all-features",
            "--target",
            "all",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--locked",
        ]))?;
        let reached = crates_of(&tree);
        faults.extend(purity_faults(room.package, &reached));
        proven.push(format!("{} ({} crates)", room.package, reached.len()));
    }
    if !faults.is_empty() {
        let mut text = String::from(
            "the boundaries between the crates are crossed (see the table in ARCHITECTURE.md):",
        );
        for fault in faults {
            let _ = write!(text, "\n  - {fault}");
        }
        bail!(text);
    }
    println!(
        "    {} crates import what they may; pure: {}",
        members.len(),
        proven.join(", ")
    );
    Ok(())
}

fn members(metadata: &str, root: &Path) -> Result<Vec<Member>> {
    let metadata: Value =
        serde_json::from_str(metadata).context("`cargo metadata` printed no JSON")?;
    let packages = metadata["packages"]
        .as_array()
        .context("`cargo metadata` names no packages")?;
    let names: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    packages
        .iter()
        .map(|package| {
            let name = package["name"]
                .as_str()
                .context("`cargo metadata`: a package without a name")?;
            let manifest = Path::new(
                package["manifest_path"]
                    .as_str()
                    .context("`cargo metadata`: a package without a manifest")?,
            );
            let folder = manifest
                .parent()
                .map(|folder| folder.strip_prefix(root).unwrap_or(folder))
                .unwrap_or(manifest);
            let dependencies = package["dependencies"]
                .as_array()
                .map_or(&[][..], Vec::as_slice);
            let imports = dependencies
                .iter()
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|name| names.contains(name));
            Ok(Member {
                package: name.to_owned(),
                folder: folder.to_string_lossy().into_owned(),
                imports: imports.map(str::to_owned).collect(),
            })
        })
        .collect()
}

fn import_faults(members: &[Member]) -> Vec<String> {
    let mut faults = Vec::new();
    for member in members {
        let Some(room) = rooms().find(|room| room.package == member.package) else {
            faults.push(format!(
                "{}/ ({}) is in no row of the table; add one, or move the code to a room that is",
                member.folder, member.package
            ));
            continue;
        };
        if room.folder != member.folder {
            faults.push(format!(
                "{} lies in {}/, the table has it in {}/",
                member.package, member.folder, room.folder
            ));
        }
        for import in member.imports.iter().filter(|import| !room.allows(import)) {
            let why = if import == FACADE {
                ": no crate does that but the examples"
            } else {
                ""
            };
            faults.push(format!("{} imports {import}{why}", member.package));
        }
    }
    faults
}

fn purity_faults(package: &str, reached: &BTreeSet<String>) -> Vec<String> {
    let impure = |name: &&String| IMPURE.iter().any(|pattern| matches(pattern, name));
    let tell = |name: &String| {
        format!(
            "{package} is pure and reaches {name}; `cargo tree -p {package} -e normal --all-features --target all -i {name}` shows how"
        )
    };
    reached.iter().filter(impure).map(tell).collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |start| name.starts_with(start))
}

/// The names in the output of `cargo tree --prefix none --format {p}`.
fn crates_of(tree: &str) -> BTreeSet<String> {
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(package: &str, folder: &str, imports: &[&str]) -> Member {
        Member {
            package: package.to_owned(),
            folder: folder.to_owned(),
            imports: imports.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn members_are_read_with_the_workspace_crates_they_import() {
        let metadata = r#"{"packages": [
            {"name": "peercompute-proto", "manifest_path": "/w/peercompute-proto/Cargo.toml", "dependencies": [{"name": "prost", "kind": null}]},
            {"name": "peercompute-swarm", "manifest_path": "/w/peercompute-swarm/Cargo.toml",
             "dependencies": [{"name": "bytes", "kind": null}, {"name": "peercompute-proto", "kind": "dev"}]}
        ]}"#;
        let expected = vec![member(PROTO, PROTO, &[]), member(SWARM, SWARM, &[PROTO])];
        assert_eq!(
            members(metadata, Path::new("/w")).expect("well-formed"),
            expected
        );
    }

    #[test]
    fn what_the_table_allows_is_no_fault() {
        let members = [
            member(RT, RT, &[]),
            member(SWARM, SWARM, &[PROTO]),
            member(KERNEL, KERNEL, &[RT, PROTO, SWARM, COMPUTE, NET]),
            member("peercompute", "peercompute", &[KERNEL, "peercompute-relay"]),
            member("peercompute-examples", "examples", &[KERNEL, NET]),
        ];
        assert_eq!(import_faults(&members), Vec::<String>::new());
    }

    #[test]
    fn an_import_that_runs_upward_is_a_fault() {
        assert_eq!(
            import_faults(&[member(PROTO, PROTO, &[NET])]),
            ["peercompute-proto imports peercompute-net"]
        );
        assert_eq!(
            import_faults(&[member(SWARM, SWARM, &[RT])]),
            ["peercompute-swarm imports peercompute-rt"]
        );
    }

    #[test]
    fn only_the_examples_import_the_facade_and_nobody_imports_xtask() {
        let imports = [FACADE, "xtask"];
        assert_eq!(
            import_faults(&[member("peercompute-examples", "examples", &imports)]),
            ["peercompute-examples imports xtask"]
        );
        assert_eq!(
            import_faults(&[member("peercompute-fuzz", "fuzz", &imports)]),
            [
                "peercompute-fuzz imports peercompute: no crate does that but the examples",
                "peercompute-fuzz imports xtask"
            ]
        );
    }

    #[test]
    fn a_crate_without_a_row_or_in_another_folder_is_a_fault() {
        let faults = import_faults(&[
            member("peercompute-extra", "extra", &[]),
            member(NET, "network", &[]),
        ]);
        assert_eq!(faults.len(), 2);
        assert!(
            faults[0].starts_with("extra/ (peercompute-extra) is in no row"),
            "{}",
            faults[0]
        );
        assert_eq!(
            faults[1],
            "peercompute-net lies in network/, the table has it in peercompute-net/"
        );
    }

    #[test]
    fn a_pure_room_that_reaches_a_runtime_or_socket_is_a_fault() {
        let tree = "peercompute-proto v0.1.0 (/w/peercompute-proto)\nbytes v1.12.0\ntokio-util v0.7.1\nmio v1.0.0\nserde_derive v1.0.1 (proc-macro)\nmiow v1.0.0 (*)\n";
        let reached = crates_of(tree);
        assert_eq!(reached.len(), 6);
        let faults = purity_faults(PROTO, &reached);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("peercompute-proto is pure and reaches mio;"));
        assert!(faults[1].starts_with("peercompute-proto is pure and reaches tokio-util;"));
    }

    #[test]
    fn every_room_that_the_table_names_exists_in_it_once() {
        let packages: BTreeSet<_> = rooms().map(|room| room.package).collect();
        assert_eq!(packages.len(), rooms().count());
        for room in rooms() {
            if let Imports::These(list) = room.imports {
                assert!(
                    list.iter().all(|import| packages.contains(import)),
                    "{}",
                    room.package
                );
            }
        }
    }
}
