//! Writes what is generated from the types: `crds/jobqueue.yaml`, the CustomResourceDefinition, and `docs/reference.md`,
//! its description. `--print` writes the definition to stdout instead.

fn main() -> std::io::Result<()> {
    let yaml = jobqueue_crds::crd_yaml();
    if std::env::args().any(|argument| argument == "--print") {
        print!("{yaml}");
        return Ok(());
    }
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/jobqueue.yaml"), yaml)?;
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md"), jobqueue_crds::reference())
}
