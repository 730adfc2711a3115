//! The shim as a program of its own, for this crate's tests; the real one is `isopod shim`.

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    node::shim::main(&args)
}
