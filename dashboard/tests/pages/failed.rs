//! Failed jobs by cause, one by one, as a file, and what is done with them.

use std::time::{Duration, Instant};

use jobqueue_queue::Protocol;
use jobqueue_testkit::{redis, unique};
use reqwest::{StatusCode, header};

use crate::support::{Served, failed};

fn jobs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(record, error)| ((*record).to_owned(), (*error).to_owned())).collect()
}

async fn served_with_two_causes() -> Served {
    let queue = unique("q");
    let records = [("{\"n\": 1}", "n is 1, not 'x'"), ("{\"n\": 2}", "n is 2, not 'y'"), ("three", "not JSON")];
    failed(&queue, &jobs(&records)).await;
    Served::list(&queue, false).await
}

/// The part of a link behind `cause/` whose text has this in it.
fn digest(page: &str, text: &str) -> String {
    let links = page.split("/cause/").skip(1).filter_map(|rest| rest.split_once("\">"));
    let found = links.filter_map(|(digest, rest)| Some((digest, rest.split_once("</a>")?.0)));
    let mut found = found.filter(|(_, shown)| shown.contains(text));
    found.next().unwrap_or_else(|| panic!("no cause with {text}: {page}")).0.to_owned()
}

#[tokio::test]
async fn failures_are_counted_by_cause_and_shown_one_by_one() {
    let served = served_with_two_causes().await;
    let page = served.wait_for(&served.address("/failed"), "3 jobs of 2 causes").await;
    let cause = digest(&page, "such as: n is ");
    let list = served.page(&served.address(&format!("/failed/cause/{cause}"))).await;
    assert!(list.contains("2 jobs of this cause") && list.contains("n is 1") && list.contains("n is 2"), "{list}");
    let other = digest(&page, "not JSON");
    let list = served.page(&served.address(&format!("/failed/cause/{other}"))).await;
    let link = list.split("/failed/job?").nth(1).and_then(|rest| rest.split_once('"')).expect("a job").0;
    let job = served.page(&served.address(&format!("/failed/job?{}", link.replace("&amp;", "&")))).await;
    assert!(job.contains("three") && job.contains("not JSON"), "{job}");
    let missing = served.get(&served.address("/failed/job?id=nothing")).send().await.expect("an answer");
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn jobs_of_one_cause_are_requeued_or_removed_and_no_others() {
    let served = served_with_two_causes().await;
    let page = served.wait_for(&served.address("/failed"), "3 jobs of 2 causes").await;
    let (numbers, text) = (digest(&page, "n is "), digest(&page, "not JSON"));
    for (action, cause, asked, done) in
        [("requeue", &numbers, "Requeue 2 jobs?", "2 jobs requeued"), ("purge", &text, "Purge 1 job?", "1 job removed")]
    {
        let path = served.address(&format!("/failed/confirm?action={action}&scope=cause&cause={cause}"));
        let confirm = served.page(&path).await;
        assert!(confirm.contains(asked), "{confirm}");
        let (address, token) = Served::form(&confirm);
        let form = format!("form_token={token}");
        let answer = served.post(&address, &form).header(header::ORIGIN, &served.base).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        served.wait_for(&address, done).await;
    }
    served.wait_for(&served.address("/failed"), "No job has failed.").await;
    let numbers = served.wait_for(&served.address(""), "<dt>Waiting</dt><dd>2</dd>").await;
    assert!(numbers.contains("<dt>Failed</dt><dd>0</dd>"), "{numbers}");
}

#[tokio::test]
async fn records_are_exported_as_lines() {
    let served = served_with_two_causes().await;
    let page = served.wait_for(&served.address("/failed"), "3 jobs of 2 causes").await;
    let all = served.get(&served.address("/failed/export?scope=all")).send().await.expect("an answer");
    let disposition = all.headers()[header::CONTENT_DISPOSITION].to_str().expect("text").to_owned();
    assert!(disposition.starts_with("attachment; filename=\"failed-q_"), "{disposition}");
    let text = all.text().await.expect("text");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["three", "{\"n\": 1}", "{\"n\": 2}"]);
    let cause = digest(&page, "not JSON");
    let one = served.page(&served.address(&format!("/failed/export?scope=cause&cause={cause}"))).await;
    assert_eq!(one, "three\n");
}

#[tokio::test]
async fn hostile_text_is_shown_and_does_nothing() {
    let queue = unique("q\"><script>alert(0)</script>");
    let long = "y".repeat(100_000);
    let records = [
        ("{\"a\": \"<script>alert(1)</script>\"}", "<img src=x onerror=alert(2)> \u{202e}gnp.exe \"' &lt; x"),
        ("\"><svg onload=alert(3)>", "Traceback (most recent call last):\n  x\nE: </pre><script>alert(4)</script>"),
        (long.as_str(), long.as_str()),
    ];
    failed(&queue, &jobs(&records)).await;
    let served = Served::list(&queue, false).await;
    let causes = served.wait_for(&served.address("/failed"), "3 jobs of 3 causes").await;
    let mut pages = vec![served.page("/").await, served.page(&served.address("")).await];
    for cause in ["gnp.exe", "E: ", "yyy"] {
        let cause = digest(&causes, cause);
        let list = served.page(&served.address(&format!("/failed/cause/{cause}"))).await;
        let link = list.split("/failed/job?").nth(1).and_then(|rest| rest.split_once('"')).expect("a job").0;
        pages.push(served.page(&served.address(&format!("/failed/job?{}", link.replace("&amp;", "&")))).await);
        pages.push(list);
        pages.push(
            served.page(&served.address(&format!("/failed/confirm?action=purge&scope=cause&cause={cause}"))).await,
        );
    }
    pages.push(causes);
    let all = pages.concat();
    for raw in ["<script>alert", "<img src=x", "<svg onload", "\u{202e}"] {
        assert!(!all.contains(raw), "{raw} is in a page");
    }
    for shown in ["&lt;script&gt;alert(1)", "&lt;img src=x", "\\u{202e}gnp.exe", "&lt;/pre&gt;", "(100000 characters)"]
    {
        assert!(all.contains(shown), "{shown} is in no page");
    }
    assert!(pages.iter().all(|page| page.len() < 120_000), "long texts are cut");
}

/// A small form of what a million does: the page comes at once, and says what it is about.
#[tokio::test]
async fn many_failed_jobs_are_counted_in_the_background() {
    let queue = unique("q");
    let script = "for i = ARGV[2] + 1, ARGV[2] + 5000 do
        local id = ARGV[1] .. '-' .. i
        redis.call('ZADD', 'rq:failed:' .. ARGV[1], 2000000000 + i, id)
        redis.call('HSET', 'rq:job:' .. id, 'created_at', '2026-01-01T00:00:00Z', 'status', 'failed',
            'exc_info', 'column n: ' .. i .. ' is too large', 'origin', ARGV[1])
    end";
    // In steps, since other tests share this Redis.
    for first in (0..120_000).step_by(5_000) {
        redis().cli(&["EVAL", script, "0", &queue, &first.to_string()]);
    }
    let served = Served::start(&queue, Protocol::Rq, false).await;
    let began = Instant::now();
    let page = served.page(&served.address("/failed")).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(
        page.contains("of 120,000 jobs.") || page.contains("Counting goes on") || page.contains("are being counted"),
        "{page}"
    );
    let page = served.wait_for(&served.address("/failed"), "Causes of the newest 100,000 of 120,000 jobs.").await;
    assert!(!page.contains("Counting goes on") && page.contains("Requeue 120,000…"), "{page}");
    assert!(page.contains("at least 100,000") && page.contains("Older ones are not counted"), "{page}");
    let cause = digest(&page, "column n: ");
    let confirm =
        served.page(&served.address(&format!("/failed/confirm?action=purge&scope=cause&cause={cause}"))).await;
    assert!(confirm.contains("Purge 100,000 jobs?") && confirm.contains("newest 100,000 of 120,000"), "{confirm}");
    let confirm = served.page(&served.address("/failed/confirm?action=purge&scope=all")).await;
    let (address, token) = Served::form(&confirm);
    let form = format!("form_token={token}");
    served.post(&address, &form).header(header::ORIGIN, &served.base).send().await.expect("an answer");
    served.wait_for(&address, "120,000 jobs removed").await;
    assert_eq!(redis().cli(&["ZCARD", &format!("rq:failed:{queue}")]), "0");
}
