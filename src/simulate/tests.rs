use super::*;
#[test]
fn try_out() {
    let t = std::time::Instant::now();
    let specs = std::env::var("SCEN").map(|s| ScenarioSpec::parse_list(&s).unwrap()).unwrap_or_default();
    let options = Options { scenarios: specs, ..Options::default() };
    let s = run(&options, Path::new("/tmp/sim-try"), &mut |_| {}).unwrap();
    eprintln!("{s:?} {:?}", t.elapsed());
}
