//! x
use jobqueue_proof::scenarios::{limits, scenarios};
fn main() {
    let only = std::env::args().nth(1);
    let deep = std::env::args().nth(2).is_some();
    for s in scenarios() {
        if only.as_ref().is_some_and(|o| !s.name.contains(o.as_str())) { continue; }
        let c = if deep { s.deep.clone() } else { s.small.clone() };
        let r = c.check();
        println!("{} {} {} {:?}", s.name, r.states, r.depth, r.took);
        if let Some(c) = r.counterexample { println!("  VIOLATED {}", c.property); for x in c.steps { println!("     {x}"); } println!("     {:?}", c.end); }
        for g in s.needs {
            let r = s.small.without(*g).check();
            println!("   {g} {:?} {:?}", r.took, r.counterexample.map(|c| (c.property, c.steps, c.end)));
        }
    }
    for l in limits() {
        let r = l.case.check();
            println!(" LIMIT {} {:?} {:?}", l.what, r.took, r.counterexample.map(|c| (c.property, c.steps, c.end)));
    }
}
