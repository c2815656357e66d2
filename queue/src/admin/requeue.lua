-- Failed jobs back on their queues, as `rq requeue` does: out of the registry, times cleared, at the end of the queue
-- (or its head). One that is not in the registry is left alone, and so a job is requeued once.
-- KEYS[1] failed registry. ARGV[1] key prefix, [2] queue, [3] push command, [4] now, then the ids.
local answers = {}
for i = 5, #ARGV do
  local id = ARGV[i]
  local job = ARGV[1] .. ':job:' .. id
  if redis.call('ZREM', KEYS[1], id) == 0 then
    answers[#answers + 1] = 'NOT_FAILED'
  elseif redis.call('HEXISTS', job, 'data') == 0 then
    answers[#answers + 1] = 'GONE'
  else
    local origin = redis.call('HGET', job, 'origin')
    if not origin or origin == '' then origin = ARGV[2] end
    local queue = ARGV[1] .. ':queue:' .. origin
    redis.call('HSET', job, 'status', 'queued', 'started_at', '', 'ended_at', '', 'enqueued_at', ARGV[4])
    redis.call('HDEL', job, 'exc_info', 'jobqueue_attempts', 'jobqueue_crashes')
    redis.call('SADD', ARGV[1] .. ':queues', queue)
    redis.call(ARGV[3], queue, id)
    answers[#answers + 1] = 'QUEUED'
  end
end
return answers
