//! Builds ../../ebpf/prog into `$OUT_DIR/ovn-xdp-prog`, an eBPF ELF object.
//!
//! By default with stable Rust alone: the crate is compiled for the host to LLVM bitcode, with `core`
//! from the toolchain's own library, and bpf-linker, linked in here and running on the compiler's own
//! LLVM, retargets the bitcode. `OVN_XDP_EBPF_BUILD=nightly`, or `nightly-DATE`, takes the way of the
//! aya book instead: that toolchain with `rust-src`, and on the PATH a `bpf-linker` whose LLVM is no
//! older than the toolchain's. `OVN_XDP_EBPF_OBJECT=FILE` takes an object that is already built.

use std::env;
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bpf_linker::{Cpu, Linker, LinkerInput, LinkerOptions, OptLevel, OutputType};

const OBJECT: &str = "OVN_XDP_EBPF_OBJECT";
const WAY: &str = "OVN_XDP_EBPF_BUILD";

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let source = manifest.join("../../ebpf/prog");
    let out = PathBuf::from(env::var("OUT_DIR")?).join("ovn-xdp-prog");
    println!("cargo::rerun-if-env-changed={OBJECT}");
    println!("cargo::rerun-if-env-changed={WAY}");
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(prebuilt) = env::var_os(OBJECT) {
        println!("cargo::rerun-if-changed={}", Path::new(&prebuilt).display());
        fs::copy(&prebuilt, &out).with_context(|| format!("{OBJECT}={prebuilt:?}"))?;
        return Ok(());
    }
    for path in ["src", "Cargo.toml", "Cargo.lock", "../abi/src", "../abi/Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", source.join(path).display());
    }
    match env::var(WAY).as_deref() {
        Err(_) | Ok("stable") => build_stable(&source, &out),
        Ok(nightly) if nightly.starts_with("nightly") => build_nightly(&source, nightly),
        Ok(other) => bail!("{WAY}={other:?}: expected \"stable\", \"nightly\" or \"nightly-DATE\""),
    }
}

fn build_nightly(source: &Path, toolchain: &str) -> Result<()> {
    let root = source.to_str().context("the path of ebpf/prog is not UTF-8")?;
    let package = aya_build::Package {
        name: "ovn-xdp-prog",
        root_dir: root,
        ..aya_build::Package::default()
    };
    // aya-build looks for the package in the workspace it is called in.
    env::set_current_dir(source)?;
    aya_build::build_ebpf([package], aya_build::Toolchain::Custom(toolchain)).with_context(|| {
        format!(
            "needs `rustup toolchain install {toolchain} -c rust-src`, and a `bpf-linker` on the \
             PATH that is built with that toolchain's LLVM or a newer one"
        )
    })
}

fn build_stable(source: &Path, out: &Path) -> Result<()> {
    let host = env::var("HOST")?;
    let target = out.with_file_name("bitcode");
    let flags = [
        "--cfg=bpf",
        "-Clinker-plugin-lto",
        "-Cpanic=abort",
        "-Cforce-unwind-tables=no",
        "-Cdebuginfo=2",
        "-Ccodegen-units=1",
    ];
    let status = Command::new(env::var("CARGO")?)
        .current_dir(source)
        .args(["rustc", "--locked", "--release", "--lib", "--crate-type=staticlib"])
        .args(["--target", &host, "--target-dir"])
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .status()?;
    ensure!(status.success(), "ebpf/prog does not compile");

    // LLVM's own complaints go through `tracing`; without a subscriber they are lost.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let sysroot = Command::new(env::var("RUSTC")?).args(["--print", "sysroot"]).output()?.stdout;
    let libraries = format!("{}/lib", String::from_utf8(sysroot)?.trim());
    // SAFETY: build scripts have one thread until here. The linker opens libLLVM by this path.
    unsafe { env::set_var("LD_LIBRARY_PATH", libraries) };
    let linker = Linker::new(LinkerOptions {
        target: Some(CString::new("bpfel")?),
        cpu: Cpu::V3,
        cpu_features: CString::default(),
        optimize: OptLevel::Aggressive,
        unroll_loops: false,
        ignore_inline_never: false,
        llvm_args: vec![],
        disable_expand_memcpy_in_order: false,
        disable_memory_builtins: false,
        btf: true,
        allow_bpf_trap: false,
    });
    let archive = target.join(host).join("release/libovn_xdp_prog.a");
    let names = exported(&source.join("src/programs"))?;
    linker
        .link_to_file(
            [LinkerInput::new_from_file(&archive)],
            out,
            OutputType::Object,
            names.iter().map(String::as_str),
        )
        .context("bpf-linker")?;
    ensure!(!linker.has_errors(), "LLVM reported errors, see above");
    Ok(())
}

const MARKS: [&str; 4] = ["#[xdp", "#[classifier", "#[map", "#[unsafe(link_section"];

/// Names of all programs and maps, and of the licence: what the linker must keep.
fn exported(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let mut marked = false;
        for line in fs::read_to_string(entry?.path())?.lines().map(str::trim_start) {
            marked |= MARKS.iter().any(|mark| line.starts_with(mark));
            if !marked {
                continue;
            }
            let Some(rest) = line.split("fn ").nth(1).or(line.split("static ").nth(1)) else {
                continue;
            };
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next();
            names.extend(name.map(str::to_owned));
            marked = false;
        }
    }
    ensure!(!names.is_empty(), "no program found in {}", folder.display());
    Ok(names)
}
