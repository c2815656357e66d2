//! The simulator's page: the load it takes, and other settings beside the present ones.

use jobqueue_testkit::{redis, unique};

use crate::support::Served;

/// The position of a slider that stands for this.
fn position(page: &str, name: &str, word: &str) -> usize {
    let input = page.split_once(&format!("id=\"{name}\"")).unwrap_or_else(|| panic!("no {name} in {page}")).1;
    let words = input.split_once("data-words=\"").expect("words").1.split_once('"').expect("an end").0;
    words.split('|').position(|each| each == word).unwrap_or_else(|| panic!("no {word} in {words}"))
}

#[tokio::test]
async fn other_settings_stand_beside_the_present_ones() {
    let queue = unique("q");
    for _ in 0..50 {
        redis().cli(&["RPUSH", &queue, "x"]);
    }
    let served = Served::list(&queue, false).await;
    let own = served.address("/simulate");
    let page = served.wait_for(&own, "Too little was seen so far").await;
    assert!(page.contains("Half of the jobs") && page.contains("with 50 jobs at the start"), "{page}");
    assert!(page.contains("the present settings are the defaults"), "{page}");
    assert!(!page.contains("These settings") && !page.contains("manifest-title"), "{page}");
    let (most, jobs) = (position(&page, "maxReplicas", "1 worker"), position(&page, "jobSeconds", "2 s"));
    let page = served.page(&format!("{own}?maxReplicas={most}&jobSeconds={jobs}")).await;
    assert!(page.contains("These settings") && page.contains("spec:\n  scaling:\n    maxReplicas: 1\n"), "{page}");
    let row = page.split_once("Workers at most").expect("a figure").1.split_once("</tr>").expect("an end").0;
    let numbers: Vec<u32> = row.split(['>', '<']).filter_map(|text| text.parse().ok()).collect();
    assert!(matches!(numbers[..], [present, 1] if present > 1), "{row}");
    let row = page.split_once("Jobs done").expect("a figure").1.split_once("</tr>").expect("an end").0;
    assert_eq!(row.matches(">50<").count(), 2, "{row}");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let queue = unique("q");
    redis().cli(&["RPUSH", &queue, "x"]);
    let served = Served::list(&queue, false).await;
    let own = served.address("/simulate");
    let page = served.wait_for(&own, "Half of the jobs").await;
    let least = position(&page, "minReplicas", "20 workers");
    let refused = served.page(&format!("{own}?minReplicas={least}")).await;
    assert!(refused.contains("These settings are refused: spec.scaling"), "{refused}");
    let hostile = served.page(&format!("{own}?maxReplicas=-1&arrivals=NaN&jobSeconds=1e99&x=%3Cscript%3E")).await;
    assert!(hostile.contains("Half of the jobs") && !hostile.contains("%3Cscript%3E"), "{hostile}");
}
