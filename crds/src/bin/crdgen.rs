//! Writes `crds/jobqueue.yaml`, the CustomResourceDefinition, from the types. `--print` writes it to stdout instead.

fn main() -> std::io::Result<()> {
    let yaml = jobqueue_crds::crd_yaml();
    if std::env::args().any(|argument| argument == "--print") {
        print!("{yaml}");
        return Ok(());
    }
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/jobqueue.yaml"), yaml)
}
