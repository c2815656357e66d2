-- Failed jobs back on their queues, as `rq requeue` does: out of the registry, times cleared, at the end of the queue
-- (or its head); where a rate limit holds, in line for a slot. One that is not in the registry is left alone, and so a
-- job is requeued once.
-- ARGV and answer: failed_jobs.rs.
local answers = {}
for i = 5, #ARGV do
  local J = ARGV[i]
  local f = redis.call('HMGET', job_key(J), 'origin', 'rate_limit_key', 'rate_limit_concurrency', 'status')
  if not redis.call('ZSCORE', KEYS[1], J) then
    answers[#answers + 1] = 'NOT_FAILED'
  elseif redis.call('HEXISTS', job_key(J), 'data') == 0 then
    answers[#answers + 1] = 'GONE'
  elseif f[4] and f[4] ~= 'failed' and f[4] ~= 'stopped' then
    -- Enqueued again since: it waits, runs or is done.
    answers[#answers + 1] = 'NOT_FAILED'
  else
    local Q = f[1]
    if not Q or Q == '' then Q = ARGV[3] end
    redis.call('HSET', job_key(J), 'started_at', '', 'ended_at', '', 'jobqueue_attempts', '0', 'jobqueue_crashes', '0')
    redis.call('HDEL', job_key(J), 'exc_info')
    enqueue(J, Q, ARGV[4] == 'LPUSH', f[2], f[3])
    answers[#answers + 1] = 'QUEUED'
  end
  redis.call('ZREM', KEYS[1], J)
end
return answers
