//! x
use jobqueue_proof::{check::check, rq::{Rq, scenarios, Config}};
fn main() {
    let only = std::env::args().nth(1);
    let deep = std::env::args().nth(2).is_some();
    for s in scenarios() {
        if only.as_ref().is_some_and(|o| !s.name.contains(o.as_str())) { continue; }
        let c = if deep { s.deep.clone() } else { s.config.clone() };
        let r = check(&Rq(c.clone()));
        println!("{} {} {} {:?}", s.name, r.states, r.depth, r.took);
        if let Some(c) = r.counterexample { println!("  VIOLATED {}", c.property); for x in c.steps { println!("     {x}"); } println!("     {:?}", c.end); }
        for g in s.needs {
            let r = check(&Rq(Config { guards: s.config.guards.without(*g), ..s.config.clone() }));
            println!("   {g} {:?} {:?}", r.took, r.counterexample.map(|c| (c.property, c.steps, c.end)));
        }
    }
}
